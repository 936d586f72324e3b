//! Capsules that are stored on the seed: exported for download, or uploaded for import.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use host::files::{PRIVATE, Start, free_space, open, read_limited, write_atomic};
use site::Site;
use site::hint::Hint as _;

/// Folder of the data directory.
pub const SHELF: &str = "shelf";
/// Suffix of an incomplete upload, and of the file with its final size.
const COMING: &str = ".coming";
const SIZE: &str = ".size";
/// Bytes of an upload between two syncs.
const SYNC_EVERY: u64 = 32 << 20;
/// Maximum number of files in the folder.
const MAX_FILES: usize = 2000;
/// Bytes that an upload must leave free, for the database.
const RESERVE: u64 = 64 << 20;

/// A capsule, or a part of one, on this seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapsuleFile {
    pub name: String,
    pub size: u64,
    /// Final size of an incomplete upload.
    pub expected: Option<u64>,
    /// Time of its last change, in Unix seconds.
    pub modified: u64,
}

/// Why a piece was refused.
#[derive(Debug, thiserror::Error)]
pub enum PieceError {
    #[error("the file has {held} bytes, but the piece begins at {at}")]
    NotNext { held: u64, at: u64 },
    #[error("there is another file with that name")]
    Exists,
    #[error("the seed has {free} bytes free, but the file needs {needed}")]
    Full { needed: u64, free: u64 },
    #[error("the piece extends beyond the end of the file")]
    TooLong,
    #[error("the folder already has {MAX_FILES} capsule files")]
    TooMany,
    #[error(transparent)]
    Io(#[from] anyhow::Error),
}

pub struct Shelf<'a>(pub &'a Site);

