//! The root file system of a role: the snapshot's packages by mmdebstrap, our files, nothing that differs between builds.

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::manifest::ROOT_LABEL;
use cluster_seed::progress::Progress;
use payload::assets;

use crate::error::{Error, io};
use crate::spec::ARCH;
use crate::store;
use crate::toolroot::ToolRoot;
use crate::tree::{Meta, Tree, TreeError};

pub(crate) const STATE_LABEL: &str = "kubedos-state";

/// Slow machines need longer than systemd's 90 s to see their disks; without the state partition nothing goes on.
pub(crate) const FSTAB: &str = "LABEL=kubedos-root / ext4 errors=remount-ro 0 1
LABEL=kubedos-state /var/lib/kubedos ext4 nofail,nodev,nosuid,noexec,x-systemd.device-timeout=10min 0 2
";

/// Names below the root that differ from build to build, or are made at first boot; folders with all in them.
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
/// Folders that are emptied and kept.
const EMPTIED: &[&str] = &["run", "tmp", "var/cache/apt/archives", "var/lib/apt/lists", "var/tmp"];

/// A root file system laid out in `work/root`.
pub(crate) struct RootFs {
    /// Kernel release in it.
    pub kernel: String,
    /// Bytes of its files, each rounded up to 4 KiB.
    pub content: u64,
}

pub(crate) struct Recipe<'a> {
    pub base: Bootstrap<'a>,
    pub agent: &'a [u8],
    pub epoch: u64,
}

/// What mmdebstrap is told.
pub(crate) struct Bootstrap<'a> {
    pub tools: &'a ToolRoot,
    pub work: &'a Utf8Path,
    pub suite: &'a str,
    pub components: &'a [String],
    pub keyring: &'a Utf8Path,
    pub packages: &'a [String],
    /// /etc/fstab, there before the first package, so that an initramfs knows which file system check to bring.
    pub fstab: &'a str,
    /// Paths that dpkg leaves out (dpkg(1), `--path-exclude` and `--path-include`), as its options.
    pub paths: &'a [&'a str],
}

pub(crate) fn build(r: &Recipe, progress: &dyn Progress) -> Result<RootFs, Error> {
    bootstrap(&r.base, progress)?;
    let tree = Tree::new(&r.base.work.join("root"));
    let wrong = |source: TreeError| Error::Tree { root: tree.root().to_owned(), source };
    lay_payload(&tree, r).map_err(wrong)?;
    enable(&r.base, assets::enabled_units(), progress)?;
    clean(&tree, r.epoch).map_err(wrong)?;
    let kernels = tree.list("usr/lib/modules").map_err(wrong)?;
    let [kernel] = &kernels[..] else {
        return Err(Error::Content(format!("the root has {} kernels, not one", kernels.len())));
    };
    for name in [format!("boot/vmlinuz-{kernel}"), format!("boot/initrd.img-{kernel}")] {
        if !tree.target(&name).map_err(wrong)?.is_file() {
            return Err(Error::Content(format!("the root has no {name}")));
        }
    }
    tree.write("boot/grub/grub.cfg", 0o644, r.epoch, crate::grub::root_config(kernel, ROOT_LABEL).as_bytes()).map_err(wrong)?;
    let content = tree.clamp_times(r.epoch).map_err(wrong)?;
    Ok(RootFs { kernel: kernel.clone(), content })
}

/// Installs the packages into `work/root`.
pub(crate) fn bootstrap(r: &Bootstrap, progress: &dyn Progress) -> Result<(), Error> {
    let keyring = std::fs::read(r.keyring).map_err(io("read", r.keyring))?;
    // apt tells armoured keys from binary ones by the file's ending.
    let name = if keyring.starts_with(b"-----BEGIN") { "keyring.asc" } else { "keyring.gpg" };
    store::write_synced(&r.work.join(name), &keyring)?;
    store::write_synced(&r.work.join("fstab"), r.fstab.as_bytes())?;
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
        // A snapshot on a stick may be years old, and the clock may stand at 1970.
        "--aptopt=Acquire::Check-Date \"false\"",
        "--aptopt=Acquire::Check-Valid-Until \"false\"",
        "--essential-hook=cp /work/fstab \"$1/etc/fstab\"",
    ];
    argv.extend(paths.iter().map(String::as_str));
    argv.extend([r.suite, "/work/root", &source]);
    r.tools.run("installing the packages", r.work, &argv, progress).map(|_| ())
}

fn lay_payload(tree: &Tree, r: &Recipe) -> Result<(), TreeError> {
    let at = |path: &str| path.trim_start_matches('/').to_owned();
    for file in assets::files() {
        tree.write(&at(file.path), file.mode, r.epoch, file.bytes)?;
    }
    tree.write(&at(assets::AGENT_PATH), 0o755, r.epoch, r.agent)?;
    tree.dir("var/lib/kubedos", Meta { mode: 0o700, owner: Some((0, 0)), mtime: r.epoch })?;
    tree.write("etc/hostname", 0o644, r.epoch, b"kubedos\n")?;
    tree.write("etc/hosts", 0o644, r.epoch, b"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n")
}

/// Makes the links of `[Install]` sections, with the root's own systemctl.
pub(crate) fn enable(r: &Bootstrap, units: &[&str], progress: &dyn Progress) -> Result<(), Error> {
    let mut argv = vec!["chroot", "/work/root", "/usr/bin/systemctl", "--root=/", "enable"];
    argv.extend(units);
    r.tools.run("enabling units", r.work, &argv, progress).map(|_| ())
}

/// Takes out what differs from build to build.
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
    // Empty, not absent: systemd fills it in at boot without taking this for a first boot (machine-id(5)).
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
