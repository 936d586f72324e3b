//! Network boot programs by firmware architecture.

use std::collections::BTreeMap;

use crate::dhcp::arch::ClientArch;

/// File names of Debian's iPXE package.
pub const UNDIONLY: &str = "undionly.kpxe";
/// Uses the firmware's own network driver: works wherever the firmware itself could boot.
pub const SNPONLY: &str = "snponly.efi";
/// Debian's shim, signed by Microsoft: starts with Secure Boot on and off. It fetches [`GRUB`] from the same place.
pub const SHIM: &str = "shimx64.efi";
/// The name that shim requests: Debian's signed GRUB for network boot.
pub const GRUB: &str = "grubx64.efi";
/// The same for ARM 64-bit UEFI.
pub const SHIM_ARM64: &str = "shimaa64.efi";
pub const GRUB_ARM64: &str = "grubaa64.efi";
/// iPXE for ARM 64-bit UEFI.
pub const IPXE_ARM64: &str = "ipxe-arm64.efi";
/// Names under which builds of the signed GRUB request their configuration.
pub const GRUB_CONFIGS: [&str; 5] = [
    "grub/x86_64-efi/grub.cfg",
    "grub/arm64-efi/grub.cfg",
    "grub/grub.cfg",
    "debian-installer/amd64/grub/grub.cfg",
    "debian-installer/arm64/grub/grub.cfg",
];
/// Has its own drivers: for firmware with a faulty driver.
pub const IPXE_EFI: &str = "ipxe.efi";

/// The longest name that fits the `file` field of a DHCP reply with its NUL (RFC 2131 section 2).
pub const MAX_NAME: usize = 127;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("loader name {0:?} is not 1 to 127 characters of a-z, A-Z, 0-9, '.', '-', '_'")]
pub struct NameError(String);

/// Loader names by architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderTable(BTreeMap<ClientArch, String>);

impl Default for LoaderTable {
    /// iPXE's undionly.kpxe for BIOS and snponly.efi for x64 UEFI; no loader for other architectures.
    fn default() -> Self {
        let rows = [
            (ClientArch::Bios, UNDIONLY),
            (ClientArch::HttpBios, UNDIONLY),
            (ClientArch::EfiX64, SNPONLY),
            (ClientArch::HttpX64, SNPONLY),
        ];
        LoaderTable(rows.into_iter().map(|(arch, name)| (arch, name.to_owned())).collect())
    }
}

impl LoaderTable {
    /// The default plus iPXE for ARM, or with `shim` the Secure Boot chain for both. Only files for which `there` is true.
    pub fn of(shim: bool, there: impl Fn(&str) -> bool) -> Self {
        let mut table = LoaderTable::default();
        if shim && there(SHIM) && there(GRUB) {
            table.0.insert(ClientArch::EfiX64, SHIM.to_owned());
            table.0.insert(ClientArch::HttpX64, SHIM.to_owned());
        }
        let secure = shim && there(SHIM_ARM64) && there(GRUB_ARM64);
        if let Some(loader) = if secure { Some(SHIM_ARM64) } else { there(IPXE_ARM64).then_some(IPXE_ARM64) } {
            table.0.insert(ClientArch::EfiArm64, loader.to_owned());
            table.0.insert(ClientArch::HttpArm64, loader.to_owned());
        }
        table
    }

    pub fn empty() -> Self {
        LoaderTable(BTreeMap::new())
    }

    /// Sets the loader of one architecture. The name is a key of the TFTP table, never a path.
    pub fn set(&mut self, arch: ClientArch, name: &str) -> Result<(), NameError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) {
            return Err(NameError(name.chars().take(MAX_NAME).collect()));
        }
        self.0.insert(arch, name.to_owned());
        Ok(())
    }

    pub fn get(&self, arch: ClientArch) -> Option<&str> {
        self.0.get(&arch).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_by_architecture_code() {
        let table = LoaderTable::default();
        for (code, want) in [
            (0, Some(UNDIONLY)),
            (6, None),
            (7, Some(SNPONLY)),
            (9, Some(SNPONLY)),
            (11, None),
            (15, None),
            (16, Some(SNPONLY)),
            (20, Some(UNDIONLY)),
            (99, None),
        ] {
            assert_eq!(table.get(ClientArch::from_code(code)), want, "{code}");
        }
    }

    #[test]
    fn the_secure_boot_chain_is_offered_only_if_complete() {
        let all = |shim, names: &[&str]| LoaderTable::of(shim, |n| names.contains(&n));
        assert_eq!(all(true, &[SHIM, GRUB]).get(ClientArch::EfiX64), Some(SHIM));
        assert_eq!(all(false, &[SHIM, GRUB]).get(ClientArch::EfiX64), Some(SNPONLY));
        assert_eq!(all(true, &[SHIM]).get(ClientArch::EfiX64), Some(SNPONLY));
        assert_eq!(all(true, &[GRUB]).get(ClientArch::EfiX64), Some(SNPONLY));
        assert_eq!(all(true, &[SHIM, GRUB]).get(ClientArch::HttpX64), Some(SHIM));
        assert_eq!(all(true, &[SHIM, GRUB]).get(ClientArch::Bios), Some(UNDIONLY));
        assert_eq!(all(true, &[IPXE_ARM64]).get(ClientArch::HttpArm64), Some(IPXE_ARM64));
        assert_eq!(all(true, &[]).get(ClientArch::EfiArm64), None);
        let arm = [IPXE_ARM64, SHIM_ARM64, GRUB_ARM64];
        for (shim, names, want) in [(true, &arm[..], SHIM_ARM64), (false, &arm[..], IPXE_ARM64), (true, &arm[..2], IPXE_ARM64)] {
            assert_eq!(all(shim, names).get(ClientArch::EfiArm64), Some(want), "{names:?}");
            assert_eq!(all(shim, names).get(ClientArch::HttpArm64), Some(want), "{names:?}");
        }
        assert_eq!(all(true, &arm).get(ClientArch::EfiX64), Some(SNPONLY), "a chain for ARM is none for x64");
    }

    #[test]
    fn name_limits() {
        let mut table = LoaderTable::empty();
        for bad in ["", "a/b", "../x", "a b", "a\n", &"x".repeat(128)] {
            assert!(table.set(ClientArch::EfiArm64, bad).is_err(), "{bad:?}");
        }
        let longest = "x".repeat(MAX_NAME);
        table.set(ClientArch::EfiArm64, &longest).unwrap();
        assert_eq!(table.get(ClientArch::EfiArm64), Some(longest.as_str()));
        table.set(ClientArch::EfiX64, IPXE_EFI).unwrap();
        assert_eq!(table.get(ClientArch::EfiX64), Some(IPXE_EFI));
    }
}
