//! Files that the image build copies into a node's root file system: units, configuration, playbooks. None is secret or
//! depends on the site.

use cluster_seed::ids::Digest;

/// Path of the agent in the root.
pub const AGENT_PATH: &str = "/usr/lib/kubedos/kubedos-node";
/// Directory of the callback plugin, and of a playbook for operators.
pub const ANSIBLE_DIR: &str = "/usr/share/kubedos/ansible";

/// Debian packages a node needs besides the minimal base system and a kernel. Ansible runs the plays of a role.
pub const NODE_PACKAGES: &[&str] = &[
    "ansible-core",
    "ca-certificates",
    "chrony",
    "e2fsprogs",
    "iproute2",
    "iputils-ping",
    "kmod",
    "nftables",
    "openssh-server",
    "procps",
    "python3",
    "systemd",
    "systemd-sysv",
    "udev",
    "wireguard-tools",
];

/// One file of the root.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// Absolute path in the root.
    pub path: &'static str,
    /// Permission bits.
    pub mode: u32,
    pub bytes: &'static [u8],
}

macro_rules! asset {
    ($path:literal, $file:literal) => {
        Asset { path: $path, mode: 0o644, bytes: include_bytes!(concat!("../assets/", $file)) }
    };
}

/// Firewall rules of every node.
pub const BASE_RULES: Asset = asset!("/usr/share/kubedos/nftables/base.nft", "nftables/base.nft");
/// Loaded by `nftables.service`: the base rules and the files of `/etc/nftables.d`.
pub const FIREWALL: Asset = asset!("/etc/nftables.conf", "nftables/nftables.conf");
/// Debian's unit that loads the rules, ordered before `network-pre.target`.
pub const FIREWALL_UNIT: &str = "nftables.service";
/// Grows the root partition to the disk.
pub const GROW_UNIT: &str = "kubedos-grow.service";
/// Gives a machine without DHCP its static address.
pub const NETWORK_UNIT: &str = "kubedos-network.service";
/// Settings of the SSH server.
pub const SSH_SERVER: Asset = asset!("/etc/ssh/sshd_config.d/kubedos.conf", "ssh/kubedos.conf");
/// Pin priorities of the package sources.
pub const APT_PRIORITY: Asset = asset!("/etc/apt/preferences.d/kubedos.pref", "apt/kubedos.pref");

const FILES: &[Asset] = &[
    asset!("/usr/lib/systemd/system/kubedos-node.service", "systemd/kubedos-node.service"),
    asset!("/usr/lib/systemd/system/kubedos-converge.service", "systemd/kubedos-converge.service"),
    asset!("/usr/lib/systemd/system/kubedos-peers.service", "systemd/kubedos-peers.service"),
    asset!("/usr/lib/systemd/system/kubedos-peers.timer", "systemd/kubedos-peers.timer"),
    asset!("/usr/lib/systemd/system/kubedos-grow.service", "systemd/kubedos-grow.service"),
    asset!("/usr/lib/systemd/system/kubedos-network.service", "systemd/kubedos-network.service"),
    asset!("/usr/lib/systemd/system/kubedos-join.service", "systemd/kubedos-join.service"),
    asset!("/usr/lib/systemd/system/kubedos-hostkeys.service", "systemd/kubedos-hostkeys.service"),
    asset!("/usr/lib/systemd/network/80-kubedos.network", "network/80-kubedos.network"),
    asset!("/usr/lib/systemd/system/chrony.service.d/kubedos.conf", "time/chrony-kubedos.conf"),
    asset!("/usr/lib/clock-epoch", "time/clock-epoch"),
    asset!("/usr/lib/tmpfiles.d/kubedos.conf", "network/kubedos.tmpfiles"),
    asset!("/usr/lib/systemd/system/nftables.service.d/kubedos.conf", "nftables/nftables-kubedos.conf"),
    BASE_RULES,
    FIREWALL,
    SSH_SERVER,
    APT_PRIORITY,
    asset!("/etc/apt/apt.conf.d/90kubedos", "apt/90kubedos"),
    asset!("/usr/share/kubedos/ansible/playbooks/00_fabric_gate.yml", "ansible/playbooks/00_fabric_gate.yml"),
    asset!("/usr/share/kubedos/ansible/callback_plugins/kubedos_json.py", "ansible/callback_plugins/kubedos_json.py"),
];

/// All files, in a fixed order, without the agent: the image build gets it as a path.
pub fn files() -> Vec<Asset> {
    FILES.to_vec()
}

/// Units to enable with `systemctl --root`.
pub fn enabled_units() -> &'static [&'static str] {
    &[
        GROW_UNIT,
        "kubedos-hostkeys.service",
        "kubedos-join.service",
        NETWORK_UNIT,
        "kubedos-node.service",
        "kubedos-converge.service",
        "kubedos-peers.timer",
        FIREWALL_UNIT,
        "ssh.service",
        "systemd-networkd.service",
    ]
}

/// Digest over path, mode and content of every file; part of an artifact's spec.
pub fn digest() -> Digest {
    let mut bytes = Vec::new();
    for asset in FILES {
        for part in [asset.path.as_bytes(), &asset.mode.to_be_bytes(), asset.bytes] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
    }
    Digest::of(&bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn paths_are_absolute_and_distinct() {
        let paths: BTreeSet<_> = files().iter().map(|a| a.path).collect();
        assert_eq!(paths.len(), files().len());
        assert!(paths.iter().all(|p| p.starts_with('/') && !p.contains("..")));
    }

    #[test]
    fn our_enabled_units_are_among_the_files() {
        for unit in enabled_units().iter().filter(|u| u.starts_with("kubedos-")) {
            let file = files().into_iter().find(|a| a.path.ends_with(unit)).expect(unit);
            assert!(String::from_utf8_lossy(file.bytes).contains("[Install]"), "{unit}");
        }
    }

    #[test]
    fn units_start_the_agent_by_its_path() {
        for (unit, verb) in [("kubedos-node.service", "apply"), ("kubedos-converge.service", "converge")] {
            let file = files().into_iter().find(|a| a.path.ends_with(unit)).unwrap();
            assert!(String::from_utf8_lossy(file.bytes).contains(&format!("ExecStart={AGENT_PATH} {verb}\n")), "{unit}");
        }
    }
}
