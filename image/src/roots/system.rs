//! The root file system of a role: the snapshot's packages installed by mmdebstrap, our own files, and nothing that differs
//! between builds.

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::manifest::ROOT_LABEL;
use cluster_seed::progress::Progress;
use host::files::{read_limited, write_synced};
use payload::assets;

use super::tools::ToolRoot;
use crate::error::{Error, in_tree};
use crate::spec::ARCH;
use crate::tree::{Meta, Tree, TreeError};

pub(crate) const STATE_LABEL: &str = "kubedos-state";

/// A slow machine needs longer than systemd's 90 s to find its disks, and without the state partition nothing works.
pub(crate) const FSTAB: &str = "LABEL=kubedos-root / ext4 errors=remount-ro 0 1
LABEL=kubedos-state /var/lib/kubedos ext4 nofail,nodev,nosuid,noexec,x-systemd.device-timeout=10min 0 2
";

/// Largest keyring, in bytes.
const MAX_KEYRING: u64 = 1 << 20;
/// Files and directories that differ between builds, or are created at first boot.
const REMOVED: &[&str] = &[
    "etc/apt/sources.list",
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/group-",
    "etc/gshadow-",
    "etc/passwd-",
    "etc/resolv.conf",
    "etc/shadow-",
    "etc/subgid-",
    "etc/subuid-",
    "root/.ansible",
    "var/cache/apt/pkgcache.bin",
    "var/cache/apt/srcpkgcache.bin",
    "var/cache/debconf/config.dat-old",
    "var/cache/debconf/templates.dat-old",
    "var/cache/ldconfig/aux-cache",
    "var/lib/dbus/machine-id",
    "var/lib/dpkg/available",
    "var/lib/dpkg/diversions-old",
    "var/lib/dpkg/statoverride-old",
    "var/lib/dpkg/status-old",
    "var/lib/systemd/catalog/database",
    "var/lib/systemd/random-seed",
    "var/lib/ucf/cache",
];
/// Directories that are emptied and kept.
const EMPTIED: &[&str] = &["run", "tmp", "var/cache/apt/archives", "var/lib/apt/lists", "var/tmp"];

/// A root file system in `work/root`.
pub(crate) struct System {
    /// Release of its kernel.
    pub kernel: String,
    /// Size of its files in bytes, each rounded up to 4 KiB.
    pub content: u64,
}

pub(crate) struct Recipe<'a> {
    pub base: Bootstrap<'a>,
    pub agent: &'a [u8],
    pub epoch: u64,
}

/// What mmdebstrap installs.
pub(crate) struct Bootstrap<'a> {
    pub tools: &'a ToolRoot,
    pub work: &'a Utf8Path,
    pub suite: &'a str,
    pub components: &'a [String],
    pub keyring: &'a Utf8Path,
    pub packages: &'a [String],
    /// /etc/fstab: present before the first package is installed, so that the initramfs gets the right file system check.
    pub fstab: &'a str,
    /// Options of dpkg for paths not to unpack (dpkg(1), `--path-exclude` and `--path-include`).
    pub paths: &'a [&'a str],
}

/// Builds the root file system of a role in `work/root`.
pub(crate) fn build(r: &Recipe, progress: &dyn Progress) -> Result<System, Error> {
    bootstrap(&r.base, progress)?;
    let tree = Tree::new(&r.base.work.join("root"));
    let wrong = in_tree(tree.root());
    add_payload(&tree, r).map_err(&wrong)?;
    enable(&r.base, assets::enabled_units(), progress)?;
    clean(&tree, r.epoch).map_err(&wrong)?;
    let kernel = only_kernel(&tree)?;
    for name in [format!("boot/vmlinuz-{kernel}"), format!("boot/initrd.img-{kernel}")] {
        if !tree.target(&name).map_err(&wrong)?.is_file() {
            return Err(Error::Content(format!("the root file system has no {name}")));
        }
    }
    tree.write("boot/grub/grub.cfg", 0o644, r.epoch, grub_config(&kernel).as_bytes()).map_err(&wrong)?;
    let content = tree.clamp_times(r.epoch).map_err(wrong)?;
    Ok(System { kernel, content })
}

/// Release of the kernel that the root has modules for.
pub(crate) fn only_kernel(tree: &Tree) -> Result<String, Error> {
    let mut kernels = tree.list("usr/lib/modules").map_err(in_tree(tree.root()))?;
    match kernels.pop() {
        Some(kernel) if kernels.is_empty() => Ok(kernel),
        _ => Err(Error::Content("the root file system must have the modules of exactly one kernel".to_owned())),
    }
}

/// `/boot/grub/grub.cfg`, read by the loaders for BIOS and for UEFI.
fn grub_config(kernel: &str) -> String {
    format!(
        "# Written at image build.
set timeout=1
set default=0
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
menuentry 'Kubedos' {{
    linux /boot/vmlinuz-{kernel} root=LABEL={ROOT_LABEL} ro console=tty0 console=ttyS0,115200n8 panic=30 systemd.gpt_auto=no
    initrd /boot/initrd.img-{kernel}
}}
"
    )
}

