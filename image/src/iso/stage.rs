//! The directory that becomes the ISO: files are linked into it where possible, each content once.

use std::collections::BTreeMap;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::manifest::{BootFile, SHELVES};
use cluster_seed::progress::{Progress, Quiet};
use host::files::{self, create_dirs, digest_file, failed, write_synced};

use crate::error::{Error, in_tree};
use crate::tree::Tree;

/// The files added so far.
pub(crate) struct Stage {
    root: Utf8PathBuf,
    files: BTreeMap<String, (Digest, u64)>,
    /// The first name of each content.
    first: BTreeMap<Digest, String>,
}

impl Stage {
    pub fn new(root: &Utf8Path) -> Self {
        Stage { root: root.to_owned(), files: BTreeMap::new(), first: BTreeMap::new() }
    }

    /// The path for a name; its directory is created.
    pub fn place(&self, name: &str) -> Result<Utf8PathBuf, Error> {
        let path = self.root.join(name);
        create_dirs(path.parent().unwrap_or(&self.root))?;
        Ok(path)
    }

    /// The files added so far, sorted by name.
    pub fn files(&self) -> Vec<BootFile> {
        let file =
            |(name, (sha256, size)): (&String, &(Digest, u64))| BootFile { name: name.clone(), size: *size, sha256: *sha256 };
        self.files.iter().map(file).collect()
    }

    /// Adds a file with this content.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        write_synced(&self.place(name)?, bytes)?;
        self.note(name, Digest::of(bytes), bytes.len() as u64);
        Ok(())
    }

    fn note(&mut self, name: &str, digest: Digest, size: u64) {
        self.files.insert(name.to_owned(), (digest, size));
        self.first.entry(digest).or_insert_with(|| name.to_owned());
    }

    /// Adds a file, following links.
    pub fn take(&mut self, from: &Utf8Path, name: &str) -> Result<(), Error> {
        let (size, digest) = digest_file(from, &Quiet)?;
        self.put(from, name, digest, size)
    }

    /// Adds a file that must have this digest.
    pub fn take_digest(&mut self, from: &Utf8Path, name: &str, digest: &Digest) -> Result<(), Error> {
        if self.files.contains_key(name) {
            return Ok(());
        }
        let (size, found) = digest_file(from, &Quiet)?;
        if found != *digest {
            return Err(Error::Changed { path: from.to_owned() });
        }
        self.put(from, name, found, size)
    }

    fn put(&mut self, from: &Utf8Path, name: &str, digest: Digest, size: u64) -> Result<(), Error> {
        let place = self.place(name)?;
        let source = match self.first.get(&digest) {
            Some(first) => self.root.join(first),
            None => from.canonicalize_utf8().map_err(failed("resolving", from))?,
        };
        // Copied where it is on another file system, or has too many links.
        if fs::hard_link(&source, &place).is_err() {
            files::copy(&source, &place).map_err(failed("copying", &source))?;
        }
        self.note(name, digest, size);
        Ok(())
    }

    /// Adds another name for content that was added before.
    pub fn again(&mut self, digest: &Digest, name: &str) -> Result<(), Error> {
        let first = self.first.get(digest).ok_or_else(|| Error::Content(format!("no file with digest {digest} was added")))?;
        let (from, size) = (self.root.join(first), self.files.get(first).map_or(0, |f| f.1));
        self.put(&from, name, *digest, size)
    }

    /// Adds every file below a directory. Returns their digests.
    pub fn take_folder(&mut self, from: &Utf8Path, name: &str, progress: &dyn Progress) -> Result<Vec<Digest>, Error> {
        let mut found: Vec<Utf8PathBuf> = Vec::new();
        Tree::new(from)
            .walk(&mut |below, meta| {
                if !meta.is_dir() {
                    found.push(below.to_owned());
                }
                Ok(())
            })
            .map_err(in_tree(from))?;
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

/// The target of a snapshot's link to a shelf; the medium has the directory itself in its place.
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
    fn the_same_content_is_stored_once_and_listed_under_every_name() {
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
    fn a_link_to_a_shelf_becomes_the_directory() {
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
        // A link to any other directory is refused.
        std::os::unix::fs::symlink("../shelves/ab/rust", dir.join("snapshots/x/other")).unwrap();
        assert!(stage.take_folder(&dir.join("snapshots/x"), "again", &Quiet).is_err());
    }

    #[test]
    fn a_blob_that_does_not_match_its_name_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        fs::write(dir.join("blob"), "changed").unwrap();
        let mut stage = Stage::new(&dir.join("iso"));
        let taken = stage.take_digest(&dir.join("blob"), "blob", &Digest::of(b"original"));
        assert!(matches!(taken, Err(Error::Changed { .. })));
        stage.take_digest(&dir.join("blob"), "blob", &Digest::of(b"changed")).unwrap();
    }
}
