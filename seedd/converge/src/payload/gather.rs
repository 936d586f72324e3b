//! Which files are in a payload: those of the operator's directory, and the plays of the platform that it does not replace.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::converge::payload::{ANSIBLE, MAX_FILE, MAX_FILES, MAX_UNPACKED, SALT, is_safe_path};
use host::files::{FileError, failed};

/// Folder of the old layout that holds everything else: `payload/darksite/ansible/…`.
const OLD: &str = "darksite";
/// Deepest folder.
const MAX_DEPTH: usize = 24;
/// Names that are left out: of version control and of editors.
const LEFT_OUT: &[&str] = &[".git", ".gitignore", ".gitattributes", ".svn", ".DS_Store", "__pycache__", ".ansible"];

#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{path} has {size} bytes, but a file of a payload may have {MAX_FILE}")]
    FileTooLarge { path: String, size: u64 },
    #[error("the payload has more than {MAX_UNPACKED} bytes")]
    TooLarge,
    #[error("the payload has more than {MAX_FILES} files")]
    TooMany,
    #[error("{0} is neither a file nor a directory")]
    Kind(String),
    #[error("{0:?} is not a name that a payload can contain")]
    Name(String),
    #[error("{0} has neither a directory {ANSIBLE} nor {SALT}")]
    Empty(Utf8PathBuf),
    #[error("{0} is nested too deeply")]
    Deep(String),
}

impl PayloadError {
    pub fn hint(&self) -> &'static str {
        match self {
            PayloadError::FileTooLarge { .. } | PayloadError::TooLarge | PayloadError::TooMany => {
                "serve large files as extras (docs/extras.md), and let the play fetch them from the seed"
            }
            PayloadError::Kind(_) => "replace links and sockets with plain files",
            PayloadError::Name(_) => "use relative names without control characters",
            PayloadError::Empty(_) => "name the directory that has them; docs/converge.md shows its layout",
            PayloadError::Deep(_) | PayloadError::File(_) => "",
        }
    }
}

