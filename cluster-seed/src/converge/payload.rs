//! The site's payload: an archive of the operator's Ansible roles, playbooks, collections, files and variables beside the plays of
//! the platform, named by its digest and signed.
//!
//! The archive is a tar (POSIX ustar with pax long names) compressed by zstd: entries sorted by path, owner 0, modes 0644 and 0755,
//! times 0. The same files give the same bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::Digest;
use crate::seal::Sealable;

/// Largest archive, in bytes.
pub const MAX_ARCHIVE: u64 = 256 << 20;
/// Largest file in it, in bytes.
pub const MAX_FILE: u64 = 64 << 20;
/// Largest sum of all files, in bytes.
pub const MAX_UNPACKED: u64 = 1 << 30;
/// Most files.
pub const MAX_FILES: usize = 20_000;
/// Longest path, in bytes.
pub const MAX_PATH: usize = 512;
/// Largest signed manifest read, in bytes.
pub const MAX_MANIFEST: u64 = 16 << 20;
/// Folder of the archive with everything that Ansible reads.
pub const ANSIBLE: &str = "ansible";
/// Folder of the archive with Salt states, run masterless.
pub const SALT: &str = "salt";

/// A file of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    #[serde(default)]
    pub executable: bool,
}

/// Describes an archive; signed by the site key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PayloadManifest {
    /// SHA-256 of the archive; the payload's id.
    pub id: Digest,
    /// Size of the archive in bytes.
    pub size: u64,
    pub site: String,
    /// Version of Kubedos whose platform plays it has.
    pub platform: String,
    /// Path below the archive's root to file.
    pub files: BTreeMap<String, FileEntry>,
}

impl Sealable for PayloadManifest {
    const PURPOSE: &'static str = "payload";
}

/// How two payloads differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    pub changed: Vec<String>,
}

impl PayloadManifest {
    pub fn difference(&self, later: &PayloadManifest) -> Difference {
        let mut found = Difference::default();
        for (path, entry) in &later.files {
            match self.files.get(path) {
                None => found.added.push(path.clone()),
                Some(held) if held != entry => found.changed.push(path.clone()),
                Some(_) => {}
            }
        }
        found.removed = self.files.keys().filter(|path| !later.files.contains_key(*path)).cloned().collect();
        found
    }
}

/// Names of plays become paths and words of Ansible: letters, digits, `_` and `-`, at most 64 of them.
pub fn is_play_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// Whether these files, by their path in the archive, have a play: an Ansible role, a playbook `playbooks/<name>.yml`, or a Salt state.
pub fn has_play<T>(files: &BTreeMap<String, T>, name: &str) -> bool {
    let role = format!("{ANSIBLE}/roles/{name}/");
    let others = [format!("{ANSIBLE}/playbooks/{name}.yml"), format!("{SALT}/{name}.sls"), format!("{SALT}/{name}/init.sls")];
    others.iter().any(|path| files.contains_key(path))
        || files.range(role.clone()..).next().is_some_and(|(path, _)| path.starts_with(&role))
}

/// Whether a path may be in an archive: relative, no `..`, no empty part, at most [`MAX_PATH`] bytes, no control characters.
pub fn is_safe_path(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= MAX_PATH
        && !path.chars().any(char::is_control)
        && !path.contains('\\')
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(files: &[(&str, &[u8])]) -> PayloadManifest {
        let entry = |bytes: &[u8]| FileEntry { digest: Digest::of(bytes), size: bytes.len() as u64, executable: false };
        let files = files.iter().map(|(path, bytes)| ((*path).to_owned(), entry(bytes))).collect();
        PayloadManifest { id: Digest([0; 32]), size: 0, site: "a".into(), platform: "0".into(), files }
    }

    #[test]
    fn paths_stay_in_the_archive() {
        for good in ["a", "ansible/roles/x/tasks/main.yml", "a b", "..a", "ä"] {
            assert!(is_safe_path(good), "{good}");
        }
        for bad in ["", "/", "/a", "a/", "a//b", "..", "../a", "a/../b", "./a", "a/.", "a\\b", "a\nb", &"x".repeat(MAX_PATH + 1)]
        {
            assert!(!is_safe_path(bad), "{bad:?}");
        }
    }

    #[test]
    fn plays_are_found_by_role_playbook_and_state() {
        let m = manifest(&[
            ("ansible/roles/web/tasks/main.yml", b""),
            ("ansible/playbooks/users.yml", b""),
            ("salt/motd.sls", b""),
            ("salt/base/init.sls", b""),
        ]);
        for name in ["web", "users", "motd", "base"] {
            assert!(has_play(&m.files, name), "{name}");
        }
        for name in ["we", "web2", "main", "", "../roles"] {
            assert!(!has_play(&m.files, name), "{name}");
        }
    }

    #[test]
    fn names_of_plays_are_words() {
        for good in ["a", "1a", "site_time", "log-collector", &"x".repeat(64)] {
            assert!(is_play_name(good), "{good}");
        }
        for bad in ["", "-a", "_a", "a/b", "..", "a b", "a.b", "ä", &"x".repeat(65)] {
            assert!(!is_play_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_difference_names_every_file_once() {
        let (old, new) = (manifest(&[("a", b"1"), ("b", b"1")]), manifest(&[("b", b"2"), ("c", b"1")]));
        let d = old.difference(&new);
        assert_eq!((d.added, d.removed, d.changed), (vec!["c".into()], vec!["a".into()], vec!["b".into()]));
        assert_eq!(old.difference(&old), Difference::default());
    }
}
