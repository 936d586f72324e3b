//! Builds from a published snapshot alone: the netboot set, the sealed artifact of each role, and media.
//!
//! Programs run in a *tool root* unpacked from the snapshot's own packages, without network access, so the same snapshot
//! gives the same bytes on any host. The host only has to provide root and util-linux (`unshare`, `setpriv`, `mount`).
//!
//! The modules, in reading order:

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

/// What is built: recipe, package lists, sizes, ids.
mod spec;

/// Files below a directory whose symbolic links are not trusted.
mod tree;

/// The snapshot's package index, and unpacking its packages.
mod packages;

/// Root file systems: the tools' own, and the one of a role.
mod roots;

/// Kernel, initramfs and loaders for netboot, and Debian's installer.
mod netboot;
/// Preseed files for Debian's installer.
pub mod preseed;

/// The raw disk: partition table, EFI system partition, GRUB.
mod disk;

/// The sealed artifact of a role: its chunks and its signed manifest.
mod artifact;

/// Bootable ISO images.
mod iso;
/// The seed medium.
mod seediso;

/// The enrollment medium.
mod enrolliso;

/// Outputs for machines that are not netbooted from the seed.
pub mod foundry;

/// Proof that a snapshot's roles install offline.
mod prove;

/// Executables that go into an image.
mod program;

/// Running programs of another architecture.
mod emulation;

/// Working directories, and publishing what is finished.
mod store;

/// Why a build failed, and what to do about it.
mod error;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::arch::Arch;
use cluster_seed::ids::Digest;
use cluster_seed::seal::SigningKey;

pub use artifact::chunk::{CHUNK_FILE, ChunkError, assemble};
pub use artifact::manifest::read_manifest;
pub use artifact::{Wanted, build_artifact};
pub use enrolliso::{EnrollIso, EnrollMedium, build_enroll_iso};
pub use error::Error;
pub use netboot::build_netboot;
pub use netboot::installer::{INSTALLER_PACKAGE, InstallerInputs, prepare_installer};
/// What a node gets besides packages, for those who list or check it.
pub use payload::assets as node_assets;
pub use payload::platform as platform_files;
pub use program::is_static;
pub use prove::{PROVEN_ARCH, Subject, prove};
pub use seediso::{SeedIso, SeedMedium, build_seed_iso};
pub use spec::{ARM64_PACKAGES, BASE_PACKAGES, SEED_PACKAGES, TOOL_PACKAGES};
pub use store::WORKDIRS;

/// The subdirectories of the seed's data directory used here, all on one file system.
#[derive(Debug, Clone)]
pub struct Dirs {
    pub blobs: Utf8PathBuf,
    pub artifacts: Utf8PathBuf,
    pub netboot: Utf8PathBuf,
    pub cache: Utf8PathBuf,
    pub tmp: Utf8PathBuf,
}

impl Dirs {
    /// Their usual places below the data directory.
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

/// What every build starts from.
pub struct Inputs<'a> {
    /// Directory with `dists/` and `pool/`.
    pub snapshot_dir: &'a Utf8Path,
    pub snapshot_id: Digest,
    /// Name of the published suite, a directory below `dists/`.
    pub suite: &'a str,
    /// OpenPGP certificate that `apt` verifies the snapshot's InRelease with.
    pub keyring: &'a Utf8Path,
    /// The agent, a static executable.
    pub agent: &'a Utf8Path,
    /// The agent for arm64, if machines with it boot from the netboot set and have artifacts.
    pub arm64_agent: Option<&'a Utf8Path>,
    pub dirs: &'a Dirs,
    pub site_key: &'a SigningKey,
    /// The netboot image refuses `kubedos.rescue`.
    pub no_rescue: bool,
}

impl<'a> Inputs<'a> {
    /// The agent for machines with this architecture.
    fn agent_of(&self, arch: Arch) -> Result<&'a Utf8Path, Error> {
        match arch {
            Arch::Amd64 => Ok(self.agent),
            Arch::Arm64 => self.arm64_agent.ok_or_else(|| Error::Content("there is no agent for arm64".to_owned())),
        }
    }
}
