//! Files below a directory whose symbolic links are not trusted. Names are resolved as after `chroot`: `..` stops at the
//! directory, an absolute link starts from it, and nothing outside is ever touched.
//!
//! Nobody else may write below the directory at the same time; it is inside our own data directory.

use std::fs::{self, File, FileTimes, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use host::files::{FileError, PRIVATE, Start, create_dirs, failed, open, read_limited};
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

/// Most links followed for one name (as the kernel's MAXSYMLINKS).
pub const MAX_LINKS: u32 = 40;
/// Longest name, in bytes.
pub const MAX_NAME: usize = 4096;

/// Why a name or a file was refused.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    #[error("invalid name {0:?}")]
    Name(String),
    #[error("too many symbolic links in {0:?}")]
    Links(String),
    #[error("{0:?} is an existing directory")]
    InTheWay(String),
    #[error("{name:?} is larger than {limit} bytes")]
    TooLarge { name: String, limit: u64 },
    #[error(transparent)]
    File(#[from] FileError),
}

/// Mode, owner and modification time of an entry.
#[derive(Debug, Clone, Copy)]
pub struct Meta {
    pub mode: u32,
    /// User and group; `None` keeps those of the calling user.
    pub owner: Option<(u32, u32)>,
    /// Seconds since 1970.
    pub mtime: u64,
}

/// A directory that nothing leaves.
pub struct Tree {
    root: Utf8PathBuf,
}

/// A name as errors quote it.
fn shown(name: &str) -> String {
    name.chars().take(120).collect()
}

/// The parts of a relative name without empty ones and `.`. Absolute names and `..` are refused.
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

    /// The real path of `name`: links in its directories are followed inside the tree, a link in its last part is not.
    pub fn place(&self, name: &str) -> Result<Utf8PathBuf, TreeError> {
        let parts = parts(name)?;
        let Some((last, dirs)) = parts.split_last() else { return Ok(self.root.clone()) };
        Ok(self.follow(name, dirs.iter().map(|p| (*p).to_owned()).collect())?.join(last))
    }

    /// As [`Tree::place`], but a link in the last part is followed too.
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
            let text = here.read_link_utf8().map_err(failed("reading the link", &here))?;
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

    /// Creates the parent directories of `name` (0755) and removes an existing file of that name.
    fn make_way(&self, name: &str) -> Result<Utf8PathBuf, TreeError> {
        let place = self.place(name)?;
        if place == self.root {
            return Err(TreeError::Name(shown(name)));
        }
        if let Some(parent) = place.parent() {
            create_dirs(parent)?;
        }
        match fs::symlink_metadata(&place) {
            Ok(m) if m.is_dir() => return Err(TreeError::InTheWay(shown(name))),
            Ok(_) => fs::remove_file(&place).map_err(failed("replacing", &place))?,
            Err(_) => {}
        }
        Ok(place)
    }

    /// Creates a directory; an existing one, also behind a link, stays and gets the mode, owner and time.
    pub fn dir(&self, name: &str, meta: Meta) -> Result<(), TreeError> {
        let target = self.target(name)?;
        create_dirs(&target)?;
        set_meta(&target, meta)
    }

    /// Writes a file from `content`, which may have at most `limit` bytes. Returns its size.
    pub fn file(&self, name: &str, meta: Meta, content: &mut dyn Read, limit: u64) -> Result<u64, TreeError> {
        let place = self.make_way(name)?;
        let writing = failed("writing", &place);
        let mut file = open(&place, Start::New, PRIVATE).map_err(&writing)?;
        let copied = io::copy(&mut content.take(limit.saturating_add(1)), &mut file).map_err(writing)?;
        if copied > limit {
            return Err(TreeError::TooLarge { name: shown(name), limit });
        }
        set_meta(&place, meta)?;
        Ok(copied)
    }

    /// Writes a file owned by root, or by the calling user where that is not root.
    pub fn write(&self, name: &str, mode: u32, mtime: u64, content: &[u8]) -> Result<(), TreeError> {
        let owner = Some((0, 0)).filter(|_| nix::unistd::geteuid().is_root());
        self.file(name, Meta { mode, owner, mtime }, &mut &content[..], content.len() as u64).map(|_| ())
    }

    /// Creates a symbolic link with any target: it is only ever followed inside the tree.
    pub fn symlink(&self, name: &str, text: &str) -> Result<(), TreeError> {
        let place = self.make_way(name)?;
        Ok(symlink(text, &place).map_err(failed("creating the link", &place))?)
    }

    /// Creates a hard link to a regular file that is already in the tree.
    pub fn hardlink(&self, name: &str, existing: &str) -> Result<(), TreeError> {
        let from = self.place(existing)?;
        if !fs::symlink_metadata(&from).map_err(failed("reading", &from))?.is_file() {
            return Err(TreeError::Name(shown(existing)));
        }
        let place = self.make_way(name)?;
        Ok(fs::hard_link(&from, &place).map_err(failed("creating the link", &place))?)
    }

    /// Removes a file, a link or a directory with its content, if it exists.
    pub fn remove(&self, name: &str) -> Result<(), TreeError> {
        let place = self.place(name)?;
        let removed = match fs::symlink_metadata(&place) {
            Ok(m) if m.is_dir() => fs::remove_dir_all(&place),
            Ok(_) => fs::remove_file(&place),
            Err(_) => Ok(()),
        };
        Ok(removed.map_err(failed("removing", &place))?)
    }

    /// Reads a file of at most `limit` bytes, following links inside the tree.
    pub fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, TreeError> {
        Ok(read_limited(&self.target(name)?, limit)?)
    }

    /// Sorted names of a directory's entries; none where it does not exist.
    pub fn list(&self, name: &str) -> Result<Vec<String>, TreeError> {
        let target = self.target(name)?;
        if target.is_dir() { Ok(sorted_names(&target)?) } else { Ok(Vec::new()) }
    }

    /// Calls `f` with the path below the root and the metadata of every entry, sorted, directories after their content.
    pub fn walk(&self, f: &mut dyn FnMut(&Utf8Path, &fs::Metadata) -> Result<(), TreeError>) -> Result<(), TreeError> {
        self.walk_dir(Utf8Path::new(""), f)
    }

    fn walk_dir(
        &self,
        dir: &Utf8Path,
        f: &mut dyn FnMut(&Utf8Path, &fs::Metadata) -> Result<(), TreeError>,
    ) -> Result<(), TreeError> {
        for name in sorted_names(&self.root.join(dir))? {
            let below = dir.join(name);
            let path = self.root.join(&below);
            let meta = fs::symlink_metadata(&path).map_err(failed("reading", &path))?;
            if meta.is_dir() {
                self.walk_dir(&below, f)?;
            }
            f(&below, &meta)?;
        }
        Ok(())
    }

    /// Sets every modification time later than `epoch` to `epoch`, and access times to the modification times. Returns the
    /// size of the content in bytes, each file rounded up to blocks of 4 KiB.
    pub fn clamp_times(&self, epoch: u64) -> Result<u64, TreeError> {
        let mut bytes = 0;
        let root = self.root.clone();
        self.walk(&mut |below, meta| {
            let path = root.join(below);
            bytes += meta.len().next_multiple_of(4096);
            Ok(set_time(&path, meta.mtime().min(epoch as i64))?)
        })?;
        set_time(&self.root, epoch as i64)?;
        Ok(bytes)
    }
}

