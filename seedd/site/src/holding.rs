//! Locks on blobs: jobs that work with blobs share a lock; `gc`, which deletes them, holds it exclusively.
//!
//! The locks are released with their file handles, even if the process is killed.

use std::fs::File;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8Path;
use host::files::{PRIVATE, Start, open as open_file};

use crate::Site;
use crate::hint::Hint as _;

/// Lock file of jobs that download, write or read blobs.
const BLOBS: &str = "blobs/lock";
/// Lock file of imports of a capsule or an archive.
pub const IMPORTING: &str = "tmp/importing.lock";

/// How often, and at which interval, a lock that is held is tried again.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(10);

/// While it exists, no blob is deleted.
#[derive(Debug)]
pub struct Using(#[allow(dead_code, reason = "dropping it releases the lock")] File);

/// While it exists, no job works with blobs.
#[derive(Debug)]
pub struct Alone(#[allow(dead_code, reason = "dropping it releases the locks")] Vec<File>);

fn open(path: &Utf8Path) -> Result<File> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).with_context(|| format!("creating {folder}"))?;
    open_file(path, Start::Keep, PRIVATE).with_context(|| format!("opening {path}"))
}

/// Takes the lock, or fails within a tenth of a second. Not immediately: a child process holds a copy of every open file
/// between fork and exec, and therefore also a lock that was just released.
fn lock_now(file: &File) -> Result<(), std::fs::TryLockError> {
    for _ in 0..TRIES {
        if file.try_lock().is_ok() {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    file.try_lock()
}

impl Site {
    /// For jobs: waits for a running `gc`, then blocks the next one.
    pub fn use_blobs(&self) -> Result<Using> {
        let path = self.join(BLOBS);
        let file = open(&path)?;
        file.lock_shared().with_context(|| format!("locking {path}"))?;
        Ok(Using(file))
    }

    /// For `gc` and `remove`.
    ///
    /// # Errors
    /// When any job runs: it may need blobs that nothing refers to yet.
    pub fn alone_with_blobs(&self) -> Result<Alone> {
        let mut held = Vec::new();
        for file in [open(&self.join(BLOBS))?, open(&self.join(IMPORTING))?, folder(&self.join("tmp"))?] {
            lock_now(&file)
                .map_err(|_| anyhow!("a build, import or export is running on this site"))
                .hint("wait until it has finished")?;
            held.push(file);
        }
        Ok(Alone(held))
    }

    /// For imports: only one can run at a time.
    pub fn importing(&self) -> Result<File> {
        let file = open(&self.join(IMPORTING))?;
        lock_now(&file)
            .map_err(|_| anyhow!("another import into {} is running", self.data))
            .hint("wait until it has finished")?;
        Ok(file)
    }
}

/// Opens the folder as a file: a build of a snapshot locks the folder itself.
fn folder(path: &Utf8Path) -> Result<File> {
    File::open(path).with_context(|| format!("opening {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_share_and_gc_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(Utf8Path::from_path(dir.path()).unwrap());
        let (one, two) = (site.use_blobs().unwrap(), site.use_blobs().unwrap());
        assert!(site.alone_with_blobs().is_err());
        drop(one);
        assert!(site.alone_with_blobs().is_err());
        drop(two);
        let alone = site.alone_with_blobs().unwrap();
        assert!(site.importing().is_err() && site.alone_with_blobs().is_err());
        drop(alone);
        let import = site.importing().unwrap();
        assert!(site.importing().is_err() && site.alone_with_blobs().is_err());
        drop(import);
        assert!(site.alone_with_blobs().is_ok());
    }
}
