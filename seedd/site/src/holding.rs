//! Who works with blobs, and who may remove them: jobs hold a lock together, `gc` holds it alone.
//!
//! The locks end with their handles, also when the process is killed.

use std::fs::File;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8Path;

use crate::Site;
use crate::hint::Hint as _;

/// Held by every job that fetches, writes or reads blobs.
const BLOBS: &str = "blobs/lock";
/// Locked by whoever imports a capsule or an archive.
pub const IMPORTING: &str = "tmp/importing.lock";

/// How often a lock that is taken is tried again, and how long after.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(10);

/// As long as it lives, no blob is removed.
#[derive(Debug)]
pub struct Using(#[allow(dead_code, reason = "its drop ends the lock")] File);

/// As long as it lives, no job works with blobs.
#[derive(Debug)]
pub struct Alone(#[allow(dead_code, reason = "its drop ends the locks")] Vec<File>);

fn open(path: &Utf8Path) -> Result<File> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).with_context(|| format!("making {folder}"))?;
    File::options().read(true).write(true).create(true).truncate(false).open(path).with_context(|| format!("opening {path}"))
}

/// Takes the lock, or fails within a tenth of a second. Not at once: a program that this process is starting holds a copy of
/// every open file until its exec, and so a lock that was just released.
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
    /// For jobs: waits for a running `gc`, then keeps the next one away.
    pub fn use_blobs(&self) -> Result<Using> {
        let path = self.join(BLOBS);
        let file = open(&path)?;
        file.lock_shared().with_context(|| format!("locking {path}"))?;
        Ok(Using(file))
    }

    /// For `gc` and `remove`.
    ///
    /// # Errors
    /// When any job runs: it may be about to use what nothing names yet.
    pub fn alone_with_blobs(&self) -> Result<Alone> {
        let mut held = Vec::new();
        for file in [open(&self.join(BLOBS))?, open(&self.join(IMPORTING))?, folder(&self.join("tmp"))?] {
            lock_now(&file).map_err(|_| anyhow!("a build, an import or an export runs here")).hint("wait for its end")?;
            held.push(file);
        }
        Ok(Alone(held))
    }

    /// The one import of a site.
    pub fn importing(&self) -> Result<File> {
        let file = open(&self.join(IMPORTING))?;
        lock_now(&file).map_err(|_| anyhow!("another import into {} runs", self.data)).hint("wait for its end")?;
        Ok(file)
    }
}

/// A build of a snapshot locks the folder itself.
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
