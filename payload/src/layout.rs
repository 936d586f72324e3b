//! Fixed paths in the RAM system, on the seed's medium and on an installed node.

/// Where the state partition is mounted on an installed node.
pub const STATE_DIR: &str = "/var/lib/kubedos";
/// Where the RAM agent keeps the same files, in a tmpfs.
pub const RUN_DIR: &str = "/run/kubedos";
/// Archives of the payloads that are part of the image, `<digest>.tar.zst`.
pub const PAYLOADS: &str = "/usr/share/kubedos/payload";
/// The flow agent; the play `flow` writes it.
pub const FLOW_AGENT: &str = "/usr/local/lib/kubedos/kubedos-flow";
/// Name under which the kernel calls this program to load a module.
pub const MODPROBE: &str = "modprobe";
/// Mount point of the seed's root before it is entered: not below /run, which moves into it.
pub const SYSROOT: &str = "/sysroot";
/// The init of the seed's root.
pub const INIT: &str = "/usr/lib/systemd/systemd";
/// Exists in a netboot image that was built with `netboot.rescue: off`.
pub const NO_RESCUE: &str = "/etc/kubedos/no-rescue";
/// On the state partition: the name and the password's hash that open GRUB's editor.
pub const GRUB_USER: &str = "grub-user.cfg";
/// On the state partition: the address that the machine had when it was installed without DHCP, for systemd-networkd.
pub const STATIC_NETWORK: &str = "static.network";
/// Exit status of the agent in RAM after a permanent failure that the seed was notified of.
pub const GAVE_UP: u8 = 3;
