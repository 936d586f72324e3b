//! Writing below a folder whose symbolic links are not trusted: names are resolved as after `chroot`, so `..` stops at
//! the folder, an absolute link starts at it, and nothing outside is ever touched.
//!
//! Nobody else may write below the folder meanwhile; it lies in our own data directory.

use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

/// Links followed for one name (as the kernel's MAXSYMLINKS).
pub const MAX_LINKS: u32 = 40;
/// Bytes in one name.
pub const MAX_NAME: usize = 4096;

/// Why a name or a file was refused.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    #[error("not a usable name: {0:?}")]
    Name(String),
    #[error("too many symbolic links in {0:?}")]
    Links(String),
    #[error("{0:?} is in the way")]
    InTheWay(String),
    #[error("cannot write {path}")]
    Io { path: Utf8PathBuf, source: io::Error },
}

/// Mode, owner and time of an entry.
#[derive(Debug, Clone, Copy)]
pub struct Meta {
    pub mode: u32,
    /// User and group; `None` leaves the caller's own.
    pub owner: Option<(u32, u32)>,
    /// Seconds since 1970.
    pub mtime: u64,
}

/// A folder that everything stays below.
pub struct Tree {
    root: Utf8PathBuf,
}

fn fail(path: &Utf8Path) -> impl FnOnce(io::Error) -> TreeError + '_ {
    move |source| TreeError::Io { path: path.to_owned(), source }
}

fn shown(name: &str) -> String {
    name.chars().take(120).collect()
}

/// The parts of a relative name; a leading `./` is dropped, `..`, absolute and empty names are refused.
pub fn parts(name: &str) -> Result<Vec<&str>, TreeError> {
    let bad = || TreeError::Name(shown(name));
    if name.len() > MAX_NAME || name.starts_with('/') || name.contains('\0') {
        return Err(bad());
    }
    let parts: Vec<&str> = name.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    if parts.contains(&"..") { Err(bad()) } else { Ok(parts) }
}

impl Tree {
    pub fn new(root: &Utf8Path) -> Self {
        Tree { root: root.to_owned() }
    }

    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// The real place of `name`: links on the way are followed inside the tree, the last part is not.
    pub fn place(&self, name: &str) -> Result<Utf8PathBuf, TreeError> {
        let parts = parts(name)?;
        let Some((last, dirs)) = parts.split_last() else { return Ok(self.root.clone()) };
        Ok(self.follow(name, dirs.iter().map(|p| (*p).to_owned()).collect())?.join(last))
    }

    /// As [`Tree::place`], but the last part is followed too.
    pub fn target(&self, name: &str) -> Result<Utf8PathBuf, TreeError> {
        self.follow(name, parts(name)?.into_iter().map(str::to_owned).collect())
    }

