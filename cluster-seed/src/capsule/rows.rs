//! Lines of a capsule's files that are not database rows. Paths are validated here, before they are joined to a folder.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use serde::{Deserialize, Serialize};

use super::{CapsuleError, MAX_BLOB, Table};
use crate::ids::Digest;

/// Version of the row format, in the first line of every file of rows.
const ROWS: u32 = 1;
/// Private key files that a capsule may contain, by their names in a site's `keys` folder. The operator's key is not
/// included: it stays encrypted with its passphrase.
pub const KEYS: &[&str] = &["site.age", "release.age", "vault.age", "planes.age", "ca.age"];
/// Text and public key files that a capsule may contain, besides the certificates of adopted snapshots.
pub const TEXTS: &[&str] = &["cluster.yaml", "public.json", "release.pgp", "ca.pem"];
/// Longest path below a tree, in bytes, and most folders in it.
const MAX_PATH: usize = 512;
const MAX_DEPTH: usize = 16;

/// First line of a file of rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowsHead {
    pub table: Table,
    pub version: u32,
}

impl RowsHead {
    pub fn of(table: Table) -> Self {
        RowsHead { table, version: ROWS }
    }
}

/// Refuses a file of rows of another table or version.
pub fn check_head(table: Table, line: &str) -> Result<(), CapsuleError> {
    let head: RowsHead = serde_json::from_str(line).map_err(|e| CapsuleError::Json(table.as_str(), e))?;
    if head == RowsHead::of(table) { Ok(()) } else { Err(bad(table, "of another table or another version")) }
}

fn bad(table: Table, what: &str) -> CapsuleError {
    CapsuleError::Row { table: table.as_str(), what: what.to_owned() }
}

/// Folders of a site whose entries are named by a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tree {
    Snapshots,
    Netboot,
    Artifacts,
    /// `proof.json` of a snapshot, by the snapshot's id.
    Proofs,
    Extras,
    Payloads,
}

impl Tree {
    pub const ALL: [Tree; 6] = [Tree::Snapshots, Tree::Netboot, Tree::Artifacts, Tree::Proofs, Tree::Extras, Tree::Payloads];

    /// The folder's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Tree::Snapshots => "snapshots",
            Tree::Netboot => "netboot",
            Tree::Artifacts => "artifacts",
            Tree::Proofs => "proofs",
            Tree::Extras => "extras",
            Tree::Payloads => "payloads",
        }
    }
}

/// One plain file of a tree. Links, devices and modes cannot be expressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRow {
    pub tree: Tree,
    pub id: Digest,
    /// Relative, below the tree's folder of that id.
    pub path: String,
    pub size: u64,
    pub sha256: Digest,
}

impl FileRow {
    /// A line, if its path stays below its folder.
    pub fn parse(line: &str) -> Result<Self, CapsuleError> {
        let row: FileRow = serde_json::from_str(line).map_err(|e| CapsuleError::Json("file", e))?;
        if row.size > MAX_BLOB {
            return Err(bad(Table::File, "larger than allowed"));
        }
        if row.path_is_plain() { Ok(row) } else { Err(bad(Table::File, "not a plain relative path")) }
    }

    /// Every part of the path is printable ASCII and does not start with a dot, so neither `..` nor `.hidden`.
    pub fn path_is_plain(&self) -> bool {
        let name_ok = |name: &str| {
            !name.is_empty()
                && name.len() <= 255
                && !name.starts_with('.')
                && name.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
        };
        let parts = self.path.split('/').count();
        self.path.len() <= MAX_PATH && parts <= MAX_DEPTH && self.path.split('/').all(name_ok)
    }
}

/// A private key, as age ciphertext to the capsule's recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRow {
    pub name: String,
    /// In base64.
    age: String,
}

impl KeyRow {
    pub fn new(name: &str, ciphertext: &[u8]) -> Self {
        KeyRow { name: name.to_owned(), age: B64.encode(ciphertext) }
    }

    /// Name and ciphertext; the name is one of [`KEYS`].
    pub fn parse(line: &str) -> Result<(&'static str, Vec<u8>), CapsuleError> {
        let row: KeyRow = serde_json::from_str(line).map_err(|e| CapsuleError::Json("key", e))?;
        let bytes = B64.decode(&row.age).map_err(|_| bad(Table::Key, "not base64"))?;
        let name = KEYS.iter().find(|n| **n == row.name).ok_or_else(|| bad(Table::Key, "an unknown name"))?;
        Ok((*name, bytes))
    }
}