/// Sorted names of a directory's entries.
fn sorted_names(dir: &Utf8Path) -> Result<Vec<String>, FileError> {
    let names = || dir.read_dir_utf8()?.map(|entry| Ok(entry?.file_name().to_owned())).collect::<io::Result<Vec<String>>>();
    let mut names = names().map_err(failed("listing", dir))?;
    names.sort();
    Ok(names)
}

/// Owner first: changing it clears the bits of setuid and setgid.
fn set_meta(path: &Utf8Path, meta: Meta) -> Result<(), TreeError> {
    let set = || {
        if let Some((uid, gid)) = meta.owner {
            lchown(path, Some(uid), Some(gid))?;
        }
        fs::set_permissions(path, Permissions::from_mode(meta.mode & 0o7777))?;
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(meta.mtime);
        File::open(path)?.set_times(FileTimes::new().set_modified(time).set_accessed(time))
    };
    Ok(set().map_err(failed("setting mode, owner and time of", path))?)
}

/// Sets access and modification time, of a link itself, in seconds since 1970.
fn set_time(path: &Utf8Path, seconds: i64) -> Result<(), FileError> {
    let time = TimeSpec::new(seconds, 0);
    let set = utimensat(AT_FDCWD, path.as_std_path(), &time, &time, UtimensatFlags::NoFollowSymlink);
    set.map_err(|errno| failed("setting the time of", path)(errno.into()))
}
