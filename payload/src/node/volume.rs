//! The NoCloud volume: a small vfat or ISO 9660 volume that a hypervisor attaches, found by its label and mounted read-only.

use std::fs;

use camino::Utf8Path;
use cluster_seed::join::nocloud::{LABELS, MAX_BYTES};
use host::files::read_limited;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Links of udev, by label.
const BY_LABEL: &str = "/dev/disk/by-label";
/// Both file systems that NoCloud allows.
const KINDS: [&str; 2] = ["vfat", "iso9660"];

/// Reads a file of the volume, which is mounted at `mountpoint` for the moment. `None` if there is no volume or no such file; a
/// file that is too long or unreadable counts as none, and the log says so.
pub fn read(mountpoint: &Utf8Path, name: &str) -> Option<Vec<u8>> {
    let device = LABELS.iter().map(|label| format!("{BY_LABEL}/{label}")).find(|path| Utf8Path::new(path).exists())?;
    fs::create_dir_all(mountpoint).ok()?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let mounted = |kind: &str| {
        let done = mount(Some(device.as_str()), mountpoint.as_std_path(), Some(kind), flags, None::<&str>);
        done.inspect_err(|error| tracing::debug!(%error, device, kind, "not mounted")).is_ok()
    };
    KINDS.iter().find(|kind| mounted(kind))?;
    let bytes = read_limited(&mountpoint.join(name), MAX_BYTES as u64);
    // Detached at once, so that the volume can be removed.
    if let Err(error) = umount2(mountpoint.as_std_path(), MntFlags::MNT_DETACH) {
        tracing::warn!(%error, %mountpoint, "not unmounted");
    }
    match bytes {
        Ok(bytes) => Some(bytes),
        Err(e) if e.is_not_found() => None,
        Err(error) => {
            tracing::warn!(%error, name, "a file of the NoCloud volume is ignored");
            None
        }
    }
}
