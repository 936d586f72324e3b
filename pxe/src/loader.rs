//! Which network boot program a machine's firmware gets.

use std::collections::BTreeMap;

use crate::request::ClientArch;

/// The file names iPXE's Debian package uses.
pub const UNDIONLY: &str = "undionly.kpxe";
/// Uses the firmware's own network driver: works wherever the firmware itself could boot.
pub const SNPONLY: &str = "snponly.efi";
/// Brings its own drivers: for firmware whose driver misbehaves.
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
    /// iPXE's undionly.kpxe for BIOS and snponly.efi for x64 UEFI; other architectures have no loader.
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
