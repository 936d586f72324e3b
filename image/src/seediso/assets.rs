//! The files of the seed's root besides packages and `seedd`.

use cluster_seed::ids::Digest;
use payload::assets::Asset;

/// Id of user and group `kubedos`. The same on every medium: a state partition outlives its medium.
pub const USER_ID: u32 = 600;
/// Path of the program.
pub const SEEDD: &str = "usr/bin/seedd";

macro_rules! asset {
    ($path:literal, $file:literal) => {
        Asset { path: $path, mode: 0o644, bytes: include_bytes!(concat!("../../assets/seed/", $file)) }
    };
}

const FILES: &[Asset] = &[
    asset!("/usr/lib/systemd/system/kubedos-state.service", "kubedos-state.service"),
    asset!("/usr/lib/systemd/system/kubedos-seed.service", "kubedos-seed.service"),
    asset!("/usr/lib/systemd/system/kubedos-console@.service", "kubedos-console@.service"),
    asset!("/usr/lib/systemd/system/kubedos-power@.path", "kubedos-power@.path"),
    asset!("/usr/lib/systemd/system/kubedos-power@.service", "kubedos-power@.service"),
    asset!("/usr/lib/systemd/system/kubedos-restate.path", "kubedos-restate.path"),
    asset!("/usr/lib/systemd/system/kubedos-restate.service", "kubedos-restate.service"),
    asset!("/usr/lib/systemd/system/kubedos-time.path", "kubedos-time.path"),
    asset!("/usr/lib/systemd/system/kubedos-time.service", "kubedos-time.service"),
    asset!("/usr/lib/systemd/journald.conf.d/kubedos.conf", "journald.conf"),
    asset!("/usr/lib/tmpfiles.d/kubedos.conf", "tmpfiles.conf"),
    asset!("/usr/lib/modules-load.d/kubedos.conf", "modules-load.conf"),
    asset!("/usr/lib/sysctl.d/90-kubedos.conf", "sysctl.conf"),
    asset!("/usr/lib/systemd/system/chrony.service.d/kubedos.conf", "chrony-kubedos.conf"),
    asset!("/usr/lib/clock-epoch", "clock-epoch"),
    asset!("/etc/hosts", "hosts"),
];

/// Files on the medium besides the root: path and content.
pub const DOCS: &[(&str, &[u8])] = &[
    ("README.txt", include_bytes!("../../assets/seed/readme.txt")),
    ("kubedos/docs/running-a-seed.md", include_bytes!("../../../docs/running-a-seed.md")),
    ("kubedos/docs/architecture.md", include_bytes!("../../../docs/architecture.md")),
];

/// Units to enable.
pub const ENABLED: &[&str] = &[
    "kubedos-console@tty1.service",
    "kubedos-console@ttyS0.service",
    "kubedos-power@poweroff.path",
    "kubedos-power@reboot.path",
    "kubedos-restate.path",
    "kubedos-seed.service",
    "kubedos-state.service",
    "kubedos-time.path",
];
/// Units that only the daemon starts.
pub const DISABLED: &[&str] = &["chrony.service"];
/// Units that never start: logins (the root account is locked), maintenance of disks that a seed does not have.
pub const MASKED: &[&str] = &[
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@.service",
    "serial-getty@.service",
    "systemd-networkd-wait-online.service",
];

/// The files of the root, in a fixed order.
pub fn files() -> &'static [Asset] {
    FILES
}

/// Digest of the root's files and units, a part of the root's spec.
pub fn digest() -> Digest {
    let mut bytes = Vec::new();
    let mut put = |part: &[u8]| {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    };
    for asset in FILES {
        put(asset.path.as_bytes());
        put(&asset.mode.to_be_bytes());
        put(asset.bytes);
    }
    [ENABLED, DISABLED, MASKED].concat().iter().for_each(|unit| put(unit.as_bytes()));
    put(&USER_ID.to_be_bytes());
    Digest::of(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str) -> String {
        let file = FILES.iter().find(|a| a.path.ends_with(name)).unwrap_or_else(|| panic!("no {name}"));
        String::from_utf8_lossy(file.bytes).into_owned()
    }

    #[test]
    fn enabled_units_exist_and_have_an_install_section() {
        for name in ENABLED {
            let ending = name.rsplit('.').next().unwrap();
            let file = name.split_once('@').map_or((*name).to_owned(), |(n, _)| format!("{n}@.{ending}"));
            assert!(unit(&format!("/{file}")).contains("[Install]"), "{name}");
        }
    }

    #[test]
    fn units_start_the_program_at_its_path() {
        for name in ["kubedos-state.service", "kubedos-seed.service", "kubedos-console@.service"] {
            assert!(unit(name).contains(&format!("ExecStart=/{SEEDD} ")), "{name}");
        }
    }

    #[test]
    fn the_daemon_does_not_run_as_root() {
        let text = unit("kubedos-seed.service");
        for line in ["User=kubedos", "NoNewPrivileges=yes", "ProtectSystem=strict", "PrivateTmp=yes", "Restart=on-failure"] {
            assert!(text.lines().any(|l| l == line), "{line}");
        }
        let capabilities = "CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_NET_RAW CAP_SYS_TIME";
        assert!(text.contains(&format!("\nAmbientCapabilities={capabilities}\n")));
        assert!(text.contains(&format!("\nCapabilityBoundingSet={capabilities}\n")));
    }
}
