//! Which peer list the kernel has: its interfaces have the peers, and its firewall the networks. The seed is told this one and not the
//! stored one, because it lets an old key go once every node has the new one.
//!
//! The note is in a tmpfs, as interfaces are in the kernel: both end with the machine's run, and neither with the agent's.

use std::collections::BTreeMap;
use std::fs::{self, File};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::identity::PlaneAddress;
use cluster_seed::ids::Digest;
use cluster_seed::peers::PeersFile;
use cluster_seed::seal::Sealed;
use host::files::{FileError, PRIVATE, Start, create_dirs, failed, open, read_limited, write_atomic};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::layout::RUN_DIR;

const FILE: &str = "applied.json";
const LOCK: &str = "planes.lock";
/// Largest file read, in bytes: 99 planes.
const MAX_FILE: u64 = 16 << 10;

#[derive(Debug, thiserror::Error)]
pub enum AppliedError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("writing which peer list the kernel has")]
    Json(#[from] serde_json::Error),
}

/// One signed list of a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListId {
    pub epoch: u64,
    pub version: u64,
    /// [`Sealed::digest`].
    pub digest: Digest,
}

impl ListId {
    /// Older than every list: nothing is in the kernel yet.
    pub const NONE: ListId = ListId { epoch: 0, version: 0, digest: Digest([0; 32]) };

    pub fn of(list: &PeersFile, sealed: &Sealed<PeersFile>) -> Self {
        ListId { epoch: list.epoch, version: list.version, digest: sealed.digest() }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Applied {
    list: ListId,
    /// Index of each plane's interface: one that was made again has another, and no peers.
    interfaces: BTreeMap<String, u32>,
}

type Planes = BTreeMap<String, PlaneAddress>;

fn folder(root: &Utf8Path) -> Utf8PathBuf {
    root.join(RUN_DIR.trim_start_matches('/'))
}

fn path(root: &Utf8Path) -> Utf8PathBuf {
    folder(root).join(FILE)
}

/// Waits until no other process sets the planes, and keeps others from it as long as the returned value lives. The unit at boot and that of
/// the timer may have different lists: one would note its own after the other has set its own.
///
/// # Errors
/// If the file below [`RUN_DIR`] cannot be opened or locked.
pub fn alone(root: &Utf8Path) -> Result<Flock<File>, AppliedError> {
    let folder = folder(root);
    create_dirs(&folder)?;
    let path = folder.join(LOCK);
    let file = open(&path, Start::Keep, PRIVATE).map_err(failed("opening", &path))?;
    let locked = Flock::lock(file, FlockArg::LockExclusive);
    Ok(locked.map_err(|(_, errno)| failed("locking", &path)(errno.into()))?)
}

/// `None` if an interface is missing.
fn interfaces(root: &Utf8Path, planes: &Planes) -> Option<BTreeMap<String, u32>> {
    let net = root.join("sys/class/net");
    let index = |plane: &String| fs::read_to_string(net.join(plane).join("ifindex")).ok()?.trim().parse::<u32>().ok();
    planes.keys().map(|plane| Some((plane.clone(), index(plane)?))).collect()
}

/// The list that the kernel has; [`ListId::NONE`] if that is not known, or an interface was removed or made again.
pub fn read(root: &Utf8Path, planes: &Planes) -> ListId {
    let Ok(bytes) = read_limited(&path(root), MAX_FILE) else { return ListId::NONE };
    let Ok(applied) = serde_json::from_slice::<Applied>(&bytes) else { return ListId::NONE };
    if interfaces(root, planes).is_some_and(|now| now == applied.interfaces) { applied.list } else { ListId::NONE }
}

/// Notes that the kernel has this list. False, and nothing is noted, if an interface has gone meanwhile.
///
/// # Errors
/// If the note cannot be written below [`RUN_DIR`].
pub fn keep(root: &Utf8Path, planes: &Planes, list: ListId) -> Result<bool, AppliedError> {
    let Some(interfaces) = interfaces(root, planes) else { return Ok(false) };
    create_dirs(&folder(root))?;
    write_atomic(&path(root), &serde_json::to_vec(&Applied { list, interfaces })?, PRIVATE)?;
    Ok(true)
}

/// Takes the note back: the kernel has no list as a whole.
pub fn forget(root: &Utf8Path) {
    match fs::remove_file(path(root)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(error = %e, "removing the note of the list in the kernel")
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: ListId = ListId { epoch: 1, version: 7, digest: Digest([7; 32]) };

    fn planes() -> Planes {
        let place = PlaneAddress { cidr: "10.78.0.0/16".parse().unwrap(), address: [10, 78, 0, 2].into(), port: 51821 };
        ["wg1", "wg2"].map(|plane| (plane.to_owned(), place.clone())).into()
    }

    fn interface(root: &Utf8Path, name: &str, index: &str) {
        let folder = root.join("sys/class/net").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("ifindex"), format!("{index}\n")).unwrap();
    }

    #[test]
    fn a_list_is_in_the_kernel_as_long_as_its_interfaces_are() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        assert_eq!(read(root, &planes()), ListId::NONE);
        interface(root, "wg1", "5");
        assert!(!keep(root, &planes(), LIST).unwrap(), "wg2 is missing");
        assert_eq!(read(root, &planes()), ListId::NONE);
        interface(root, "wg2", "6");
        assert!(keep(root, &planes(), LIST).unwrap());
        // Nothing is kept in memory: this is what an agent that was started again reads.
        assert_eq!(read(root, &planes()), LIST);
        interface(root, "wg2", "9");
        assert_eq!(read(root, &planes()), ListId::NONE, "made again");
        interface(root, "wg2", "6");
        fs::remove_dir_all(root.join("sys/class/net/wg1")).unwrap();
        assert_eq!(read(root, &planes()), ListId::NONE, "removed");
        interface(root, "wg1", "5");
        assert_eq!(read(root, &planes()), LIST);
        forget(root);
        forget(root);
        assert_eq!(read(root, &planes()), ListId::NONE, "taken back");
    }

    #[test]
    fn one_process_at_a_time_sets_the_planes() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let held = alone(root).unwrap();
        let other = || {
            let file = open(&folder(root).join(LOCK), Start::Keep, PRIVATE).unwrap();
            Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok()
        };
        assert!(!other());
        drop(held);
        assert!(other());
    }

    #[test]
    fn a_damaged_note_is_no_list() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        ["wg1", "wg2"].iter().for_each(|name| interface(root, name, "5"));
        assert!(keep(root, &planes(), LIST).unwrap());
        let whole = fs::read(path(root)).unwrap();
        fs::write(path(root), &whole[..whole.len() / 2]).unwrap();
        assert_eq!(read(root, &planes()), ListId::NONE);
    }
}
