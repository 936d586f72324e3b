//! Finds the seed medium among the machine's disks and verifies its maker's signature.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::medium::{
    DESCRIPTOR_AT, DESCRIPTOR_SIZE, MANIFEST, MAX_MANIFEST, MediumError, MediumManifest, ROOT, VOLUME, Volume,
};
use cluster_seed::seal::{SealError, Sealed, VerifyingKey};
use host::files::{PRIVATE, Start, open};
use sha2::{Digest as _, Sha256};

/// Most devices that are examined: more than any machine has.
const MAX_DEVICES: usize = 4096;
/// Devices that consist of others, or of memory.
const NOT_HARDWARE: &[&str] = &["loop", "ram", "zram", "dm-", "md", "fd", "nbd"];
const PIECE: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("cannot read {path}")]
    Read { path: Utf8PathBuf, source: io::Error },
    #[error("cannot copy the system to memory ({path}); the machine may have too little")]
    Copy { path: Utf8PathBuf, source: io::Error },
    #[error("its manifest ({MANIFEST}) cannot be parsed")]
    Json(#[from] serde_json::Error),
    #[error("its manifest is not signed by the maker key that this machine trusts")]
    Seal(#[from] SealError),
    #[error("its manifest is invalid")]
    Manifest(#[from] MediumError),
    #[error("{name} has {found} bytes, expected {signed}")]
    Size { name: &'static str, found: u64, signed: u64 },
    #[error("{name} is damaged or was modified: its digest is {found}, expected {signed}")]
    Changed { name: &'static str, found: Digest, signed: Digest },
}

/// Names of block devices that may be the medium: partitions first, so that the disk itself stays free
/// for another partition; discs last.
pub fn devices(root: &Utf8Path) -> Vec<String> {
    let class = root.join("sys/class/block");
    let Ok(entries) = class.read_dir_utf8() else { return Vec::new() };
    let mut found: Vec<(u8, String)> = entries
        .flatten()
        .take(MAX_DEVICES)
        .map(|e| e.file_name().to_owned())
        .filter(|name| !NOT_HARDWARE.iter().any(|p| name.starts_with(p)))
        .map(|name| (rank(&class.join(&name), &name), name))
        .collect();
    found.sort();
    found.into_iter().map(|(_, name)| name).collect()
}

fn rank(device: &Utf8Path, name: &str) -> u8 {
    match (device.join("partition").exists(), name.starts_with("sr")) {
        (true, _) => 0,
        (false, false) => 1,
        (false, true) => 2,
    }
}

/// True if this device or image starts with a volume labelled as a seed medium. False if it cannot be read: an empty
/// drive, a failing disk.
pub fn is_seed(device: &Utf8Path) -> bool {
    volume(device).is_some_and(|v| v.is_seed())
}

/// The ISO 9660 volume that a device or image starts with; `None` also if it cannot be read.
pub fn volume(device: &Utf8Path) -> Option<Volume> {
    let mut sector = vec![0u8; DESCRIPTOR_SIZE];
    File::open(device).and_then(|f| f.read_exact_at(&mut sector, DESCRIPTOR_AT)).ok()?;
    Volume::parse(&sector)
}

/// Reads and verifies the manifest of the medium mounted at `mounted`.
pub fn manifest(mounted: &Utf8Path, key: &VerifyingKey) -> Result<MediumManifest, CheckError> {
    let path = mounted.join(MANIFEST);
    let mut text = Vec::new();
    let read = File::open(&path).and_then(|f| f.take(MAX_MANIFEST).read_to_end(&mut text));
    read.map_err(|source| CheckError::Read { path, source })?;
    let manifest = serde_json::from_slice::<Sealed<MediumManifest>>(&text)?.open(key)?;
    manifest.check()?;
    Ok(manifest)
}

/// Copies the root image to `copy`, which must be in memory, and compares its digest. `progress` is called every 10 percent.
/// The copy is what gets mounted: a drive could return other bytes when it is read again.
pub fn copy_root(
    mounted: &Utf8Path,
    manifest: &MediumManifest,
    copy: &Utf8Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(), CheckError> {
    let signed = manifest.file(ROOT).ok_or(MediumError::NoRoot)?;
    let path = mounted.join(ROOT);
    let failed = |source| CheckError::Read { path: path.clone(), source };
    let found = fs::metadata(&path).map_err(failed)?.len();
    if found != signed.size {
        return Err(CheckError::Size { name: ROOT, found, signed: signed.size });
    }
    let mut file = File::open(&path).map_err(failed)?;
    let writing = |source| CheckError::Copy { path: copy.to_owned(), source };
    let mut to = open(copy, Start::Empty, PRIVATE).map_err(writing)?;
    let (mut hash, mut piece) = (Sha256::new(), vec![0u8; PIECE]);
    let (mut done, mut reported) = (0u64, 0u64);
    loop {
        let n = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(failed(e)),
        };
        hash.update(&piece[..n]);
        to.write_all(&piece[..n]).map_err(writing)?;
        done += n as u64;
        let tenth = done.saturating_mul(10) / found.max(1);
        if tenth > reported {
            reported = tenth;
            progress(tenth * 10);
        }
    }
    let found = Digest(hash.finalize().into());
    if found != signed.sha256 {
        return Err(CheckError::Changed { name: ROOT, found, signed: signed.sha256 });
    }
    Ok(())
}

/// Message if no medium, or a different one, is inserted.
pub fn not_found(seen: &[String]) -> String {
    let seen = if seen.is_empty() { "no disks".to_owned() } else { seen.join(" ") };
    format!("no disk or disc has a volume named {VOLUME}; found {seen}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cluster_seed::manifest::BootFile;
    use cluster_seed::seal::SigningKey;

    use super::*;

    fn place() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        (dir, path)
    }

    /// A mounted medium with a root of three and a half pieces, signed by key 1.
    fn medium(at: &Utf8Path) -> MediumManifest {
        fs::create_dir_all(at.join("kubedos")).unwrap();
        let root: Vec<u8> = (0..PIECE * 7 / 2).map(|n| (n % 251) as u8).collect();
        fs::write(at.join(ROOT), &root).unwrap();
        let digest = Digest::of(b"x");
        let manifest = MediumManifest {
            id: digest,
            version: "1".into(),
            arch: "amd64".into(),
            snapshot: digest,
            netboot: digest,
            artifacts: BTreeMap::new(),
            files: vec![BootFile { name: ROOT.into(), size: root.len() as u64, sha256: Digest::of(&root) }],
        };
        let sealed = Sealed::sign(&manifest, &SigningKey::from_bytes(&[1; 32])).unwrap();
        fs::write(at.join(MANIFEST), serde_json::to_vec(&sealed).unwrap()).unwrap();
        manifest
    }

    fn key(n: u8) -> VerifyingKey {
        SigningKey::from_bytes(&[n; 32]).verifying_key()
    }

    #[test]
    fn a_good_medium_is_accepted_and_progress_reported() {
        let (_guard, at) = place();
        let made = medium(&at);
        let read = manifest(&at, &key(1)).unwrap();
        assert_eq!(read, made);
        let mut told = Vec::new();
        copy_root(&at, &read, &at.join("copy"), &mut |p| told.push(p)).unwrap();
        assert_eq!((told.len(), told.last()), (4, Some(&100)));
    }

    /// L12: what was checked is what is mounted.
    #[test]
    fn a_drive_that_answers_differently_the_second_time_changes_nothing() {
        let (_guard, at) = place();
        let made = medium(&at);
        let copy = at.join("copy");
        copy_root(&at, &made, &copy, &mut |_| ()).unwrap();
        fs::write(at.join(ROOT), b"another system").unwrap();
        assert_eq!(Digest::of(&fs::read(&copy).unwrap()), made.files[0].sha256);
        let nowhere = at.join("missing/copy");
        assert!(matches!(copy_root(&at, &medium(&at), &nowhere, &mut |_| ()), Err(CheckError::Copy { .. })));
    }

    #[test]
    fn another_maker_or_a_changed_byte_is_refused() {
        let (_guard, at) = place();
        let made = medium(&at);
        assert!(matches!(manifest(&at, &key(2)), Err(CheckError::Seal(_))));
        let good = fs::read(at.join(ROOT)).unwrap();
        for place in [0, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[place] ^= 1;
            fs::write(at.join(ROOT), &bad).unwrap();
            assert!(matches!(copy_root(&at, &made, &at.join("copy"), &mut |_| ()), Err(CheckError::Changed { .. })), "{place}");
        }
        for size in [good.len() - 1, good.len() + 1, 0] {
            let mut bad = good.clone();
            bad.resize(size, 0);
            fs::write(at.join(ROOT), &bad).unwrap();
            assert!(matches!(copy_root(&at, &made, &at.join("copy"), &mut |_| ()), Err(CheckError::Size { .. })), "{size}");
        }
        fs::remove_file(at.join(ROOT)).unwrap();
        assert!(matches!(copy_root(&at, &made, &at.join("copy"), &mut |_| ()), Err(CheckError::Read { .. })));
        fs::write(at.join(MANIFEST), b"{}").unwrap();
        assert!(matches!(manifest(&at, &key(1)), Err(CheckError::Json(_))));
    }

    #[test]
    fn partitions_come_before_disks_and_discs() {
        let (_guard, root) = place();
        for name in ["sda", "sda1", "sr0", "loop0", "nvme0n1", "zram0", "dm-0"] {
            fs::create_dir_all(root.join("sys/class/block").join(name)).unwrap();
        }
        fs::write(root.join("sys/class/block/sda1/partition"), "1\n").unwrap();
        assert_eq!(devices(&root), ["sda1", "nvme0n1", "sda", "sr0"]);
        assert!(devices(&root.join("nothing")).is_empty());
    }

    #[test]
    fn volumes_are_recognised() {
        let (_guard, at) = place();
        let mut image = vec![0u8; DESCRIPTOR_AT as usize + DESCRIPTOR_SIZE];
        let path = at.join("image");
        fs::write(&path, &image).unwrap();
        assert!(!is_seed(&path));
        let sector = &mut image[DESCRIPTOR_AT as usize..];
        sector[..7].copy_from_slice(b"\x01CD001\x01");
        sector[40..72].fill(b' ');
        sector[40..47].copy_from_slice(b"KUBEDOS");
        sector[128..132].copy_from_slice(&[0, 8, 8, 0]);
        fs::write(&path, &image).unwrap();
        assert!(is_seed(&path));
        fs::write(&path, &image[..image.len() - 1]).unwrap();
        assert!(!is_seed(&path) && !is_seed(&at) && !is_seed(&at.join("nothing")));
    }
}
