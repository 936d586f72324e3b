//! The pinned tool root: the snapshot's own packages unpacked, with programs run inside it.
//!
//! Programs run in private mount, PID, network and IPC namespaces: nothing is mounted on the host, nothing can be fetched,
//! and everything ends with the program, even when this process is killed.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use host::files::{create_dirs, failed};
use host::tool::{Output, Tool, ToolError};

use crate::error::{Error, in_tree};
use crate::packages::index::{Index, Package};
use crate::packages::unpack::{self, Owners, data_tar};
use crate::spec::{FILE_PACKAGES, TOOL_PACKAGES};
use crate::tree::{Meta, Tree};
use crate::{Dirs, Inputs, store};

/// Raised when [`ToolRoot::populate`] changes.
const TOOLROOT_VERSION: u32 = 2;
/// Time limit of one program (mmdebstrap on a slow machine).
const TOOL_TIME: Duration = Duration::from_secs(3 * 3600);

/// $1 tool root, $2 work directory (as /work), $3 snapshot (as /snapshot, read-only); the rest is the program. Links in the
/// pool of a large snapshot point to `../../../shelves`, which is /shelves here.
const ENTER: &str = r#"
root=$1 work=$2 snapshot=$3
shift 3
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=0755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --bind "$work" "$root/work"
mount --bind "$snapshot" "$root/snapshot"
mount -o remount,bind,ro "$root/snapshot"
if test -d "$snapshot/../shelves"; then
    mount --bind "$snapshot/../shelves" "$root/shelves"
    mount -o remount,bind,ro "$root/shelves"
fi
exec chroot "$root" "$@"
"#;

/// An unpacked tool root.
pub(crate) struct ToolRoot {
    root: Utf8PathBuf,
    snapshot: Utf8PathBuf,
    epoch: u64,
}

/// Unpacks the files of one package that `wanted` accepts. Returns their size in bytes.
pub(crate) fn unpack(index: &Index, package: &Package, tree: &Tree, wanted: &dyn Fn(&str) -> bool) -> Result<u64, Error> {
    let (path, file) = index.open_deb(package)?;
    let owners = if nix::unistd::geteuid().is_root() { Owners::Package } else { Owners::Caller };
    data_tar(file).and_then(|tar| unpack::unpack(tar, tree, owners, wanted)).map_err(|source| Error::Unpack { path, source })
}

impl ToolRoot {
    /// The cached tool root of this snapshot, unpacked first where needed.
    pub fn open(inputs: &Inputs, index: &Index, progress: &dyn Progress) -> Result<Self, Error> {
        Self::of(inputs.snapshot_id, inputs.snapshot_dir, inputs.dirs, index, progress)
    }

    /// As [`ToolRoot::open`], from the snapshot alone.
    pub fn of(id: Digest, dir: &Utf8Path, dirs: &Dirs, index: &Index, progress: &dyn Progress) -> Result<Self, Error> {
        let roots: Vec<&str> = TOOL_PACKAGES.iter().copied().filter(|p| !FILE_PACKAGES.contains(p)).collect();
        let packages = index.closure(&roots)?;
        let named: Vec<String> = packages.iter().map(|p| format!("{} {}", p.name, p.sha256)).collect();
        let digest = Digest::of(format!("{TOOLROOT_VERSION}\n{}", named.join("\n")).as_bytes());
        let root = dirs.cache.join(format!("toolroot-{}-{}", id.short(), digest.short()));
        let snapshot = dir.canonicalize_utf8().map_err(failed("resolving", dir))?;
        let tools = |root| ToolRoot { root, snapshot: snapshot.clone(), epoch: index.epoch };
        if root.exists() {
            return Ok(tools(root));
        }
        progress.begin("unpacking the tools", Some(packages.len() as u64));
        let (guard, work) = store::workdir(&dirs.tmp, "toolroot-")?;
        let fresh = tools(work.join("root"));
        fresh.populate(index, &packages, progress)?;
        fresh.run("preparing the tool root", &work, &["/usr/sbin/ldconfig"], progress)?;
        store::publish(&fresh.root, &root)?;
        drop(guard);
        progress.end();
        Ok(tools(root))
    }

    fn populate(&self, index: &Index, packages: &[&Package], progress: &dyn Progress) -> Result<(), Error> {
        let tree = Tree::new(&self.root);
        let wrong = in_tree(&self.root);
        let folder = |mode| Meta { mode, owner: None, mtime: self.epoch };
        create_dirs(&self.root)?;
        // usr-merge: the links must exist before the first package that still ships /bin or /lib.
        for name in ["bin", "lib", "lib64", "sbin"] {
            tree.dir(&format!("usr/{name}"), folder(0o755)).map_err(&wrong)?;
            tree.symlink(name, &format!("usr/{name}")).map_err(&wrong)?;
        }
        for package in packages {
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            unpack(index, package, &tree, &|name| !unneeded(name))?;
            progress.advance(1);
        }
        // What the packages' scripts would have created.
        for name in ["dev", "proc", "run", "shelves", "snapshot", "sys", "work", "var/lib/dpkg/info", "var/lib/dpkg/updates"] {
            tree.dir(name, folder(0o755)).map_err(&wrong)?;
        }
        tree.dir("tmp", folder(0o1777)).map_err(&wrong)?;
        tree.write("var/lib/dpkg/status", 0o644, self.epoch, b"").map_err(&wrong)?;
        tree.symlink("usr/bin/awk", "mawk").map_err(&wrong)?;
        for (name, master) in [("etc/passwd", "passwd.master"), ("etc/group", "group.master")] {
            let text = tree.read(&format!("usr/share/base-passwd/{master}"), 1 << 20).map_err(&wrong)?;
            tree.write(name, 0o644, self.epoch, &text).map_err(&wrong)?;
        }
        Ok(())
    }

    /// Runs a program with `work` as /work and the snapshot as /snapshot; `step` names it in errors.
    pub fn run(&self, step: &'static str, work: &Utf8Path, argv: &[&str], progress: &dyn Progress) -> Result<Output, Error> {
        let work = work.canonicalize_utf8().map_err(failed("resolving", work))?;
        let cancelled = || progress.cancelled();
        let tool = Tool::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "--pid", "--fork"])
            .args(["--kill-child", "--net", "--ipc", "--uts", "/bin/sh", "-eu", "-c", ENTER, "kubedos-image"])
            .args([&self.root, &work, &self.snapshot])
            .args(argv)
            .clean_env()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .env("HOME", "/root")
            .env("TMPDIR", "/tmp")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("SOURCE_DATE_EPOCH", self.epoch.to_string())
            .timeout(TOOL_TIME)
            .cancel(&cancelled)
            .on_stderr_line(|line| {
                tracing::debug!(step, line, "tool");
                // mmdebstrap marks its progress messages so.
                if let Some(message) = line.strip_prefix("I: ") {
                    progress.say(message);
                }
            });
        match tool.run() {
            Ok(output) => Ok(output),
            Err(ToolError::Cancelled { .. }) => Err(Error::Cancelled),
            Err(source) => Err(Error::Tool { step, source }),
        }
    }

    /// Reads a file of the tool root.
    pub fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, Error> {
        Tree::new(&self.root).read(name, limit).map_err(in_tree(&self.root))
    }
}

fn unneeded(name: &str) -> bool {
    ["usr/share/doc/", "usr/share/man/", "usr/share/locale/", "usr/share/info/"].iter().any(|p| name.starts_with(p))
}
