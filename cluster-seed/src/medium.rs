//! Contents of a seed medium (disc or USB stick), signed by the site that made it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::Digest;
use crate::manifest::BootFile;
use crate::seal::{SealError, Sealable, VerifyingKey, key_from_text};

/// ISO 9660 volume id of every seed medium.
pub const VOLUME: &str = "KUBEDOS";
/// ISO 9660 volume id of every enrollment medium. It differs from [`VOLUME`]: a seed must not take one for its own medium.
pub const ENROLL_VOLUME: &str = "KUBEDOS_ENROLL";
/// ISO 9660 volume id of every node medium: an enrollment medium with the artifacts on it.
pub const NODE_VOLUME: &str = "KUBEDOS_NODE";
/// On a node medium: the stored chunks of its artifacts, `AB/DIGEST` where AB are the first two digits. They are checked like
/// those from the network.
pub const CHUNKS: &str = "kubedos/chunks";
/// On a node medium: the snapshot, as an APT repository.
pub const DARKSITE: &str = "darksite";
/// The sealed manifest, from the medium's root.
pub const MANIFEST: &str = "kubedos/medium.json";
/// The read-only root file system, from the medium's root.
pub const ROOT: &str = "kubedos/root.img";
/// Files for a seed to adopt: `blobs snapshots artifacts netboot` as in a data directory, and the maker's public files.
pub const SITE: &str = "kubedos/site";
/// In [`SITE`]: the maker's cluster.yaml, the template for a new site.
pub const CLUSTER: &str = "cluster.yaml";
/// In [`SITE`]: the OpenPGP certificate that the snapshot is signed with.
pub const RELEASE_KEYRING: &str = "release.pgp";
/// Kernel parameter that makes the agent boot a seed: the maker's site key in hex.
pub const PARAMETER: &str = "kubedos.medium";
/// Mount point of the medium on the running seed.
pub const MOUNTED: &str = "/run/kubedos/medium";

/// Largest file with a sealed manifest, in bytes.
pub const MAX_MANIFEST: u64 = 32 << 20;
/// A manifest lists at most this many files.
pub const MAX_FILES: usize = 65_536;
/// Longest path of a file, in bytes.
pub const MAX_PATH: usize = 1024;

/// Where a volume's descriptors begin, in bytes (ECMA-119 6.2.1: 16 sectors of 2048 bytes stay free).
pub const DESCRIPTOR_AT: u64 = 16 * 2048;
/// Bytes of one descriptor.
pub const DESCRIPTOR_SIZE: usize = 2048;

/// Signed by the site that made the medium; the verifying key is on the kernel command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MediumManifest {
    /// Digest of its contents: same id, same bytes.
    pub id: Digest,
    /// Version of the program that made it.
    pub version: String,
    pub arch: String,
    pub snapshot: Digest,
    pub netboot: Digest,
    /// Role to artifact.
    pub artifacts: BTreeMap<String, Digest>,
    /// All files except the manifest and files read by firmware, by path from the medium's root, sorted.
    pub files: Vec<BootFile>,
}

impl Sealable for MediumManifest {
    const PURPOSE: &'static str = "medium-manifest";
}

/// A finished enrollment medium, signed by its site. It is stored beside the image, not on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnrollManifest {
    /// Digest of everything that it was made from: same id, same bytes.
    pub id: Digest,
    pub arch: String,
    pub snapshot: Digest,
    pub netboot: Digest,
    /// Bytes of the image.
    pub size: u64,
    /// Digest of the image.
    pub sha256: Digest,
}

impl Sealable for EnrollManifest {
    const PURPOSE: &'static str = "enroll-medium";
}

/// Why a signed manifest of a medium is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediumError {
    #[error("the manifest lists {0} files, but at most {MAX_FILES} are allowed")]
    TooMany(usize),
    #[error("{0:?} is not a path inside the medium")]
    Path(String),
    #[error("{0:?} is out of order or listed twice")]
    Order(String),
    #[error("the manifest lists no {ROOT}")]
    NoRoot,
}

