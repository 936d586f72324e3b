//! PID 1's step from the initramfs into the seed's root, as switch_root(8) does it: the kernel's file systems move
//! along, the initramfs frees its memory, and this program becomes systemd.

use std::convert::Infallible;
use std::ffi::CStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use anyhow::Context as _;
use camino::Utf8Path;
use host::files::write_kernel;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};

use crate::layout::{MODPROBE, RUN_DIR, SYSROOT};

/// [`crate::layout::INIT`], for `execv`.
const INIT_ARGS: &[&CStr] = &[c"/usr/lib/systemd/systemd"];
/// include/uapi/linux/magic.h; the initramfs is one of the two.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);
/// The kernel's default modprobe path.
const KERNELS_MODPROBE: &str = "/sbin/modprobe";
/// Share of the memory, the same as systemd's default; it holds the journal.
const RUN_OPTIONS: &str = "mode=0755,size=20%,nr_inodes=800k";

/// Does not return on success. If it fails after the old root was removed, the kernel panics, which is intended.
pub fn run() -> anyhow::Result<Infallible> {
    write_kernel("/proc/sys/kernel/modprobe".into(), KERNELS_MODPROBE).context("restoring the kernel's modprobe")?;
    fs::remove_file(Utf8Path::new(RUN_DIR).join(MODPROBE)).context("removing our modprobe")?;
    // In the RAM system it contains a machine's secrets; here, only the medium and a socket.
    fs::set_permissions(RUN_DIR, fs::Permissions::from_mode(0o755)).context("changing the mode of /run/kubedos")?;
    let remount = MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), remount, Some(RUN_OPTIONS)).context("resizing /run")?;
    umount2("/tmp", MntFlags::MNT_DETACH).context("unmounting /tmp")?;
    for name in ["dev", "proc", "sys", "run"] {
        let (from, to) = (format!("/{name}"), format!("{SYSROOT}/{name}"));
        mount(Some(from.as_str()), to.as_str(), None::<&str>, MsFlags::MS_MOVE, None::<&str>)
            .with_context(|| format!("moving /{name}"))?;
    }
    std::env::set_current_dir(SYSROOT).context("entering the system")?;
    free_initramfs();
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>).context("moving the system to /")?;
    nix::unistd::chroot(".").context("entering the system")?;
    std::env::set_current_dir("/").context("entering the system")?;
    nix::unistd::execv(INIT_ARGS[0], INIT_ARGS).context("starting systemd")
}

/// Removes the unpacked initramfs. Files that cannot be removed only use memory.
fn free_initramfs() {
    let in_memory = statfs("/").is_ok_and(|s| [RAMFS_MAGIC, TMPFS_MAGIC].contains(&s.filesystem_type()));
    if let (true, Ok(root)) = (in_memory, fs::metadata("/")) {
        remove_below(Utf8Path::new("/"), root.dev());
    }
}

/// Removes everything below a directory on one device; never files of another file system mounted there.
fn remove_below(dir: &Utf8Path, device: u64) {
    let Ok(entries) = dir.read_dir_utf8() else { return };
    for entry in entries.flatten() {
        let Ok(meta) = fs::symlink_metadata(entry.path()) else { continue };
        if meta.dev() != device {
            continue;
        }
        let removed = if meta.is_dir() {
            remove_below(entry.path(), device);
            fs::remove_dir(entry.path())
        } else {
            fs::remove_file(entry.path())
        };
        if let Err(e) = removed {
            tracing::debug!(path = %entry.path(), error = %e, "not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_given_device_is_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("a/link")).unwrap();
        let device = fs::metadata(root).unwrap().dev();
        remove_below(root, device + 1);
        assert!(root.join("a/b/file").exists());
        remove_below(root, device);
        assert_eq!(root.read_dir_utf8().unwrap().count(), 0);
        assert!(Utf8Path::new("/etc/passwd").exists());
    }
}
