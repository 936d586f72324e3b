//! What is built, decided before anything is touched: recipe, package lists, sizes, ids, names of file systems.

use cluster_seed::arch::Arch;
use cluster_seed::ids::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Version of the build rules in this crate; raised when the same inputs would give different bytes.
pub const RECIPE: u32 = 4;
/// Architecture of the seed, of the tools and of media.
pub const ARCH: &str = Arch::Amd64.as_str();

/// Packages of every artifact, whatever its role.
pub const BASE_PACKAGES: &[&str] = &[
    "ansible-core",
    "apt",
    "busybox-static",
    "ca-certificates",
    "chrony",
    "dbus",
    "e2fsprogs",
    "initramfs-tools",
    "iproute2",
    "iputils-ping",
    "kmod",
    "linux-image-amd64",
    "netbase",
    "nftables",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "systemd-sysv",
    "udev",
    "wireguard-tools",
    "zstd",
];

/// Packages unpacked into the tool root or read for single files. A snapshot that images are built from needs them and
/// [`BASE_PACKAGES`].
pub const TOOL_PACKAGES: &[&str] = &[
    "apt",
    "base-files",
    "base-passwd",
    "bash",
    "busybox-static",
    "coreutils",
    "dosfstools",
    "dpkg",
    "e2fsprogs",
    "grub-efi-amd64-signed",
    "grub-pc-bin",
    "ipxe",
    "kmod",
    "libc-bin",
    "mawk",
    "mmdebstrap",
    "mount",
    "mtools",
    "perl",
    "shim-signed",
    "squashfs-tools",
    "util-linux",
    "xorriso",
    "xz-utils",
    "zstd",
];

/// What images for arm64 need beyond the packages with the same names: roots of a snapshot, limited to that architecture.
pub const ARM64_PACKAGES: &[&str] = &["grub-efi-arm64-signed:arm64"];

/// [`BASE_PACKAGES`] by their names on an architecture.
pub fn base_packages(arch: Arch) -> Vec<String> {
    BASE_PACKAGES.iter().map(|name| arch.package(name)).collect()
}

/// Packages of a seed medium's root, besides the essential ones. Kernel modules are unpacked from the kernel package itself,
/// without running its scripts: the medium boots with the initramfs of the netboot set.
pub const SEED_PACKAGES: &[&str] = &[
    "busybox-static",
    "ca-certificates",
    "chrony",
    "dbus",
    "dosfstools",
    "e2fsprogs",
    "fdisk",
    "iproute2",
    "iputils-ping",
    "kmod",
    "less",
    "mount",
    "netbase",
    "nftables",
    "procps",
    "systemd-sysv",
    "udev",
    "util-linux",
    "wireguard-tools",
    "zstd",
];

/// Those of [`TOOL_PACKAGES`] that only single files are read from: their dependencies are not unpacked.
pub const FILE_PACKAGES: &[&str] = &["grub-efi-amd64-signed", "ipxe", "shim-signed"];

const MIB: u64 = 1 << 20;
/// EFI system partition: the smallest size that FAT32 with clusters of one sector can have, rounded up.
pub const ESP_SIZE: u64 = 64 * MIB;
pub const STATE_SIZE: u64 = 64 * MIB;
pub const BIOS_BOOT_SIZE: u64 = MIB;
/// Free space in the root file system.
const ROOT_SLACK: u64 = 640 * MIB;
/// Largest root file system.
pub const MAX_ROOT: u64 = 16 << 30;
/// `min_disk` is a multiple of this.
pub const DISK_STEP: u64 = 256 * MIB;

/// Size of the root file system for `content` bytes of files: a quarter more for metadata, and free space.
pub fn root_size(content: u64) -> u64 {
    (content + content / 4 + ROOT_SLACK).next_multiple_of(64 * MIB)
}

/// What a netboot set is built from; its id is the sha256 of this as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetbootSpec {
    pub recipe: u32,
    pub arch: String,
    pub snapshot: Digest,
    pub agent: Digest,
    /// As `netboot.rescue` of cluster.yaml. The id is that of versions before where it is on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_rescue: bool,
    /// The agent for arm64, if the set has kernel, initramfs and loaders for it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm64_agent: Option<Digest>,
}

impl NetbootSpec {
    pub fn id(&self) -> Digest {
        // A struct of strings and integers always serialises.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }
}

/// UUIDs and the like that would normally be random, derived from the artifact's id.
#[derive(Debug, Clone, Copy)]
pub struct Names(Digest);

impl Names {
    pub fn of(id: Digest) -> Self {
        Names(id)
    }

    /// A version 4 UUID (RFC 9562 section 5.4) for `purpose`, big-endian bytes.
    pub fn uuid(&self, purpose: &str) -> [u8; 16] {
        let digest = Sha256::new().chain_update(self.0.0).chain_update(purpose).finalize();
        let mut uuid = [0u8; 16];
        uuid.copy_from_slice(&digest[..16]);
        uuid[6] = uuid[6] & 0x0f | 0x40;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        uuid
    }

    /// [`Names::uuid`] in its text form.
    pub fn uuid_text(&self, purpose: &str) -> String {
        let h = hex::encode(self.uuid(purpose));
        [&h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..]].join("-")
    }

    /// A FAT volume id as eight hex digits.
    pub fn fat_id(&self) -> String {
        hex::encode(&self.uuid("esp")[..4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_lists_are_sorted_and_unique() {
        for list in [BASE_PACKAGES, TOOL_PACKAGES, FILE_PACKAGES, SEED_PACKAGES] {
            assert!(list.windows(2).all(|w| w[0] < w[1]), "{list:?}");
        }
        assert!(FILE_PACKAGES.iter().all(|p| TOOL_PACKAGES.contains(p)));
    }

    #[test]
    fn every_base_package_has_its_name_on_each_architecture() {
        assert_eq!(base_packages(Arch::Amd64), BASE_PACKAGES);
        let arm64 = base_packages(Arch::Arm64);
        assert!(arm64.contains(&"linux-image-arm64".to_owned()) && !arm64.iter().any(|p| p.contains("amd64")), "{arm64:?}");
        assert_eq!(arm64.len(), BASE_PACKAGES.len());
    }

    #[test]
    fn uuids_are_stable_per_purpose_and_of_version_4() {
        let names = Names::of(Digest::of(b"spec"));
        let text = names.uuid_text("root");
        assert_eq!(text, names.uuid_text("root"));
        assert_ne!(text, names.uuid_text("state"));
        assert_eq!((text.len(), &text[14..15]), (36, "4"));
        assert!(matches!(&text[19..20], "8" | "9" | "a" | "b"), "{text}");
    }

    #[test]
    fn the_root_has_room() {
        for content in [0, 1, 500 * MIB, MAX_ROOT] {
            let size = root_size(content);
            assert!(size >= content + ROOT_SLACK && size.is_multiple_of(64 * MIB));
        }
    }
}