/// Whether this is a relative path without `..`.
pub(crate) fn is_inside(path: &str) -> bool {
    path.len() <= MAX_PATH
        && !path.chars().any(|c| c.is_control() || c == '\\')
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

impl MediumManifest {
    /// Checks what the signature does not cover: paths are inside the medium and sorted, and include the root.
    pub fn check(&self) -> Result<(), MediumError> {
        if self.files.len() > MAX_FILES {
            return Err(MediumError::TooMany(self.files.len()));
        }
        let shown = |name: &str| name.chars().take(120).collect::<String>();
        if let Some(bad) = self.files.iter().find(|f| !is_inside(&f.name)) {
            return Err(MediumError::Path(shown(&bad.name)));
        }
        if let Some(pair) = self.files.windows(2).find(|w| w[0].name >= w[1].name) {
            return Err(MediumError::Order(shown(&pair[1].name)));
        }
        self.file(ROOT).map(|_| ()).ok_or(MediumError::NoRoot)
    }

    /// The entry of one file; the manifest must have been checked.
    pub fn file(&self, name: &str) -> Option<&BootFile> {
        let at = self.files.binary_search_by(|f| f.name.as_str().cmp(name)).ok()?;
        self.files.get(at)
    }
}

/// The maker's key, if the kernel command line starts a seed: [`PARAMETER`] with 64 hex digits. The last of a repeated
/// parameter wins. `Err` if its value is not a key.
pub fn maker_key(cmdline: &str) -> Option<Result<VerifyingKey, SealError>> {
    let mut values = cmdline.split_ascii_whitespace().filter_map(|w| w.strip_prefix(PARAMETER)?.strip_prefix('='));
    values.next_back().map(key_from_text)
}

/// Path of a stored chunk on a node medium.
pub fn chunk_path(stored: &Digest) -> String {
    let name = stored.to_string();
    format!("{CHUNKS}/{}/{name}", &name[..2])
}

/// A primary volume descriptor (ECMA-119 8.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Without trailing spaces.
    pub id: String,
    /// Size of the volume, in bytes.
    pub size: u64,
}

impl Volume {
    /// Reads the sector at [`DESCRIPTOR_AT`]; `None` if it is not a primary volume descriptor with blocks of 2048 bytes.
    pub fn parse(sector: &[u8]) -> Option<Self> {
        let sector = sector.get(..DESCRIPTOR_SIZE)?;
        // 8.4.1 to 8.4.3: type 1, identifier, version 1.
        if sector[..7] != *b"\x01CD001\x01" {
            return None;
        }
        // 7.3.3 and 7.2.3: numbers are stored in both byte orders; a difference means that one was modified.
        let little = u32::from_le_bytes(sector[80..84].try_into().ok()?);
        let big = u32::from_be_bytes(sector[84..88].try_into().ok()?);
        let block = sector[128..132] == [0, 8, 8, 0];
        let id: &[u8] = sector[40..72].trim_ascii_end();
        if little != big || !block || !id.iter().all(|b| (0x20..0x7f).contains(b)) {
            return None;
        }
        Some(Volume { id: String::from_utf8(id.to_vec()).ok()?, size: u64::from(little) * 2048 })
    }

    /// Whether it is labelled as a node medium.
    pub fn is_node(&self) -> bool {
        self.id == NODE_VOLUME
    }

