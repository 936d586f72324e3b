//! Where convergence keeps its files, below the root.

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;

use crate::assets::ANSIBLE_DIR;
use crate::layout::PAYLOADS;

/// The paths below one root.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// `/`
    pub root: &'a Utf8Path,
}

impl Places<'_> {
    fn below(&self, path: &str) -> Utf8PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// In RAM: the variables, the inventory, and temporary files of Ansible and Salt. Mode 0700.
    pub fn run(&self) -> Utf8PathBuf {
        self.below("/run/kubedos/converge")
    }

    /// The variables of the plays and their checks.
    pub fn vars(&self) -> Utf8PathBuf {
        self.run().join("vars.json")
    }

    /// Unpacked payloads by digest: on the root file system, because that of the node's state is mounted noexec.
    pub fn cache(&self) -> Utf8PathBuf {
        self.below("/var/cache/kubedos/payload")
    }

    pub fn unpacked(&self, payload: &Digest) -> Utf8PathBuf {
        self.cache().join(payload.to_string())
    }

    /// The payload that the image contains.
    pub fn baked(&self, payload: &Digest) -> Utf8PathBuf {
        self.below(PAYLOADS).join(format!("{payload}.tar.zst"))
    }

    /// Certificates by authority.
    pub fn pki(&self) -> Utf8PathBuf {
        self.below("/etc/kubedos/pki")
    }

    pub fn callback_plugins(&self) -> Utf8PathBuf {
        self.below(ANSIBLE_DIR).join("callback_plugins")
    }
}
