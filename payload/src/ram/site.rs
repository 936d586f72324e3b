//! Site keys given to this machine in advance. If there is one, nothing is sent to a seed of another site.

use std::fmt;

use camino::Utf8Path;
use cluster_seed::seal::{SealError, VerifyingKey};
use cluster_seed::site_key::{FILE, MAX_BYTES, VARIABLE, from_text, from_variable};
use host::files::{FileError, read_limited};
use nix::mount::{MsFlags, mount};

/// Mount point of the kernel's UEFI variables, below `/`.
const VARIABLES: &str = "sys/firmware/efi/efivars";

/// Where a key was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The kernel command line, or the command that was run.
    CommandLine,
    Medium,
    Firmware,
    /// A string of SMBIOS, set by the hypervisor.
    Smbios,
    /// QEMU's firmware configuration device.
    FwCfg,
    /// A NoCloud volume.
    NoCloud,
    /// The file that the image was built with.
    Image,
    /// The lease of this machine's address.
    Dhcp,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::CommandLine => write!(f, "the command line"),
            Source::Medium => write!(f, "the medium (/{FILE})"),
            Source::Firmware => write!(f, "the UEFI variable {VARIABLE}"),
            Source::Smbios => write!(f, "SMBIOS (OEM strings)"),
            Source::FwCfg => write!(f, "QEMU's fw_cfg"),
            Source::NoCloud => write!(f, "the NoCloud volume (cidata)"),
            Source::Image => write!(f, "{} of the image", cluster_seed::join::FILE),
            Source::Dhcp => write!(f, "DHCP"),
        }
    }
}

/// A key that exists but cannot be read is an error: it must not be treated as no key.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    #[error("reading the site key of {source_of_key}")]
    Read {
        source_of_key: Source,
        #[source]
        source: FileError,
    },
    #[error("the site key of {source_of_key} is invalid")]
    Key {
        source_of_key: Source,
        #[source]
        source: SealError,
    },
}

/// All keys given to this machine: the one of the command line, of the medium, and of the firmware.
pub fn known(root: &Utf8Path, given: Option<(Source, VerifyingKey)>) -> Result<Vec<(Source, VerifyingKey)>, SiteError> {
    let mut keys: Vec<_> = given.into_iter().collect();
    show_variables(root);
    let variable = root.join(VARIABLES).join(VARIABLE);
    for (source_of_key, path, parse) in [
        (Source::Medium, root.join(FILE), from_text as fn(&[u8]) -> Result<VerifyingKey, SealError>),
        (Source::Firmware, variable, from_variable),
    ] {
        match read_limited(&path, MAX_BYTES as u64) {
            Ok(bytes) => {
                let key = parse(&bytes).map_err(|source| SiteError::Key { source_of_key, source })?;
                keys.push((source_of_key, key));
            }
            Err(e) if e.is_not_found() => {}
            Err(source) => return Err(SiteError::Read { source_of_key, source }),
        }
    }
    Ok(keys)
}

/// Mounts efivarfs on a UEFI machine unless it is mounted: in the RAM system, the directory is empty at first.
fn show_variables(root: &Utf8Path) {
    let dir = root.join(VARIABLES);
    if dir.read_dir_utf8().is_ok_and(|mut entries| entries.next().is_none()) {
        let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        if let Err(error) = mount(Some("efivarfs"), dir.as_std_path(), Some("efivarfs"), flags, None::<&str>) {
            tracing::warn!(%error, "UEFI variables are not readable");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use cluster_seed::seal::{SigningKey, key_text};

    #[test]
    fn keys_are_read_from_every_source_and_an_invalid_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let key = |n: u8| SigningKey::from_bytes(&[n; 32]).verifying_key();
        assert!(known(root, None).unwrap().is_empty());
        fs::create_dir_all(root.join("etc/kubedos")).unwrap();
        fs::create_dir_all(root.join(VARIABLES)).unwrap();
        fs::write(root.join(FILE), key_text(&key(2))).unwrap();
        let variable = root.join(VARIABLES).join(VARIABLE);
        fs::write(&variable, [&[7, 0, 0, 0][..], key(3).as_bytes()].concat()).unwrap();
        let all = [(Source::CommandLine, key(1)), (Source::Medium, key(2)), (Source::Firmware, key(3))];
        assert_eq!(known(root, Some(all[0])).unwrap(), all);
        fs::write(&variable, [7, 0, 0, 0]).unwrap();
        assert!(matches!(known(root, None), Err(SiteError::Key { source_of_key: Source::Firmware, .. })));
        fs::write(root.join(FILE), "x".repeat(MAX_BYTES + 1)).unwrap();
        assert!(matches!(known(root, None), Err(SiteError::Read { source_of_key: Source::Medium, .. })));
    }
}
