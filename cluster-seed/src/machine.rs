//! What a machine says of itself. All of it is untrusted text from hardware.

use serde::{Deserialize, Serialize};

use crate::ids::Mac;
use crate::seal::Sealable;

/// Longest text kept of any one fact, in characters.
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
    /// Megabit per second where the kernel knows it.
    pub speed: Option<u32>,
}

/// The machine's hardware as its RAM agent read it from /sys and /proc.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardwareFacts {
    pub vendor: String,
    pub product: String,
    pub serial: String,
    /// SMBIOS UUID; may be all zero or shared by many machines, so it is never an identity.
    pub uuid: String,
    pub firmware: Firmware,
    pub cpu: String,
    pub cpus: u32,
    pub memory_mib: u64,
    pub disks: Vec<Disk>,
    pub nics: Vec<Nic>,
    /// MAC address the machine booted from, where the loader told it.
    pub boot_mac: Option<Mac>,
    pub kernel: String,
}

impl Sealable for HardwareFacts {
    const PURPOSE: &'static str = "hardware-facts";
}

/// Untrusted text made fit for a log line or a page: control characters become `?`, the length is cut to [`MAX_TEXT`].
pub fn tame(text: &str) -> String {
    text.trim().chars().take(MAX_TEXT).map(|c| if c.is_control() || is_bidi(c) { '?' } else { c }).collect()
}

/// Characters that reorder the text around them.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

impl HardwareFacts {
    /// Bounds every text and list, so that a hostile machine cannot fill the database or draw on the page.
    pub fn tamed(mut self) -> Self {
        for text in [&mut self.vendor, &mut self.product, &mut self.serial, &mut self.uuid, &mut self.cpu, &mut self.kernel] {
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
    fn hostile_text_is_cut_and_tamed() {
        assert_eq!(tame("a\u{1b}[31m\nb\u{202e}c"), "a?[31m?b?c");
        assert_eq!(tame(&"x".repeat(MAX_TEXT)).len(), MAX_TEXT);
        assert_eq!(tame(&"x".repeat(MAX_TEXT + 1)).len(), MAX_TEXT);
    }
}
