//! Facts that a machine reports. All of it is untrusted text from hardware.

/// Untrusted text.
mod text;

/// Disks, and how one is told apart from the others.
mod disk;

pub mod firmware;

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::ids::Mac;
use crate::seal::Sealable;

pub use disk::{Disk, SECTOR};
use text::is_zero;
pub use text::{MAX_TEXT, tame};

/// Most disks kept; a message of the agent has room for them.
pub const MAX_DISKS: usize = 100;
/// Most network interfaces kept.
pub const MAX_NICS: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    Bios,
    Uefi,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nic {
    pub name: String,
    pub mac: Mac,
    pub driver: String,
    pub link_up: bool,
    /// Megabits per second, if the kernel knows it.
    pub speed: Option<u32>,
}

/// The machine's hardware, read by the RAM agent from /sys and /proc.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardwareFacts {
    pub vendor: String,
    pub product: String,
    pub serial: String,
    /// SMBIOS UUID; empty if it is a placeholder. Vendors give one to many machines, so it is never an identity.
    pub uuid: String,
    pub firmware: Firmware,
    /// Date as reported by the firmware; see [`firmware::parse_date`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub firmware_date: String,
    pub cpu: String,
    pub cpus: u32,
    pub memory_mib: u64,
    pub disks: Vec<Disk>,
    /// Disks beyond [`MAX_DISKS`], which are not listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub disks_left_out: u32,
    /// For a machine that joins in place, the name of the disk that its running system is on: nothing is written to any disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_disk: Option<String>,
    pub nics: Vec<Nic>,
    /// MAC address that the machine booted from, if the loader passed it.
    pub boot_mac: Option<Mac>,
    pub kernel: String,
    /// Left out by machines with amd64, as by all agents before there were others.
    #[serde(default, skip_serializing_if = "Arch::is_amd64")]
    pub arch: Arch,
}

impl Sealable for HardwareFacts {
    const PURPOSE: &'static str = "hardware-facts";
}

/// Date when the vulnerabilities of EDK2's network stack (PixieFail, CVE-2023-45229 to 45237) were published, as year, month
/// and day: older firmware does not have the fixes.
const NETWORK_HOLES_TOLD: firmware::Date = (2024, 1, 16);

impl HardwareFacts {
    /// Whether its UEFI firmware is older than the fixes for its network stack. False if the date cannot be parsed.
    pub fn has_old_firmware(&self) -> bool {
        let date = firmware::parse_date(&self.firmware_date);
        self.firmware == Firmware::Uefi && date.is_some_and(|d| d < NETWORK_HOLES_TOLD)
    }

    /// Bounds every text and list, so that a hostile machine cannot fill the database or manipulate a page. Placeholders that
    /// a vendor left in SMBIOS become empty.
    pub fn tamed(mut self) -> Self {
        let hardware = [&mut self.vendor, &mut self.product, &mut self.serial, &mut self.uuid, &mut self.cpu];
        for text in hardware.into_iter().chain([&mut self.kernel, &mut self.firmware_date]) {
            *text = tame(text);
        }
        for text in [&mut self.vendor, &mut self.product, &mut self.serial] {
            if firmware::is_placeholder(text) {
                text.clear();
            }
        }
        if firmware::is_shared_uuid(&self.uuid) {
            self.uuid.clear();
        }
        let more = u32::try_from(self.disks.len().saturating_sub(MAX_DISKS)).unwrap_or(u32::MAX);
        self.disks_left_out = self.disks_left_out.saturating_add(more);
        self.disks.truncate(MAX_DISKS);
        self.disks = self.disks.into_iter().map(Disk::tamed).collect();
        self.root_disk = self.root_disk.as_deref().map(tame);
        self.nics.truncate(MAX_NICS);
        for nic in &mut self.nics {
            for text in [&mut nic.name, &mut nic.driver] {
                *text = tame(text);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hole_07_old_firmware_is_known_by_its_date() {
        let facts = |firmware, date: &str| {
            let text = r#"{"vendor":"","product":"","serial":"","uuid":"","firmware":"uefi","cpu":"","cpus":1,"memory_mib":1,
                "disks":[],"nics":[],"boot_mac":null,"kernel":""}"#;
            let older: HardwareFacts = serde_json::from_str(text).unwrap();
            HardwareFacts { firmware, firmware_date: date.to_owned(), ..older }
        };
        for (date, old) in [
            ("01/15/2024", true),
            ("01/16/2024", false),
            ("12/31/2023", true),
            ("02/01/2024", false),
            ("09/01/1999", true),
            ("", false),
            ("2019-01-01", true),
            ("1/2", false),
            ("+1/01/2019", false),
            ("999/01/2019", false),
        ] {
            assert_eq!(facts(Firmware::Uefi, date).has_old_firmware(), old, "{date}");
            assert!(!facts(Firmware::Bios, date).has_old_firmware(), "a BIOS has another network stack");
        }
        let text = serde_json::to_string(&facts(Firmware::Bios, "")).unwrap();
        assert!(!text.contains("firmware_date") && !text.contains("arch"), "older seeds refuse a field that they do not know");
    }

    #[test]
    fn hostile_text_is_cut_and_sanitised() {
        assert_eq!(tame("a\u{1b}[31m\nb\u{202e}c"), "a?[31m?b?c");
        assert_eq!(tame(&"x".repeat(MAX_TEXT)).len(), MAX_TEXT);
        assert_eq!(tame(&"x".repeat(MAX_TEXT + 1)).len(), MAX_TEXT);
    }
}