    fn follow(&self, name: &str, parts: Vec<String>) -> Result<Utf8PathBuf, TreeError> {
        let mut todo: Vec<String> = parts.into_iter().rev().collect();
        let mut at: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == ".." {
                at.pop();
                continue;
            }
            at.push(part);
            let here = self.join(&at);
            if !here.is_symlink() {
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(TreeError::Links(shown(name)));
            }
            let text = here.read_link_utf8().map_err(fail(&here))?;
            if text.is_absolute() {
                at.clear();
            } else {
                at.pop();
            }
            let more = text.as_str().split('/').filter(|p| !p.is_empty() && *p != ".");
            todo.extend(more.rev().map(str::to_owned));
        }
        Ok(self.join(&at))
    }

    fn join(&self, parts: &[String]) -> Utf8PathBuf {
        let mut path = self.root.clone();
        path.extend(parts);
        path
    }

    /// Makes the folders on the way to `name` (0755) and clears away a file of that name.
    fn make_way(&self, name: &str) -> Result<Utf8PathBuf, TreeError> {
        let place = self.place(name)?;
        if place == self.root {
            return Err(TreeError::Name(shown(name)));
        }
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).map_err(fail(parent))?;
        }
        match fs::symlink_metadata(&place) {
            Ok(m) if m.is_dir() => Err(TreeError::InTheWay(shown(name))),
            Ok(_) => fs::remove_file(&place).map_err(fail(&place)).map(|()| place),
            Err(_) => Ok(place),
        }
    }

    /// A folder; one that exists, also by a link, stays and gets the mode.
    pub fn dir(&self, name: &str, meta: Meta) -> Result<(), TreeError> {
        let target = self.target(name)?;
        fs::create_dir_all(&target).map_err(fail(&target))?;
        self.dress(&target, meta)
    }

    /// A file with at most `limit` bytes of `content`.
    pub fn file(&self, name: &str, meta: Meta, content: &mut dyn Read, limit: u64) -> Result<u64, TreeError> {
        let place = self.make_way(name)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&place).map_err(fail(&place))?;
        let copied = io::copy(&mut content.take(limit.saturating_add(1)), &mut file).map_err(fail(&place))?;
        if copied > limit {
            return Err(TreeError::InTheWay(format!("{} (more than {limit} bytes)", shown(name))));
        }
        self.dress(&place, meta)?;
        Ok(copied)
    }

    pub fn write(&self, name: &str, mode: u32, mtime: u64, content: &[u8]) -> Result<(), TreeError> {
        let owner = Some((0, 0)).filter(|_| nix::unistd::geteuid().is_root());
        self.file(name, Meta { mode, owner, mtime }, &mut &content[..], content.len() as u64).map(|_| ())
    }

    /// A symbolic link with any text: it is only ever followed inside the tree.
    pub fn symlink(&self, name: &str, text: &str) -> Result<(), TreeError> {
        let place = self.make_way(name)?;
        symlink(text, &place).map_err(fail(&place))
    }

    /// A hard link to a regular file that is already in the tree.
    pub fn hardlink(&self, name: &str, existing: &str) -> Result<(), TreeError> {
        let from = self.place(existing)?;
        if !fs::symlink_metadata(&from).map_err(fail(&from))?.is_file() {
            return Err(TreeError::Name(shown(existing)));
        }
        let place = self.make_way(name)?;
        fs::hard_link(&from, &place).map_err(fail(&place))
    }

    /// Removes a file, link or folder with all in it; one that is not there is fine.
    pub fn remove(&self, name: &str) -> Result<(), TreeError> {
        let place = self.place(name)?;
        let done = match fs::symlink_metadata(&place) {
            Ok(m) if m.is_dir() => fs::remove_dir_all(&place),
            Ok(_) => fs::remove_file(&place),
            Err(_) => Ok(()),
        };
        done.map_err(fail(&place))
    }

    /// Reads a file of at most `limit` bytes, following links inside the tree.
    pub fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, TreeError> {
        let target = self.target(name)?;
        let file = File::open(&target).map_err(fail(&target))?;
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(fail(&target))?;
        if bytes.len() as u64 > limit { Err(TreeError::InTheWay(shown(name))) } else { Ok(bytes) }
    }

    /// Sorted names of a folder's entries; of one that is not there, none.
    pub fn list(&self, name: &str) -> Result<Vec<String>, TreeError> {
        let target = self.target(name)?;
        if !target.is_dir() {
            return Ok(Vec::new());
        }
        let entries = target.read_dir_utf8().map_err(fail(&target))?;
        let mut names: Vec<String> =
            entries.map(|e| e.map(|e| e.file_name().to_owned())).collect::<io::Result<_>>().map_err(fail(&target))?;
        names.sort();
        Ok(names)
    }

    fn dress(&self, path: &Utf8Path, meta: Meta) -> Result<(), TreeError> {
        if let Some((uid, gid)) = meta.owner {
            std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(fail(path))?;
        }
        fs::set_permissions(path, Permissions::from_mode(meta.mode & 0o7777)).map_err(fail(path))?;
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(meta.mtime);
        let file = File::open(path).map_err(fail(path))?;
        file.set_times(FileTimes::new().set_modified(time).set_accessed(time)).map_err(fail(path))
    }

    /// Calls `f` with the path below the root and the metadata of every entry, sorted, folders after their content.
    pub fn walk(&self, f: &mut dyn FnMut(&Utf8Path, &fs::Metadata) -> Result<(), TreeError>) -> Result<(), TreeError> {
        self.walk_dir(Utf8Path::new(""), f)
    }

    fn walk_dir(
        &self,
        dir: &Utf8Path,
        f: &mut dyn FnMut(&Utf8Path, &fs::Metadata) -> Result<(), TreeError>,
    ) -> Result<(), TreeError> {
        let real = self.root.join(dir);
        let entries = real.read_dir_utf8().map_err(fail(&real))?;
        let mut names: Vec<String> =
            entries.map(|e| e.map(|e| e.file_name().to_owned())).collect::<io::Result<_>>().map_err(fail(&real))?;
        names.sort();
        for name in names {
            let below = dir.join(name);
            let path = self.root.join(&below);
            let meta = fs::symlink_metadata(&path).map_err(fail(&path))?;
            if meta.is_dir() {
                self.walk_dir(&below, f)?;
            }
            f(&below, &meta)?;
        }
        Ok(())
    }

    /// Sets every time later than `epoch` to it, and access times to the modification times. Returns bytes of content,
    /// each file rounded up to 4 KiB blocks.
    pub fn clamp_times(&self, epoch: u64) -> Result<u64, TreeError> {
        let mut bytes = 0;
        let root = self.root.clone();
        self.walk(&mut |below, meta| {
            let path = root.join(below);
            bytes += meta.len().next_multiple_of(4096);
            let time = TimeSpec::new(meta.mtime().min(epoch as i64), 0);
            utimensat(AT_FDCWD, path.as_std_path(), &time, &time, UtimensatFlags::NoFollowSymlink)
                .map_err(|e| TreeError::Io { path: path.clone(), source: e.into() })
        })?;
        let time = TimeSpec::new(epoch as i64, 0);
        utimensat(AT_FDCWD, self.root.as_std_path(), &time, &time, UtimensatFlags::NoFollowSymlink)
            .map_err(|e| TreeError::Io { path: self.root.clone(), source: e.into() })?;
        Ok(bytes)
    }
}
