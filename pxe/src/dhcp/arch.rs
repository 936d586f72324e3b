//! Architecture of a client's firmware.

use cluster_seed::arch::Arch;

/// The processor and firmware of a PXE client (RFC 4578 section 2.1 and IANA's registry of
/// "Processor Architecture Types").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClientArch {
    /// 0: x86 BIOS.
    Bios,
    /// 6: x86 UEFI.
    EfiIa32,
    /// 7, and 9: x64 UEFI. RFC 4578's erratum swapped the two and firmware sends both.
    EfiX64,
    /// 11: ARM 64-bit UEFI.
    EfiArm64,
    /// 15: x86 UEFI boot from HTTP.
    HttpIa32,
    /// 16: x64 UEFI boot from HTTP.
    HttpX64,
    /// 19: ARM 64-bit UEFI boot from HTTP.
    HttpArm64,
    /// 20: PC/AT BIOS boot from HTTP.
    HttpBios,
    /// 41: a Raspberry Pi's boot ROM, which calls itself an x86 BIOS (0); see [`crate::dhcp::request`].
    RaspberryPi,
    /// Any other, by its code.
    Other(u16),
}

impl ClientArch {
    pub fn from_code(code: u16) -> Self {
        match code {
            0 => ClientArch::Bios,
            6 => ClientArch::EfiIa32,
            7 | 9 => ClientArch::EfiX64,
            11 => ClientArch::EfiArm64,
            15 => ClientArch::HttpIa32,
            16 => ClientArch::HttpX64,
            19 => ClientArch::HttpArm64,
            20 => ClientArch::HttpBios,
            41 => ClientArch::RaspberryPi,
            other => ClientArch::Other(other),
        }
    }

    /// Stable name for logs, metrics and the `arch` field of a boot URL.
    pub fn name(self) -> &'static str {
        match self {
            ClientArch::Bios => "bios",
            ClientArch::EfiIa32 => "efi-ia32",
            ClientArch::EfiX64 => "efi-x64",
            ClientArch::EfiArm64 => "efi-arm64",
            ClientArch::HttpIa32 => "http-ia32",
            ClientArch::HttpX64 => "http-x64",
            ClientArch::HttpArm64 => "http-arm64",
            ClientArch::HttpBios => "http-bios",
            ClientArch::RaspberryPi => "arm-rpiboot",
            ClientArch::Other(_) => "other",
        }
    }

    /// The processor of a machine whose requests have this [`ClientArch::name`]: amd64, unless it says otherwise.
    pub fn processor(name: &str) -> Arch {
        let arm64 = [ClientArch::EfiArm64, ClientArch::HttpArm64].map(ClientArch::name);
        if arm64.contains(&name) { Arch::Arm64 } else { Arch::Amd64 }
    }

    /// The firmware fetches its loader by HTTP and needs a URL.
    pub fn is_http(self) -> bool {
        matches!(self, ClientArch::HttpIa32 | ClientArch::HttpX64 | ClientArch::HttpArm64 | ClientArch::HttpBios)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_known_by_the_name_in_the_boot_url() {
        for (code, arch) in [(11, Arch::Arm64), (19, Arch::Arm64), (0, Arch::Amd64), (7, Arch::Amd64), (16, Arch::Amd64)] {
            assert_eq!(ClientArch::processor(ClientArch::from_code(code).name()), arch, "{code}");
        }
        for name in ["", "unknown", "EFI-ARM64", "efi-arm64 "] {
            assert_eq!(ClientArch::processor(name), Arch::Amd64, "{name:?}");
        }
    }
}
