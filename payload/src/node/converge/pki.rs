//! Certificates of this node: `<pki>/<authority>/ca.pem`, `<name>.pem` and `<name>.key`.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};

use camino::Utf8Path;
use cluster_seed::converge::orders::{Bundle, BundleError, Leaf};
use cluster_seed::converge::platform;
use cluster_seed::seal::SealError;
use host::files::{FileError, PRIVATE, PUBLIC, Start, create_dirs, failed, open, read_limited, sync_dir, write_atomic};

use super::held::HeldError;

/// Most certificates of one node.
const MAX_LEAVES: usize = 64;
/// Largest certificate or key, in bytes of PEM.
const MAX_PEM: usize = 64 << 10;
/// Longest name of a certificate.
const MAX_NAME: usize = 32;
/// Mode of the directories: services read the certificates of the authorities.
const DIRECTORY: u32 = 0o755;
/// Permission bits of a key that a play may add for the group of a service.
const GROUP_READS: u32 = 0o640;

#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("the certificates are not signed by this site")]
    Seal(#[from] SealError),
    #[error("the certificates are for another node")]
    OtherNode,
    #[error("opening the certificates")]
    Bundle(#[from] BundleError),
    #[error("the certificates are invalid: {0}")]
    Invalid(&'static str),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("storing which certificates this node has")]
    Store(#[from] HeldError),
}

/// Checks everything, then writes it below `pki`.
///
/// # Errors
/// If a name is not one of a certificate, or a file cannot be written.
pub fn write(pki: &Utf8Path, bundle: &Bundle) -> Result<(), PkiError> {
    check(bundle)?;
    folder(pki)?;
    for (authority, pem) in &bundle.authorities {
        let dir = pki.join(authority.as_str());
        folder(&dir)?;
        write_atomic(&dir.join("ca.pem"), pem.as_bytes(), PUBLIC)?;
    }
    for leaf in &bundle.leaves {
        let dir = pki.join(leaf.authority.as_str());
        folder(&dir)?;
        write_key(&dir.join(format!("{}.key", leaf.name)), leaf.key.as_bytes())?;
        write_atomic(&dir.join(format!("{}.pem", leaf.name)), leaf.certificate.as_bytes(), PUBLIC)?;
    }
    Ok(())
}

fn check(bundle: &Bundle) -> Result<(), PkiError> {
    if bundle.leaves.len() > MAX_LEAVES {
        return Err(PkiError::Invalid("too many"));
    }
    let certificate = |text: &str| text.len() <= MAX_PEM && text.starts_with("-----BEGIN CERTIFICATE-----");
    let key = |text: &str| text.len() <= MAX_PEM && text.starts_with("-----BEGIN ") && text.contains("PRIVATE KEY-----");
    if !bundle.authorities.values().all(|pem| certificate(pem)) {
        return Err(PkiError::Invalid("an authority is not in PEM"));
    }
    let whole = |leaf: &Leaf| certificate(&leaf.certificate) && key(&leaf.key);
    if !bundle.leaves.iter().all(whole) {
        return Err(PkiError::Invalid("a certificate or a key is not in PEM"));
    }
    if !bundle.leaves.iter().all(|leaf| is_name(&leaf.name)) {
        return Err(PkiError::Invalid("a name is not one of a certificate"));
    }
    Ok(())
}

/// `ca` is the authority's own.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && name != "ca"
}

fn folder(path: &Utf8Path) -> Result<(), FileError> {
    create_dirs(path)?;
    fs::set_permissions(path, Permissions::from_mode(DIRECTORY)).map_err(failed("setting the mode of", path))
}

/// A key belongs to root alone. A play may have given the group of its service the right to read it: the new key keeps owner,
/// group and that right, because services read renewed keys before the play runs again.
fn write_key(path: &Utf8Path, bytes: &[u8]) -> Result<(), FileError> {
    let held = match fs::symlink_metadata(path) {
        Ok(held) if held.is_file() => held,
        _ => return write_atomic(path, bytes, PRIVATE),
    };
    if read_limited(path, MAX_PEM as u64).is_ok_and(|key| key == bytes) {
        return Ok(());
    }
    let tmp = path.with_extension("key.new");
    let write = || {
        if fs::symlink_metadata(&tmp).is_ok() {
            fs::remove_file(&tmp)?;
        }
        let mut file: File = open(&tmp, Start::New, PRIVATE)?;
        file.write_all(bytes)?;
        fchown(&file, Some(held.uid()), Some(held.gid()))?;
        file.set_permissions(Permissions::from_mode(held.mode() & GROUP_READS))?;
        file.sync_all()?;
        fs::rename(&tmp, path)
    };
    write().map_err(failed("writing", path))?;
    sync_dir(path.parent().unwrap_or(Utf8Path::new(".")))
}

/// The first certificate that these plays need and this node does not have.
pub fn missing(pki: &Utf8Path, plays: &[String]) -> Option<String> {
    let needed = plays.iter().filter_map(|name| platform::play(name)).flat_map(|play| play.certificates);
    let mut names = needed.map(|c| format!("{}/{}", c.authority.as_str(), c.name));
    names.find(|name| !pki.join(format!("{name}.pem")).is_file() || !pki.join(format!("{name}.key")).is_file())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use camino::Utf8PathBuf;
    use cluster_seed::converge::platform::Authority;
    use cluster_seed::ids::Digest;

    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n";

    fn leaf(name: &str, certificate: &str, key: &str) -> Leaf {
        Leaf { authority: Authority::Etcd, name: name.into(), certificate: certificate.into(), key: key.into() }
    }

    fn bundle(leaves: Vec<Leaf>) -> Bundle {
        let authorities = BTreeMap::from([(Authority::Etcd, PEM.to_owned()), (Authority::FrontProxy, PEM.to_owned())]);
        Bundle { id: Digest([3; 32]), issued: 7, authorities, leaves }
    }

    fn place() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let pki = Utf8PathBuf::from_path_buf(dir.path().join("etc/pki")).unwrap();
        (dir, pki)
    }

    fn mode(path: &Utf8Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn certificates_are_readable_and_keys_are_not() {
        let (_dir, pki) = place();
        write(&pki, &bundle(vec![leaf("peer", PEM, KEY)])).unwrap();
        for (path, want) in
            [("", 0o755), ("etcd", 0o755), ("etcd/ca.pem", 0o644), ("etcd/peer.pem", 0o644), ("etcd/peer.key", 0o600)]
        {
            assert_eq!(mode(&pki.join(path)), want, "{path}");
        }
        assert_eq!(fs::read_to_string(pki.join("front-proxy/ca.pem")).unwrap(), PEM);
        assert_eq!(fs::read_to_string(pki.join("etcd/peer.key")).unwrap(), KEY);
    }

    #[test]
    fn a_renewed_key_keeps_the_right_that_a_play_gave_and_no_other() {
        let (_dir, pki) = place();
        write(&pki, &bundle(vec![leaf("peer", PEM, KEY)])).unwrap();
        let path = pki.join("etcd/peer.key");
        let renewed = KEY.replace("AA", "BB");
        for (before, after) in [(0o640, 0o640), (0o666, 0o640), (0o600, 0o600), (0o755, 0o640)] {
            write(&pki, &bundle(vec![leaf("peer", PEM, KEY)])).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(before)).unwrap();
            write(&pki, &bundle(vec![leaf("peer", PEM, &renewed)])).unwrap();
            assert_eq!((mode(&path), fs::read_to_string(&path).unwrap()), (after, renewed.clone()), "{before:o}");
        }
    }

    #[test]
    fn a_link_in_the_place_of_a_key_is_replaced_and_not_followed() {
        let (dir, pki) = place();
        write(&pki, &bundle(vec![])).unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "old").unwrap();
        for name in ["peer.key", "peer.key.new"] {
            std::os::unix::fs::symlink(&victim, pki.join("etcd").join(name)).unwrap();
        }
        for key in [KEY.to_owned(), KEY.replace("AA", "BB")] {
            write(&pki, &bundle(vec![leaf("peer", PEM, &key)])).unwrap();
            assert_eq!(fs::read_to_string(pki.join("etcd/peer.key")).unwrap(), key);
        }
        assert_eq!(fs::read_to_string(victim).unwrap(), "old");
    }

    #[test]
    fn names_stay_in_the_directory_of_their_authority() {
        let (_dir, pki) = place();
        let long = "a".repeat(MAX_NAME + 1);
        for name in ["", "ca", "../peer", "a/b", "/etc/x", ".", "..", "A", "a b", "a\0", "-a", "1a", &long] {
            assert!(write(&pki, &bundle(vec![leaf("peer", PEM, KEY), leaf(name, PEM, KEY)])).is_err(), "{name:?}");
            assert!(!pki.exists(), "{name:?}: something was written");
        }
        assert!(write(&pki, &bundle(vec![leaf(&long[1..], PEM, KEY)])).is_ok());
    }

    #[test]
    fn what_is_not_a_certificate_is_refused() {
        let (_dir, pki) = place();
        let large = format!("{PEM}{}", " ".repeat(MAX_PEM));
        for (certificate, key) in [("", KEY), (KEY, KEY), (PEM, PEM), (PEM, ""), (&*large, KEY)] {
            assert!(write(&pki, &bundle(vec![leaf("peer", certificate, key)])).is_err(), "{certificate:.20} {key:.20}");
        }
        let many = (0..=MAX_LEAVES).map(|n| leaf(&format!("n{n}"), PEM, KEY));
        assert!(write(&pki, &bundle(many.collect())).is_err());
        assert!(!pki.exists());
    }

    #[test]
    fn a_run_waits_for_the_certificates_of_its_plays() {
        let (_dir, pki) = place();
        let plays = ["own".to_owned(), "etcd".to_owned()];
        assert_eq!(missing(&pki, &plays[..1]), None);
        assert_eq!(missing(&pki, &plays).as_deref(), Some("etcd/peer"));
        let names = ["peer", "server", "client"];
        write(&pki, &bundle(names.map(|n| leaf(n, PEM, KEY)).into())).unwrap();
        assert_eq!(missing(&pki, &plays), None);
        fs::remove_file(pki.join("etcd/client.key")).unwrap();
        assert_eq!(missing(&pki, &plays).as_deref(), Some("etcd/client"));
    }
}
