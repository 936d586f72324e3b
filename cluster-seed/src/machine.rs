//! Facts that a machine reports. All of it is untrusted text from hardware.

use serde::{Deserialize, Serialize};

use crate::ids::Mac;
use crate::seal::Sealable;

/// Longest text of a fact, in characters.
pub const MAX_TEXT: usize = 96;
/// Most disks and most network interfaces kept.
pub const MAX_DEVICES: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    Bios,
    Uefi,
}

/// A disk the artifact could be written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Kernel name without `/dev/`, for example `nvme0n1`.
    pub name: String,
    pub size: u64,
    pub model: String,
    pub serial: String,
    pub rotational: bool,
    pub removable: bool,
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
    /// SMBIOS UUID; may be all zero or shared by many machines, so it is never an identity.
    pub uuid: String,
    pub firmware: Firmware,
    /// Date as reported by the firmware, MM/DD/YYYY (SMBIOS 3.7 section 7.1).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub firmware_date: String,
    pub cpu: String,
    pub cpus: u32,
    pub memory_mib: u64,
    pub disks: Vec<Disk>,
    pub nics: Vec<Nic>,
    /// MAC address that the machine booted from, if the loader passed it.
    pub boot_mac: Option<Mac>,
    pub kernel: String,
}

impl Sealable for HardwareFacts {
    const PURPOSE: &'static str = "hardware-facts";
}

/// Sanitises untrusted text for logs and pages: control characters become `?`, the length is cut to [`MAX_TEXT`].
pub fn tame(text: &str) -> String {
    text.trim().chars().take(MAX_TEXT).map(|c| if c.is_control() || is_bidi(c) { '?' } else { c }).collect()
}

/// Characters that reorder the text around them.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Date when the vulnerabilities of EDK2's network stack (PixieFail, CVE-2023-45229 to 45237) were published, as year, month
/// and day: older firmware does not have the fixes.
const NETWORK_HOLES_TOLD: (u16, u16, u16) = (2024, 1, 16);

impl HardwareFacts {
    /// Whether its UEFI firmware is older than the fixes for its network stack. False if the date cannot be parsed.
    pub fn has_old_firmware(&self) -> bool {
        let mut parts = self.firmware_date.split('/');
        let mut next = || parts.next().filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
        let (month, day, year) = (next(), next(), next());
        let number = |text: Option<&str>| text.and_then(|t| t.parse::<u16>().ok());
        let (Some(month), Some(day), Some(year)) = (number(month), number(day), number(year)) else { return false };
        let is_date = (1..=12).contains(&month) && (1..=31).contains(&day);
        self.firmware == Firmware::Uefi && is_date && (year, month, day) < NETWORK_HOLES_TOLD
    }

    /// Bounds every text and list, so that a hostile machine cannot fill the database or manipulate a page.
    pub fn tamed(mut self) -> Self {
        let hardware = [&mut self.vendor, &mut self.product, &mut self.serial, &mut self.uuid, &mut self.cpu];
        for text in hardware.into_iter().chain([&mut self.kernel, &mut self.firmware_date]) {
            *text = tame(text);
        }
        self.disks.truncate(MAX_DEVICES);
        for disk in &mut self.disks {
            for text in [&mut disk.name, &mut disk.model, &mut disk.serial] {
                *text = tame(text);
            }
        }
        self.nics.truncate(MAX_DEVICES);
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
            ("2019-01-01", false),
            ("1/2", false),
            ("+1/01/2019", false),
            ("999/01/2019", false),
        ] {
            assert_eq!(facts(Firmware::Uefi, date).has_old_firmware(), old, "{date}");
            assert!(!facts(Firmware::Bios, date).has_old_firmware(), "a BIOS has another network stack");
        }
        assert!(!serde_json::to_string(&facts(Firmware::Bios, "")).unwrap().contains("firmware_date"));
    }

    #[test]
    fn hostile_text_is_cut_and_sanitised() {
        assert_eq!(tame("a\u{1b}[31m\nb\u{202e}c"), "a?[31m?b?c");
        assert_eq!(tame(&"x".repeat(MAX_TEXT)).len(), MAX_TEXT);
        assert_eq!(tame(&"x".repeat(MAX_TEXT + 1)).len(), MAX_TEXT);
    }
}
