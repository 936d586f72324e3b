/// Every vSphere since 6.0 knows this name; those of single Debian releases are refused by older ones.
pub const GUEST: &str = "other3xLinux64Guest";
/// The first version of the virtual hardware with Secure Boot.
pub const MIN_HARDWARE: u8 = 13;

/// How the machine boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    Bios,
    Efi { secure_boot: bool },
}

/// A value that is asked for when the machine is deployed, and read by the guest (section 9.5.1).
#[derive(Debug, Clone, Copy)]
pub struct Property<'a> {
    /// Letters, digits, `_` and `-`. The guest sees it with [`Machine::class`] and a dot before it.
    pub key: &'a str,
    pub label: &'a str,
    pub description: &'a str,
    /// What it is if nothing is entered.
    pub default: &'a str,
    /// Not shown while it is entered (section 9.5.1, `ovf:password`).
    pub password: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct Machine<'a> {
    /// Identifier and display name. Letters, digits, `.`, `_` and `-`.
    pub name: &'a str,
    pub product: &'a str,
    pub vendor: &'a str,
    pub version: &'a str,
    /// VMware's name of the guest system, see [`GUEST`].
    pub guest: &'a str,
    /// Version of the virtual hardware, from [`MIN_HARDWARE`]: 13 is vSphere 6.5, 19 is 7.0 Update 2.
    pub hardware: u8,
    pub firmware: Firmware,
    pub cpus: u32,
    pub memory_mib: u32,
    /// One network card each.
    pub networks: &'a [&'a str],
    /// A serial port, if the host offers one.
    pub serial: bool,
    /// A vTPM 2.0, if vCenter has a key provider. Needs EFI and hardware 14.
    pub tpm: bool,
    /// Prefix of the properties' keys (section 9.5, `ovf:class`).
    pub class: &'a str,
    pub properties: &'a [Property<'a>],
    /// Settings of the machine that its guest can read with VMware's tools, such as `guestinfo.kubedos.seed`.
    pub extra_config: &'a [(&'a str, &'a str)],
}