/// A small public file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextRow {
    pub name: String,
    /// In base64: a certificate is not text.
    content: String,
}

impl TextRow {
    pub fn new(name: &str, content: &[u8]) -> Self {
        TextRow { name: name.to_owned(), content: B64.encode(content) }
    }

    /// Name and content; the name is one of [`TEXTS`], or of a [`keyring_name`].
    pub fn parse(line: &str) -> Result<(String, Vec<u8>), CapsuleError> {
        let row: TextRow = serde_json::from_str(line).map_err(|e| CapsuleError::Json("text", e))?;
        let bytes = B64.decode(&row.content).map_err(|_| bad(Table::Text, "not base64"))?;
        if TEXTS.contains(&row.name.as_str()) || is_keyring_name(&row.name) {
            Ok((row.name, bytes))
        } else {
            Err(bad(Table::Text, "an unknown name"))
        }
    }
}

/// The file with the certificate of an adopted snapshot.
pub fn keyring_name(snapshot: Digest) -> String {
    format!("snapshot-{snapshot}.pgp")
}

/// True for a name made by [`keyring_name`].
pub fn is_keyring_name(name: &str) -> bool {
    let id = name.strip_prefix("snapshot-").and_then(|n| n.strip_suffix(".pgp"));
    id.is_some_and(|id| id.parse::<Digest>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str) -> String {
        let row = FileRow { tree: Tree::Snapshots, id: Digest([0; 32]), path: path.into(), size: 1, sha256: Digest([1; 32]) };
        serde_json::to_string(&row).unwrap()
    }

    #[test]
    fn a_path_stays_below_its_folder() {
        let deep = |n: usize| vec!["a"; n].join("/");
        let long = |n: usize| format!("{}/{}", "a".repeat(n), "a".repeat(255));
        for good in ["InRelease", "dists/trixie/by-hash/SHA256/00ff", "pool/main/b/bash_5.2~rc1+b10_amd64.deb", "a:b%3a"] {
            assert_eq!(FileRow::parse(&line(good)).unwrap().path, good);
        }
        for good in [deep(MAX_DEPTH), long(MAX_PATH - 256 - 1)] {
            assert!(FileRow::parse(&line(&good)).is_ok(), "{good}");
        }
        let nul = "a\0b";
        for bad in
            ["", "/etc/passwd", "..", "../x", "a/../b", "a//b", "a/", ".", "./a", ".hidden", "a\\b", nul, "a b", "ä", "a\nb"]
        {
            assert!(FileRow::parse(&line(bad)).is_err(), "{bad:?}");
        }
        for bad in [deep(MAX_DEPTH + 1), long(256), "a".repeat(256), long(255) + "/" + &"b".repeat(255)] {
            assert!(FileRow::parse(&line(&bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_known_names_and_trees() {
        let text = |name: &str| serde_json::to_string(&TextRow::new(name, b"x")).unwrap();
        let key = |name: &str| serde_json::to_string(&KeyRow::new(name, b"x")).unwrap();
        assert_eq!(TextRow::parse(&text("cluster.yaml")).unwrap(), ("cluster.yaml".to_owned(), b"x".to_vec()));
        assert!(TextRow::parse(&text(&keyring_name(Digest([1; 32])))).is_ok());
        assert_eq!(KeyRow::parse(&key("site.age")).unwrap().0, "site.age");
        for name in ["operator.age", "../site.age", "/etc/shadow", "seed.db", "", "snapshot-../x.pgp", "snapshot-.pgp"] {
            assert!(TextRow::parse(&text(name)).is_err() && KeyRow::parse(&key(name)).is_err(), "{name}");
        }
        assert!(FileRow::parse(&line("a").replace("snapshots", "keys")).is_err());
        assert!(FileRow::parse(&line("a").replace(r#""size":1"#, r#""size":1,"mode":511"#)).is_err());
        let head = serde_json::to_string(&RowsHead::of(Table::Node)).unwrap();
        assert!(check_head(Table::Node, &head).is_ok());
        assert!(check_head(Table::Event, &head).is_err());
        assert!(check_head(Table::Node, &head.replace('1', "2")).is_err());
    }
}