impl Shelf<'_> {
    fn dir(&self) -> Utf8PathBuf {
        self.0.join(SHELF)
    }

    /// Path of a complete file. The name must be a plain file name.
    pub fn path(&self, name: &str) -> Utf8PathBuf {
        self.dir().join(name)
    }

    fn beside(&self, name: &str, suffix: &str) -> Utf8PathBuf {
        self.dir().join(format!(".{name}{suffix}"))
    }

    /// Creates the folder. It will contain whole sites, encrypted.
    pub fn make(&self) -> Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = self.dir();
        fs::create_dir_all(&dir).with_context(|| format!("creating {dir}"))?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).with_context(|| format!("protecting {dir}"))
    }

    /// Newest first; incomplete uploads are included.
    pub fn list(&self) -> Result<Vec<CapsuleFile>> {
        let dir = self.dir();
        if !dir.is_dir() {
            return Ok(Vec::new());
        }
        let mut files = Vec::new();
        for entry in dir.read_dir_utf8().with_context(|| format!("listing {dir}"))?.take(2 * MAX_FILES) {
            let entry = entry?;
            let name = entry.file_name();
            let (name, expected) = match name.strip_prefix('.') {
                None => (name, None),
                Some(hidden) => match hidden.strip_suffix(COMING) {
                    Some(name) => (name, Some(self.expected(name).unwrap_or(0))),
                    None => continue,
                },
            };
            // Written under a temporary name by a running export.
            if name.ends_with(".part") {
                continue;
            }
            let Ok(meta) = entry.metadata() else { continue };
            let modified = meta.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok()).map_or(0, |d| d.as_secs());
            files.push(CapsuleFile { name: name.to_owned(), size: meta.len(), expected, modified });
        }
        files.sort_by(|a, b| b.modified.cmp(&a.modified).then_with(|| a.name.cmp(&b.name)));
        Ok(files)
    }

    fn expected(&self, name: &str) -> Option<u64> {
        let text = read_limited(&self.beside(name, SIZE), 32).ok()?;
        std::str::from_utf8(&text).ok()?.trim().parse().ok()
    }

    /// Appends `piece` at `at` to a file that will have `total` bytes; returns the bytes received so far. With the last piece the
    /// file is synced and renamed.
    pub fn put(&self, name: &str, at: u64, total: u64, piece: &[u8]) -> Result<u64, PieceError> {
        self.make()?;
        let (whole, coming) = (self.path(name), self.beside(name, COMING));
        if whole.exists() {
            return Err(PieceError::Exists);
        }
        let held = fs::metadata(&coming).map_or(0, |m| m.len());
        let other = coming.exists() && self.expected(name) != Some(total);
        if at == 0 && (other || !coming.exists()) {
            self.begin(name, total)?;
        } else if at != held || other {
            return Err(PieceError::NotNext { held, at });
        }
        let size = at + piece.len() as u64;
        if size > total {
            return Err(PieceError::TooLong);
        }
        let mut file = open(&coming, Start::Keep, PRIVATE).with_context(|| format!("opening {coming}"))?;
        let written = file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(piece));
        if let Err(error) = written {
            // A piece that was not written completely is removed: the next attempt starts at the same position.
            let _ = file.set_len(at);
            return Err(PieceError::Io(anyhow::Error::new(error).context(format!("writing {coming}"))));
        }
        // Limits what a power cut can lose; the end is synced before the file is renamed.
        if at / SYNC_EVERY != size / SYNC_EVERY {
            file.sync_data().with_context(|| format!("syncing {coming}"))?;
        }
        if size == total {
            file.sync_all().with_context(|| format!("syncing {coming}"))?;
            fs::rename(&coming, &whole).with_context(|| format!("renaming the file to {whole}"))?;
            self.sync()?;
            let _ = fs::remove_file(self.beside(name, SIZE));
        }
        Ok(size)
    }

    fn begin(&self, name: &str, total: u64) -> Result<(), PieceError> {
        let count = self.dir().read_dir_utf8().context("listing the capsules")?.count();
        if count >= 2 * MAX_FILES {
            return Err(PieceError::TooMany);
        }
        let free = self.free()?;
        let needed = total.saturating_add(RESERVE);
        if needed > free {
            return Err(PieceError::Full { needed, free });
        }
        let coming = self.beside(name, COMING);
        let made = open(&coming, Start::Empty, PRIVATE);
        made.with_context(|| format!("creating {coming}"))?;
        Ok(write_atomic(&self.beside(name, SIZE), total.to_string().as_bytes(), 0o600).map_err(anyhow::Error::from)?)
    }

    fn sync(&self) -> Result<()> {
        let dir = self.dir();
        File::open(&dir).and_then(|d| d.sync_all()).with_context(|| format!("syncing {dir}"))
    }

    /// Free bytes on the file system of the site.
    pub fn free(&self) -> Result<u64> {
        Ok(free_space(&self.0.data)?)
    }

    /// Deletes a file or an upload; false if it does not exist.
    pub fn remove(&self, name: &str) -> Result<bool> {
        let mut found = false;
        for path in [self.path(name), self.beside(name, COMING), self.beside(name, SIZE)] {
            match fs::remove_file(&path) {
                Ok(()) => found = true,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => {
                    return Err(anyhow!(e))
                        .with_context(|| format!("removing {path}"))
                        .hint("check that the disk is not read-only");
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> (tempfile::TempDir, Site) {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(camino::Utf8Path::from_path(dir.path()).unwrap());
        (dir, site)
    }

    #[test]
    fn pieces_make_a_file_and_a_cut_goes_on() {
        let (_keep, site) = site();
        let shelf = Shelf(&site);
        assert!(shelf.list().unwrap().is_empty());
        assert_eq!(shelf.put("a.capsule", 0, 10, b"0123").unwrap(), 4);
        assert!(matches!(shelf.put("a.capsule", 0, 10, b"0123"), Err(PieceError::NotNext { held: 4, at: 0 })));
        assert!(matches!(shelf.put("a.capsule", 5, 10, b"5"), Err(PieceError::NotNext { held: 4, at: 5 })));
        assert!(matches!(shelf.put("a.capsule", 4, 9, b"4"), Err(PieceError::NotNext { .. })), "another size, in the middle");
        assert!(matches!(shelf.put("a.capsule", 4, 10, b"4567890"), Err(PieceError::TooLong)));
        let coming = shelf.list().unwrap();
        assert_eq!((coming[0].name.as_str(), coming[0].size, coming[0].expected), ("a.capsule", 4, Some(10)));
        assert!(!shelf.path("a.capsule").exists(), "it has no name before it is whole");
        assert_eq!(shelf.put("a.capsule", 4, 10, b"456789").unwrap(), 10);
        assert_eq!(fs::read(shelf.path("a.capsule")).unwrap(), b"0123456789");
        assert_eq!(shelf.list().unwrap()[0].expected, None);
        assert!(matches!(shelf.put("a.capsule", 0, 10, b"x"), Err(PieceError::Exists)));
        assert!(shelf.remove("a.capsule").unwrap() && !shelf.remove("a.capsule").unwrap());
        assert!(shelf.list().unwrap().is_empty());
    }

    #[test]
    fn another_size_begins_anew_and_what_cannot_fit_is_not_begun() {
        let (_keep, site) = site();
        let shelf = Shelf(&site);
        shelf.put("a", 0, 10, b"0123").unwrap();
        assert_eq!(shelf.put("a", 0, 2, b"01").unwrap(), 2);
        assert_eq!(fs::read(shelf.path("a")).unwrap(), b"01");
        assert!(matches!(shelf.put("b", 0, u64::MAX, b"0"), Err(PieceError::Full { .. })));
        assert_eq!(shelf.list().unwrap().len(), 1);
        assert_eq!(shelf.put("empty", 0, 0, b"").unwrap(), 0);
        assert!(shelf.path("empty").exists());
    }
}