    /// Whether it is labelled as a seed medium; only its manifest proves it.
    pub fn is_seed(&self) -> bool {
        self.id == VOLUME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sector() -> Vec<u8> {
        let mut sector = vec![0u8; DESCRIPTOR_SIZE];
        sector[..7].copy_from_slice(b"\x01CD001\x01");
        sector[40..72].fill(b' ');
        sector[40..47].copy_from_slice(VOLUME.as_bytes());
        sector[80..84].copy_from_slice(&300_000u32.to_le_bytes());
        sector[84..88].copy_from_slice(&300_000u32.to_be_bytes());
        sector[128..132].copy_from_slice(&[0, 8, 8, 0]);
        sector
    }

    fn manifest(names: &[&str]) -> MediumManifest {
        let file = |n: &&str| BootFile { name: (*n).to_owned(), size: 1, sha256: Digest::of(n.as_bytes()) };
        let digest = Digest::of(b"x");
        MediumManifest {
            id: digest,
            version: "1".into(),
            arch: "amd64".into(),
            snapshot: digest,
            netboot: digest,
            artifacts: BTreeMap::new(),
            files: names.iter().map(file).collect(),
        }
    }

    #[test]
    fn a_descriptor_is_read() {
        let volume = Volume::parse(&sector()).unwrap();
        assert_eq!((volume.id.as_str(), volume.size, volume.is_seed()), ("KUBEDOS", 614_400_000, true));
        let mut other = sector();
        other[47] = b'2';
        assert!(!Volume::parse(&other).unwrap().is_seed());
        other[40..40 + ENROLL_VOLUME.len()].copy_from_slice(ENROLL_VOLUME.as_bytes());
        assert_eq!(Volume::parse(&other).map(|v| (v.is_seed(), v.id)), Some((false, ENROLL_VOLUME.to_owned())));
    }

    #[test]
    fn hostile_descriptors_are_none() {
        assert_eq!(Volume::parse(&[]), None);
        assert_eq!(Volume::parse(&sector()[..DESCRIPTOR_SIZE - 1]), None);
        for (at, value) in [(0, 2), (0, 255), (1, b'X'), (6, 2), (40, 0), (45, 0x80), (80, 1), (87, 1), (129, 4), (130, 0)] {
            let mut bad = sector();
            bad[at] = value;
            assert_eq!(Volume::parse(&bad), None, "byte {at} as {value}");
        }
        let mut most = sector();
        most[80..88].fill(0xff);
        assert_eq!(Volume::parse(&most).unwrap().size, u64::from(u32::MAX) * 2048);
    }

    #[test]
    fn the_key_on_the_command_line() {
        let key = crate::seal::SigningKey::from_bytes(&[7; 32]).verifying_key();
        let text = crate::seal::key_text(&key);
        let found = |line: &str| maker_key(line).map(|k| k.is_ok_and(|k| k == key));
        assert_eq!(found(&format!("quiet {PARAMETER}={text} ro\n")), Some(true));
        assert_eq!(found(&format!("{PARAMETER}=x {PARAMETER}={text}")), Some(true));
        for bad in ["", "x", &text[1..], &"0".repeat(64)] {
            assert_eq!(found(&format!("{PARAMETER}={bad}")), Some(false), "{bad}");
        }
        for line in ["", PARAMETER, "kubedos.seed=http://10.44.0.1", &text, &format!("{PARAMETER}s={text}")] {
            assert_eq!(found(line), None, "{line}");
        }
    }

    #[test]
    fn paths_stay_inside() {
        assert_eq!(manifest(&[ROOT]).check(), Ok(()));
        assert_eq!(manifest(&["kubedos/a", ROOT, "z"]).check(), Ok(()));
        assert_eq!(manifest(&["kubedos/a"]).check(), Err(MediumError::NoRoot));
        assert_eq!(manifest(&[ROOT, ROOT]).check(), Err(MediumError::Order(ROOT.into())));
        assert_eq!(manifest(&["z", ROOT]).check(), Err(MediumError::Order(ROOT.into())));
        let long = "x".repeat(MAX_PATH + 1);
        for bad in ["", "/etc/passwd", "a/../b", "..", "a//b", "./a", "a/", "a\\b", "a\nb", &long] {
            assert!(matches!(manifest(&[bad]).check(), Err(MediumError::Path(_))), "{bad:?}");
        }
        assert_eq!(manifest(&[&long[1..], ROOT]).check(), Err(MediumError::Order(ROOT.into())));
    }

    #[test]
    fn files_at_their_limit() {
        let names: Vec<String> = (0..MAX_FILES - 1).map(|n| format!("a{n:05}")).collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.push(ROOT);
        assert_eq!(manifest(&names).check(), Ok(()));
        names.push("z");
        assert_eq!(manifest(&names).check(), Err(MediumError::TooMany(MAX_FILES + 1)));
    }
}
