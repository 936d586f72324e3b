//! Disk images, one for each role.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use cluster_seed::ids::Digest;
use serde::{Deserialize, Serialize};

/// Images by role.
pub type Images = BTreeMap<String, Image>;

/// A disk image on this machine: the sealed artifact of a role, written as QCOW2 or raw.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Image {
    pub file: Utf8PathBuf,
    pub format: ImageFormat,
    /// Of the file.
    pub sha256: Digest,
    /// Of the file, in bytes.
    pub size: u64,
    /// Of the disk in it, in bytes.
    pub virtual_size: u64,
}

/// Stands for the digest of an image that is not built yet, in a plan without hosts.
pub const NOT_BUILT: Digest = Digest([0; 32]);

impl Image {
    /// Stands for an image that is not built yet.
    pub fn not_built() -> Self {
        Image { file: "(not built)".into(), format: ImageFormat::Qcow2, sha256: NOT_BUILT, size: 0, virtual_size: 0 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    Qcow2,
    Raw,
    Vmdk,
}

impl ImageFormat {
    /// Proxmox VE takes an import's format from the name of the file.
    fn suffix(self) -> &'static str {
        match self {
            ImageFormat::Qcow2 => "qcow2",
            ImageFormat::Raw => "raw",
            ImageFormat::Vmdk => "vmdk",
        }
    }
}

impl Image {
    /// Its name on a host: the digest, so that another content never has the same name.
    pub fn remote_name(&self) -> String {
        format!("kubedos-{}.{}", self.sha256, self.format.suffix())
    }

    /// GiB, rounded up.
    pub fn virtual_gib(&self) -> u64 {
        self.virtual_size.div_ceil(1 << 30)
    }
}
