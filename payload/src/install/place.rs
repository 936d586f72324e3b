//! Writes the identity to the disk: mounts the state partition's ext4 through a loop device, because a disk whose first MiB
//! is not written yet has no partition table for the kernel to read.

use std::fs;
use std::time::Duration;

use camino::Utf8Path;
use nix::mount::{MsFlags, mount, umount};

use crate::http::chain;
use crate::state::{StateFile, write_state_files};
use host::tool::Tool;

/// Always free: nothing else in the RAM system uses loop devices.
const LOOP: &str = "/dev/loop0";
const LIMIT: Duration = Duration::from_secs(60);

/// Writes the files into the ext4 file system at `offset` bytes of `disk`, temporarily mounted at `mountpoint`.
pub fn place(disk: &Utf8Path, offset: u64, files: &[StateFile], mountpoint: &Utf8Path) -> Result<(), String> {
    let losetup = |args: &[&str]| Tool::new("busybox").arg("losetup").args(args).timeout(LIMIT).run();
    // Left by an attempt that was killed; usually none.
    if umount(mountpoint.as_std_path()).is_ok() {
        tracing::debug!("unmounted an earlier attempt");
    }
    if losetup(&["-d", LOOP]).is_ok() {
        tracing::debug!("detached an earlier attempt");
    }
    fs::create_dir_all(mountpoint).map_err(|e| format!("creating {mountpoint}: {e}"))?;
    losetup(&["-o", &offset.to_string(), LOOP, disk.as_str()]).map_err(|e| chain(&e))?;
    let written = mount_and_write(files, mountpoint);
    let detached = losetup(&["-d", LOOP]).map_err(|e| chain(&e));
    written.and(detached.map(|_| ()))
}

fn mount_and_write(files: &[StateFile], mountpoint: &Utf8Path) -> Result<(), String> {
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount(Some(LOOP), mountpoint.as_std_path(), Some("ext4"), flags, None::<&str>)
        .map_err(|e| format!("mounting the state partition: {e}"))?;
    let written = write_state_files(mountpoint, files).map_err(|e| chain(&e));
    let unmounted = umount(mountpoint.as_std_path()).map_err(|e| format!("unmounting the state partition: {e}"));
    written.and(unmounted)
}