/// Where the bytes of a file are.
#[derive(Debug, Clone)]
pub enum Origin {
    Disk(Utf8PathBuf),
    /// Part of this program.
    Platform(&'static [u8]),
}

/// One file.
#[derive(Debug, Clone)]
pub struct Part {
    pub origin: Origin,
    /// Bytes.
    pub size: u64,
    pub executable: bool,
}

/// All files by their path in the archive.
pub type Parts = BTreeMap<String, Part>;

/// The directory with `ansible/` and `salt/`: `source` itself, or `darksite` below it as in the old layout.
fn root(source: &Utf8Path) -> Utf8PathBuf {
    let old = source.join(OLD);
    if old.join(ANSIBLE).is_dir() || old.join(SALT).is_dir() { old } else { source.to_owned() }
}

/// Gathers the files of `source`, if it exists, and those of the platform: path in the archive, and bytes.
///
/// # Errors
/// If a file is too large, not a plain file, or has a name that an archive cannot contain.
pub fn gather(source: &Utf8Path, platform: &[(&'static str, &'static [u8])]) -> Result<Parts, PayloadError> {
    let mut parts = Parts::new();
    for (path, bytes) in platform {
        let executable = bytes.starts_with(b"#!");
        let part = Part { origin: Origin::Platform(bytes), size: bytes.len() as u64, executable };
        parts.insert((*path).to_owned(), part);
    }
    if source.is_dir() {
        let root = root(source);
        let mut entries = fs::read_dir(source).map_err(failed("list", source))?;
        if ![ANSIBLE, SALT].iter().any(|top| root.join(top).is_dir()) && entries.next().is_some() {
            return Err(PayloadError::Empty(source.to_owned()));
        }
        for top in [ANSIBLE, SALT] {
            if root.join(top).is_dir() {
                walk(&root, top, 0, &mut parts)?;
            }
        }
    }
    let total: u64 = parts.values().map(|p| p.size).sum();
    match (total > MAX_UNPACKED, parts.len() > MAX_FILES) {
        (true, _) => Err(PayloadError::TooLarge),
        (_, true) => Err(PayloadError::TooMany),
        _ => Ok(parts),
    }
}

fn walk(root: &Utf8Path, below: &str, depth: usize, parts: &mut Parts) -> Result<(), PayloadError> {
    if depth > MAX_DEPTH {
        return Err(PayloadError::Deep(below.to_owned()));
    }
    let dir = root.join(below);
    let entries = fs::read_dir(&dir).map_err(failed("list", &dir))?;
    for entry in entries {
        let entry = entry.map_err(failed("list", &dir))?;
        let name = entry.file_name().into_string().map_err(|n| PayloadError::Name(n.to_string_lossy().into_owned()))?;
        if LEFT_OUT.contains(&name.as_str()) || name.ends_with('~') || name.ends_with(".pyc") {
            continue;
        }
        let path = format!("{below}/{name}");
        if !is_safe_path(&path) {
            return Err(PayloadError::Name(path));
        }
        let on_disk = root.join(&path);
        let meta = fs::symlink_metadata(&on_disk).map_err(failed("look at", &on_disk))?;
        if meta.is_dir() {
            walk(root, &path, depth + 1, parts)?;
        } else if !meta.is_file() {
            return Err(PayloadError::Kind(on_disk.into_string()));
        } else if meta.len() > MAX_FILE {
            return Err(PayloadError::FileTooLarge { path: on_disk.into_string(), size: meta.len() });
        } else if parts.len() > MAX_FILES {
            return Err(PayloadError::TooMany);
        } else {
            let executable = meta.permissions().mode() & 0o100 != 0;
            parts.insert(path, Part { origin: Origin::Disk(on_disk), size: meta.len(), executable });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        (dir, path)
    }

    fn write(root: &Utf8Path, path: &str, bytes: &[u8]) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    const PLATFORM: &[(&str, &[u8])] =
        &[("ansible/roles/etcd/tasks/main.yml", b"[]"), ("ansible/roles/etcd/files/check", b"#!/bin/sh\n")];

    #[test]
    fn the_operators_file_replaces_the_platforms() {
        let (_keep, root) = dir();
        write(&root, "ansible/roles/etcd/tasks/main.yml", b"- mine");
        write(&root, "ansible/roles/web/tasks/main.yml", b"[]");
        write(&root, "ansible/.git/config", b"x");
        write(&root, "notes.txt", b"outside");
        let parts = gather(&root, PLATFORM).unwrap();
        let names: Vec<_> = parts.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["ansible/roles/etcd/files/check", "ansible/roles/etcd/tasks/main.yml", "ansible/roles/web/tasks/main.yml"]
        );
        assert!(parts["ansible/roles/etcd/files/check"].executable);
        assert!(matches!(parts["ansible/roles/etcd/tasks/main.yml"].origin, Origin::Disk(_)));
    }

    #[test]
    fn the_old_layout_and_no_directory_at_all_work() {
        let (_keep, root) = dir();
        write(&root, "payload/darksite/ansible/playbooks/a.yml", b"[]");
        assert!(gather(&root.join("payload"), &[]).unwrap().contains_key("ansible/playbooks/a.yml"));
        assert_eq!(gather(&root.join("nothing"), PLATFORM).unwrap().len(), 2);
    }

    #[test]
    fn a_directory_of_something_else_is_refused() {
        let (_keep, root) = dir();
        assert_eq!(gather(&root, PLATFORM).unwrap().len(), 2, "nothing of the operator's yet");
        write(&root, "roles/web/tasks/main.yml", b"[]");
        let error = gather(&root, PLATFORM).unwrap_err();
        assert!(matches!(error, PayloadError::Empty(_)) && error.hint().contains("layout"), "{error}");
    }

    #[test]
    fn links_and_large_files_are_refused_by_name() {
        let (_keep, root) = dir();
        write(&root, "ansible/a", b"x");
        std::os::unix::fs::symlink("/etc/shadow", root.join("ansible/link")).unwrap();
        assert!(matches!(gather(&root, &[]), Err(PayloadError::Kind(name)) if name.ends_with("ansible/link")));
        fs::remove_file(root.join("ansible/link")).unwrap();
        // Sparse: only its length counts.
        fs::File::create(root.join("ansible/big")).unwrap().set_len(MAX_FILE + 1).unwrap();
        let error = gather(&root, &[]).unwrap_err();
        assert!(matches!(&error, PayloadError::FileTooLarge { path, .. } if path.ends_with("ansible/big")), "{error}");
        assert!(error.hint().contains("extras"));
        fs::File::create(root.join("ansible/big")).unwrap().set_len(MAX_FILE).unwrap();
        assert!(gather(&root, &[]).is_ok());
    }
}
