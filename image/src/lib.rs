//! From a published snapshot and nothing else: the netboot kernel and initramfs, the sealed artifact of a role, and the
//! seed's own medium.
//!
//! Programs run in a *tool root* unpacked from the snapshot's own packages, without a network, so the same snapshot
//! gives the same bytes on any host. The host has to bring: root, and util-linux (`unshare`, `setpriv`, `mount`).
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod spec;

pub mod deb;
pub mod index;
pub mod tree;

mod toolroot;

pub mod initramfs;
mod installer;
pub mod modules;
mod netboot;
mod prove;

pub mod chunk;
pub mod disk;
mod esp;
pub mod grub;
mod rootfs;

mod artifact;
mod seediso;
mod seediso_assets;
mod seediso_boot;
mod seediso_root;
mod seediso_stage;

mod error;
mod store;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::seal::SigningKey;

pub use artifact::{artifact_spec, build_artifact};
pub use chunk::assemble;
pub use error::Error;
pub use installer::{INSTALLER_PACKAGE, InstallerInputs, prepare_installer};
pub use netboot::build_netboot;
pub use prove::{PROVEN_ARCH, Subject, prove};
pub use seediso::{SeedIso, SeedMedium, build_seed_iso};
pub use spec::{BASE_PACKAGES, SEED_PACKAGES, TOOL_PACKAGES};
pub use store::{CHUNK_FILE, WORKDIRS};

/// The folders of the seed's data directory that are read and written here. All on one file system.
#[derive(Debug, Clone)]
pub struct Dirs {
    pub blobs: Utf8PathBuf,
    pub artifacts: Utf8PathBuf,
    pub netboot: Utf8PathBuf,
    pub cache: Utf8PathBuf,
    pub tmp: Utf8PathBuf,
}

impl Dirs {
    /// The usual places under the data directory.
    pub fn under(data: &Utf8Path) -> Self {
        Dirs {
            blobs: data.join("blobs"),
            artifacts: data.join("artifacts"),
            netboot: data.join("netboot"),
            cache: data.join("cache"),
            tmp: data.join("tmp"),
        }
    }
}

/// What every build here starts from.
pub struct Inputs<'a> {
    /// Folder with `dists/` and `pool/`.
    pub snapshot_dir: &'a Utf8Path,
    pub snapshot_id: Digest,
    /// The published suite's name, a folder of `dists/`.
    pub suite: &'a str,
    /// Public key file that `apt` checks the snapshot's InRelease with.
    pub keyring: &'a Utf8Path,
    /// The agent, a static executable.
    pub agent: &'a Utf8Path,
    pub dirs: &'a Dirs,
    pub site_key: &'a SigningKey,
}
