//! The root file system of a role: the snapshot's packages installed by mmdebstrap, our own files, and nothing that differs
//! between builds.

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::arch::Arch;
use cluster_seed::converge::payload::MAX_ARCHIVE;
use cluster_seed::ids::Digest;
use cluster_seed::manifest::ROOT_LABEL;
use cluster_seed::progress::Progress;
use host::files::{read_limited, write_synced};
use payload::assets;
use payload::layout::{GRUB_USER, PAYLOADS};

use super::tools::ToolRoot;
use crate::disk::STATE;
use crate::error::{Error, in_tree};
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
    /// Units that must not start by themselves, although their packages enable them.
    pub disabled: &'a [String],
    /// Digest and archive of the payload that its nodes run first.
    pub payload: Option<(Digest, &'a Utf8Path)>,
}

/// What mmdebstrap installs.
pub(crate) struct Bootstrap<'a> {
    pub tools: &'a ToolRoot,
    pub work: &'a Utf8Path,
    pub suite: &'a str,
    pub components: &'a [String],
    pub keyring: &'a Utf8Path,
    pub packages: &'a [String],
    pub arch: Arch,
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
    add_archive(&tree, r)?;
    enable(&r.base, assets::enabled_units(), progress)?;
    disable(&tree, r, progress)?;
    clean(&tree, r.epoch).map_err(&wrong)?;
    root_is_locked(&tree)?;
    let kernel = only_kernel(&tree)?;
    for name in [format!("boot/vmlinuz-{kernel}"), format!("boot/initrd.img-{kernel}")] {
        if !tree.target(&name).map_err(&wrong)?.is_file() {
            return Err(Error::Content(format!("the root file system has no {name}")));
        }
    }
    tree.write("boot/grub/grub.cfg", 0o644, r.epoch, grub_config(&kernel, r.base.arch).as_bytes()).map_err(&wrong)?;
    let content = tree.clamp_times(r.epoch).map_err(wrong)?;
    Ok(System { kernel, content })
}

/// Largest /etc/shadow, or unit, in bytes.
const MAX_SHADOW: u64 = 1 << 20;
/// With this in its environment systemd's rescue shell opens though root is locked (sulogin(8), `--force`).
const SULOGIN_FORCE: &str = "SYSTEMD_SULOGIN_FORCE";

/// No account has a password: with root locked, sulogin(8) gives no shell in rescue and emergency mode either. A package's
/// script could have set one, or made sulogin skip the question.
fn root_is_locked(tree: &Tree) -> Result<(), Error> {
    let wrong = in_tree(tree.root());
    let shadow = tree.read("etc/shadow", MAX_SHADOW).map_err(&wrong)?;
    if let Some(open) = open_account(&String::from_utf8_lossy(&shadow)) {
        return Err(Error::Content(format!("account {open} has a password, or needs none, in the root file system")));
    }
    for unit in ["rescue.service", "emergency.service"] {
        for dir in ["etc/systemd/system", "usr/lib/systemd/system"] {
            let below = tree.list(&format!("{dir}/{unit}.d")).map_err(&wrong)?;
            let files = below.iter().map(|name| format!("{dir}/{unit}.d/{name}")).chain([format!("{dir}/{unit}")]);
            for file in files.filter(|f| tree.target(f).is_ok_and(|p| p.is_file())) {
                let text = tree.read(&file, MAX_SHADOW).map_err(&wrong)?;
                if String::from_utf8_lossy(&text).contains(SULOGIN_FORCE) {
                    return Err(Error::Content(format!("{file} opens a shell without a password ({SULOGIN_FORCE})")));
                }
            }
        }
    }
    Ok(())
}

/// The first account whose password field (shadow(5)) does not begin with `!` or `*`. Root has to be there.
fn open_account(shadow: &str) -> Option<String> {
    let accounts: Vec<(&str, &str)> = shadow
        .lines()
        .filter_map(|l| l.split_once(':'))
        .map(|(name, rest)| (name, rest.split(':').next().unwrap_or("")))
        .collect();
    let open = accounts.iter().find(|(_, password)| !password.starts_with(['!', '*'])).map(|(name, _)| (*name).to_owned());
    open.or_else(|| (!accounts.iter().any(|(name, _)| *name == "root")).then(|| "root".to_owned()))
}

