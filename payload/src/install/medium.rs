//! A node medium in this machine: its chunks need not be fetched. Nothing on it is trusted, since every chunk is checked against
//! the signed manifest before it is written.

use camino::{Utf8Path, Utf8PathBuf};
use nix::mount::{MsFlags, mount};

use crate::console::Console;
use crate::seed::medium::{devices, volume};

/// Modules that no device's alias refers to.
pub const MODULES: &[&str] = &["isofs", "sr_mod", "usb_storage", "uas"];

/// Mounts the first node medium below `run`; `None` if this machine has none.
pub fn mounted(root: &Utf8Path, run: &Utf8Path, console: &Console) -> Option<Utf8PathBuf> {
    let at = run.join("medium");
    let dev = root.join("dev");
    let device = devices(root).into_iter().find(|name| volume(&dev.join(name)).is_some_and(|v| v.is_node()))?;
    if std::fs::create_dir_all(&at).is_err() {
        return None;
    }
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    match mount(Some(dev.join(&device).as_std_path()), at.as_std_path(), Some("iso9660"), flags, None::<&str>) {
        Ok(()) => console.step(&format!("installing from the node medium in {device}")),
        // An earlier attempt mounted it.
        Err(nix::errno::Errno::EBUSY) => {}
        Err(e) => {
            console.error(&format!("the node medium in {device} cannot be read: {e}; fetching from the seed"));
            return None;
        }
    }
    Some(at)
}
