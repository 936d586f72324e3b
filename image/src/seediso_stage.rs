//! The folder that becomes the ISO: files linked into it where that is possible, each content once.

use std::collections::BTreeMap;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::manifest::{BootFile, SHELVES};
use cluster_seed::progress::Progress;

use crate::error::{Error, io};
use crate::store;
use crate::tree::{Tree, TreeError};

/// Files put in place so far.
pub(crate) struct Stage {
    root: Utf8PathBuf,
    files: BTreeMap<String, (Digest, u64)>,
    /// First name of each content.
    first: BTreeMap<Digest, String>,
}

impl Stage {
    pub fn new(root: &Utf8Path) -> Self {
        Stage { root: root.to_owned(), files: BTreeMap::new(), first: BTreeMap::new() }
    }

    /// Where a name lies, its folder made.
    pub fn place(&self, name: &str) -> Result<Utf8PathBuf, Error> {
        let path = self.root.join(name);
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(io("make", folder))?;
        Ok(path)
    }

    /// Everything put in place, sorted by name.
    pub fn files(&self) -> Vec<BootFile> {
        let file =
            |(name, (sha256, size)): (&String, &(Digest, u64))| BootFile { name: name.clone(), size: *size, sha256: *sha256 };
        self.files.iter().map(file).collect()
    }

    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        store::write_synced(&self.place(name)?, bytes)?;
        self.note(name, Digest::of(bytes), bytes.len() as u64);
        Ok(())
    }

    fn note(&mut self, name: &str, digest: Digest, size: u64) {
        self.files.insert(name.to_owned(), (digest, size));
        self.first.entry(digest).or_insert_with(|| name.to_owned());
    }

    /// Takes a file, following links.
    pub fn take(&mut self, from: &Utf8Path, name: &str) -> Result<(), Error> {
        let (digest, size) = store::digest_file(from)?;
        self.put(from, name, digest, size)
    }

    /// Takes a file that must have this digest.
    pub fn take_digest(&mut self, from: &Utf8Path, name: &str, digest: &Digest) -> Result<(), Error> {
        if self.files.contains_key(name) {
            return Ok(());
        }
        let (found, size) = store::digest_file(from)?;
        if found != *digest {
            return Err(Error::Changed { path: from.to_owned() });
        }
        self.put(from, name, found, size)
    }

    fn put(&mut self, from: &Utf8Path, name: &str, digest: Digest, size: u64) -> Result<(), Error> {
        let place = self.place(name)?;
        let source = match self.first.get(&digest) {
            Some(first) => self.root.join(first),
            None => from.canonicalize_utf8().map_err(io("find", from))?,
        };
        // Another file system, or more links than it allows: then a copy.
        if fs::hard_link(&source, &place).is_err() {
            fs::copy(&source, &place).map_err(io("copy", &source))?;
        }
        self.note(name, digest, size);
        Ok(())
    }

    /// Another name for content that is in place.
    pub fn again(&mut self, digest: &Digest, name: &str) -> Result<(), Error> {
        let first = self.first.get(digest).ok_or_else(|| Error::Content(format!("nothing with digest {digest} is in place")))?;
        let (from, size) = (self.root.join(first), self.files.get(first).map_or(0, |f| f.1));
        self.put(&from, name, *digest, size)
    }

    /// Takes every file below a folder. Returns their digests.
    pub fn take_folder(&mut self, from: &Utf8Path, name: &str, progress: &dyn Progress) -> Result<Vec<Digest>, Error> {
        let mut found: Vec<Utf8PathBuf> = Vec::new();
        let wrong = |source: TreeError| Error::Tree { root: from.to_owned(), source };
        Tree::new(from)
            .walk(&mut |below, meta| {
                if !meta.is_dir() {
                    found.push(below.to_owned());
                }
                Ok(())
            })
            .map_err(wrong)?;
        let mut digests = Vec::new();
        for below in found {
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            let name = format!("{name}/{below}");
            if let Some(shelf) = shelf(&from.join(&below)) {
                digests.extend(self.take_folder(&shelf, &name, progress)?);
                continue;
            }
            self.take(&from.join(&below), &name)?;
            digests.extend(self.files.get(&name).map(|f| f.0));
        }
        Ok(digests)
    }
}

/// Where a snapshot's link to a shelf leads; the medium has the folder itself in its place.
fn shelf(path: &Utf8Path) -> Option<Utf8PathBuf> {
    let real = path.symlink_metadata().ok().filter(fs::Metadata::is_symlink).and_then(|_| path.canonicalize_utf8().ok())?;
    (real.is_dir() && real.parent()?.file_name() == Some(SHELVES)).then_some(real)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use cluster_seed::progress::Quiet;

    use super::*;

    #[test]
    fn same_content_is_there_once_and_listed_by_every_name() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        fs::create_dir_all(dir.join("from/pool")).unwrap();
        fs::write(dir.join("from/pool/a.deb"), "deb").unwrap();
        std::os::unix::fs::symlink("a.deb", dir.join("from/pool/link")).unwrap();
        let mut stage = Stage::new(&dir.join("iso"));
        let digests = stage.take_folder(&dir.join("from"), "site", &Quiet).unwrap();
        assert_eq!(digests, [Digest::of(b"deb"), Digest::of(b"deb")]);
        stage.again(&digests[0], "blobs/x").unwrap();
        stage.write("b", b"text").unwrap();
        let names: Vec<String> = stage.files().into_iter().map(|f| format!("{} {}", f.name, f.size)).collect();
        assert_eq!(names, ["b 4", "blobs/x 3", "site/pool/a.deb 3", "site/pool/link 3"]);
        let inode = |n: &str| fs::symlink_metadata(dir.join("iso").join(n)).unwrap().ino();
        assert_eq!(inode("blobs/x"), inode("site/pool/a.deb"));
        assert_eq!(inode("blobs/x"), inode("site/pool/link"));
        assert!(stage.again(&Digest::of(b"other"), "y").is_err());
    }

    #[test]
    fn a_link_to_a_shelf_becomes_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        fs::create_dir_all(dir.join("snapshots/shelves/ab/rust")).unwrap();
        fs::create_dir_all(dir.join("snapshots/x/pool/main")).unwrap();
        fs::write(dir.join("snapshots/shelves/ab/rust/a.deb"), "deb").unwrap();
        std::os::unix::fs::symlink("../../../shelves/ab", dir.join("snapshots/x/pool/main/r")).unwrap();
        let mut stage = Stage::new(&dir.join("iso"));
        assert_eq!(stage.take_folder(&dir.join("snapshots/x"), "site", &Quiet).unwrap(), [Digest::of(b"deb")]);
        assert_eq!(stage.files()[0].name, "site/pool/main/r/rust/a.deb");
        assert!(fs::symlink_metadata(dir.join("iso/site/pool/main/r")).unwrap().is_dir());
        // A folder that is linked for any other reason is not.
        std::os::unix::fs::symlink("../shelves/ab/rust", dir.join("snapshots/x/other")).unwrap();
        assert!(stage.take_folder(&dir.join("snapshots/x"), "again", &Quiet).is_err());
    }

    #[test]
    fn a_blob_that_is_not_what_its_name_says_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        fs::write(dir.join("blob"), "changed").unwrap();
        let mut stage = Stage::new(&dir.join("iso"));
        let taken = stage.take_digest(&dir.join("blob"), "blob", &Digest::of(b"original"));
        assert!(matches!(taken, Err(Error::Changed { .. })));
        stage.take_digest(&dir.join("blob"), "blob", &Digest::of(b"changed")).unwrap();
    }
}