/// Release of the kernel that the root has modules for.
pub(crate) fn only_kernel(tree: &Tree) -> Result<String, Error> {
    let mut kernels = tree.list("usr/lib/modules").map_err(in_tree(tree.root()))?;
    match kernels.pop() {
        Some(kernel) if kernels.is_empty() => Ok(kernel),
        _ => Err(Error::Content("the root file system must have the modules of exactly one kernel".to_owned())),
    }
}

/// Screen and first serial port.
const TERMINALS: &str = "serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
";

/// `/boot/grub/grub.cfg`, read by the loaders for BIOS and for UEFI. Editing and the command line are locked (adr/0024): nobody
/// is a superuser, unless the state partition of the same disk names one. `root` is the disk in use by then, whichever loader
/// reads this; a label would also find the partition of another disk.
fn grub_config(kernel: &str, arch: Arch) -> String {
    // GRUB for ARM has no driver of serial ports; the kernel ignores the console that is not there.
    let (terminals, serial) = match arch {
        Arch::Amd64 => (TERMINALS, "console=ttyS0,115200n8"),
        Arch::Arm64 => ("", "console=ttyS0,115200n8 console=ttyAMA0,115200n8"),
    };
    format!(
        "# Written at image build.
set superusers=\"\"
export superusers
regexp --set=1:disk '^([^,]+),' \"$root\"
if [ -f ($disk,gpt{STATE})/{GRUB_USER} ]; then
    source ($disk,gpt{STATE})/{GRUB_USER}
fi
set timeout=1
set default=0
{terminals}menuentry 'Kubedos' --unrestricted {{
    linux /boot/vmlinuz-{kernel} root=LABEL={ROOT_LABEL} ro console=tty0 {serial} panic=30 systemd.gpt_auto=no
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
    let arch = format!("--architectures={}", r.arch);
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
    // For people: they look for it in $PATH.
    tree.symlink("usr/bin/kubedos-node", &format!("../../{}", at(assets::AGENT_PATH)))?;
    tree.dir("var/lib/kubedos", Meta { mode: 0o700, owner: Some((0, 0)), mtime: r.epoch })?;
    tree.write("etc/hostname", 0o644, r.epoch, b"kubedos\n")?;
    tree.write("etc/hosts", 0o644, r.epoch, b"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n")
}

/// Adds the archive of what its nodes run, where the agent looks before it asks the seed.
fn add_archive(tree: &Tree, r: &Recipe) -> Result<(), Error> {
    let Some((id, archive)) = r.payload else { return Ok(()) };
    let bytes = read_limited(archive, MAX_ARCHIVE)?;
    if Digest::of(&bytes) != id {
        return Err(Error::Content(format!("{archive} is damaged: it is not payload {id}")));
    }
    let path = format!("{}/{id}.tar.zst", PAYLOADS.trim_start_matches('/'));
    tree.write(&path, 0o644, r.epoch, &bytes).map_err(in_tree(tree.root()))
}

/// Enables units, with the root's own systemctl.
pub(crate) fn enable(r: &Bootstrap, units: &[&str], progress: &dyn Progress) -> Result<(), Error> {
    let mut argv = vec!["chroot", "/work/root", "/usr/bin/systemctl", "--root=/", "enable"];
    argv.extend(units);
    r.tools.run("enabling units", r.work, &argv, progress).map(|_| ())
}

/// Disables those units that exist, with the root's own systemctl. A play starts its service once it is configured: with a package's
/// defaults it would listen to everybody.
fn disable(tree: &Tree, r: &Recipe, progress: &dyn Progress) -> Result<(), Error> {
    let dirs = ["etc/systemd/system", "usr/lib/systemd/system"];
    let there = |unit: &&String| dirs.iter().any(|dir| tree.target(&format!("{dir}/{unit}")).is_ok_and(|p| p.exists()));
    let units: Vec<&str> = r.disabled.iter().filter(there).map(String::as_str).collect();
    if units.is_empty() {
        return Ok(());
    }
    let mut argv = vec!["chroot", "/work/root", "/usr/bin/systemctl", "--root=/", "disable"];
    argv.extend(units);
    r.base.tools.run("disabling units", r.base.work, &argv, progress).map(|_| ())
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
    use super::*;

    #[test]
    fn an_account_that_is_not_locked_ends_the_build() {
        for (shadow, open) in [
            ("root:*:20000:0:99999:7:::\ndaemon:*:20000::::::\n_chrony:!:20000::::::\n", None),
            ("root:!*:20000::::::\n", None),
            ("root::20000::::::\n", Some("root")),
            ("root:$y$j9T$abc:20000::::::\n", Some("root")),
            ("root:*:20000::::::\nada:$6$x$y:20000::::::\n", Some("ada")),
            ("daemon:*:20000::::::\n", Some("root")),
        ] {
            assert_eq!(open_account(shadow).as_deref(), open, "{shadow}");
        }
    }

    #[test]
    fn a_rescue_shell_without_a_password_ends_the_build() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::new(camino::Utf8Path::from_path(dir.path()).unwrap());
        let write = |name: &str, text: &str| tree.write(name, 0o600, 0, text.as_bytes()).unwrap();
        write("etc/shadow", "root:*:20000::::::\n");
        write("usr/lib/systemd/system/rescue.service", "[Service]\nExecStart=-/usr/lib/systemd/systemd-sulogin-shell rescue\n");
        assert!(root_is_locked(&tree).is_ok());
        write("etc/systemd/system/emergency.service.d/open.conf", "[Service]\nEnvironment=SYSTEMD_SULOGIN_FORCE=1\n");
        assert!(root_is_locked(&tree).unwrap_err().to_string().contains("emergency.service.d/open.conf"));
    }

    #[test]
    fn the_menu_of_a_node_is_locked_with_and_without_a_password() {
        let text = grub_config("6.12.48", Arch::Amd64);
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what} in {text}"));
        // Locked first: a state partition that cannot be read opens nothing.
        assert!(at("set superusers=\"\"") < at("source ($disk,gpt3)/grub-user.cfg"));
        assert!(at("source") < at("menuentry"));
        assert_eq!(text.matches("menuentry ").count(), text.matches(" --unrestricted ").count());
        assert!(!text.contains("password") && !text.contains("SULOGIN"));
        assert!(text.contains("panic=30"), "the initramfs gives no shell where the kernel restarts by itself");
    }

    #[test]
    fn the_menu_of_an_arm64_node_has_its_consoles_and_is_locked_too() {
        let (text, amd64) = (grub_config("6.12.48", Arch::Arm64), grub_config("6.12.48", Arch::Amd64));
        assert!(text.contains("console=ttyAMA0,115200n8 ") && !text.contains("serial --unit") && !amd64.contains("ttyAMA"));
        let lock = |text: &str| text.find("set timeout").map(|at| text[..at].to_owned());
        assert!(lock(&text).is_some_and(|l| l.contains("superusers")) && lock(&text) == lock(&amd64), "{text}");
    }

    #[test]
    fn the_texts_of_the_root_are_part_of_the_recipe() {
        // Other bytes here need another `RECIPE`: the artifact's id would not change.
        for (text, digest) in [
            (grub_config("6.12.48", Arch::Amd64), "d6a13a43e5696778d5aea8c6713b8a1a1e63271f9dbdae0d7070ecccf95f4367"),
            (FSTAB.to_owned(), "d2e57f6eba75094412f3a979eedd4ab57e9868abf203f12e4f35c0a1ec61bb3f"),
        ] {
            assert_eq!(Digest::of(text.as_bytes()).to_string(), digest, "{text}");
        }
    }
}