/// Installs the packages into `work/root`.
pub(crate) fn bootstrap(r: &Bootstrap, progress: &dyn Progress) -> Result<(), Error> {
    let keyring = read_limited(r.keyring, MAX_KEYRING)?;
    // apt recognises armoured keys by the file's extension.
    let name = if keyring.starts_with(b"-----BEGIN") { "keyring.asc" } else { "keyring.gpg" };
    write_synced(&r.work.join(name), &keyring)?;
    write_synced(&r.work.join("fstab"), r.fstab.as_bytes())?;
    let source = format!("deb [signed-by=/work/{name}] copy:/snapshot {} {}", r.suite, r.components.join(" "));
    let include = format!("--include={}", r.packages.join(","));
    let arch = format!("--architectures={ARCH}");
    let paths: Vec<String> = r.paths.iter().map(|p| format!("--dpkgopt={p}")).collect();
    let mut argv = vec![
        "mmdebstrap",
        "--mode=root",
        "--format=directory",
        "--variant=essential",
        "--skip=check/qemu",
        &arch,
        &include,
        "--aptopt=APT::Install-Recommends \"false\"",
        "--aptopt=Acquire::Languages \"none\"",
        "--aptopt=APT::Sandbox::User \"root\"",
        // A snapshot may be years old, and the clock may be at 1970.
        "--aptopt=Acquire::Check-Date \"false\"",
        "--aptopt=Acquire::Check-Valid-Until \"false\"",
        "--essential-hook=cp /work/fstab \"$1/etc/fstab\"",
    ];
    argv.extend(paths.iter().map(String::as_str));
    argv.extend([r.suite, "/work/root", &source]);
    r.tools.run("installing the packages", r.work, &argv, progress).map(|_| ())
}

/// Adds the files of the agent.
fn add_payload(tree: &Tree, r: &Recipe) -> Result<(), TreeError> {
    let at = |path: &str| path.trim_start_matches('/').to_owned();
    for file in assets::files() {
        tree.write(&at(file.path), file.mode, r.epoch, file.bytes)?;
    }
    tree.write(&at(assets::AGENT_PATH), 0o755, r.epoch, r.agent)?;
    tree.dir("var/lib/kubedos", Meta { mode: 0o700, owner: Some((0, 0)), mtime: r.epoch })?;
    tree.write("etc/hostname", 0o644, r.epoch, b"kubedos\n")?;
    tree.write("etc/hosts", 0o644, r.epoch, b"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n")
}

/// Enables units, with the root's own systemctl.
pub(crate) fn enable(r: &Bootstrap, units: &[&str], progress: &dyn Progress) -> Result<(), Error> {
    let mut argv = vec!["chroot", "/work/root", "/usr/bin/systemctl", "--root=/", "enable"];
    argv.extend(units);
    r.tools.run("enabling units", r.work, &argv, progress).map(|_| ())
}

/// Removes what differs between builds.
pub(crate) fn clean(tree: &Tree, epoch: u64) -> Result<(), TreeError> {
    for name in REMOVED {
        tree.remove(name)?;
    }
    for dir in EMPTIED {
        for name in tree.list(dir)? {
            tree.remove(&format!("{dir}/{name}"))?;
        }
    }
    for key in tree.list("etc/ssh")?.iter().filter(|n| n.starts_with("ssh_host_")) {
        tree.remove(&format!("etc/ssh/{key}"))?;
    }
    // Empty, not absent: systemd fills it in at boot without treating it as a first boot (machine-id(5)).
    tree.write("etc/machine-id", 0o444, epoch, b"")?;
    remove_logs(tree)
}

fn remove_logs(tree: &Tree) -> Result<(), TreeError> {
    let mut logs: Vec<Utf8PathBuf> = Vec::new();
    Tree::new(&tree.root().join("var/log")).walk(&mut |below, meta| {
        if meta.is_file() {
            logs.push(below.to_owned());
        }
        Ok(())
    })?;
    logs.iter().try_for_each(|log| tree.remove(&format!("var/log/{log}")))
}

#[cfg(test)]
mod tests {
    use cluster_seed::ids::Digest;

    use super::*;

    #[test]
    fn the_texts_of_the_root_are_part_of_the_recipe() {
        // Other bytes here need another `RECIPE`: the artifact's id would not change.
        for (text, digest) in [
            (grub_config("6.12.48"), "8f8d9a237ee027961664d41282ecc1d7867e89eb4b667651ac1a7c689da5cfc5"),
            (FSTAB.to_owned(), "d2e57f6eba75094412f3a979eedd4ab57e9868abf203f12e4f35c0a1ec61bb3f"),
        ] {
            assert_eq!(Digest::of(text.as_bytes()).to_string(), digest, "{text}");
        }
    }
}
