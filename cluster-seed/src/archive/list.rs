//! The list: every file of the trees in the archive, then the pieces that it contains, then those that it omits.
//!
//! One JSON object per line: `{"file":{tree,id,path,size,sha256}}`, `{"blob":{size,sha256}}`, `{"held":{size,sha256}}`.
//! Links, devices, modes and owners cannot be expressed; a path is a plain one (capsule's `FileRow`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ArchiveError, ArchiveHeader, MAX_FILES};
use crate::capsule::{FileRow, MAX_BLOB, Piece, Tree};
use crate::ids::Digest;

/// Largest list, in bytes.
pub const MAX_LIST: u64 = 512 << 20;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    File(FileRow),
    Blob(Piece),
    Held(Piece),
}

/// Contents of an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchiveList {
    /// Sorted by tree, id and path.
    pub files: Vec<FileRow>,
    /// Contained, sorted by digest.
    pub blobs: Vec<Piece>,
    /// Omitted, because the base snapshot has them; sorted by digest.
    pub held: Vec<Piece>,
}

fn key(row: &FileRow) -> (Tree, Digest, &str) {
    (row.tree, row.id, row.path.as_str())
}

impl ArchiveList {
    /// The list of `files`, without what is in `held`.
    pub fn new(mut files: Vec<FileRow>, held: &BTreeMap<Digest, u64>) -> Self {
        files.sort_by(|a, b| key(a).cmp(&key(b)));
        let mut list = ArchiveList::default();
        let pieces: BTreeMap<Digest, u64> = files.iter().map(|f| (f.sha256, f.size)).collect();
        for (sha256, size) in pieces {
            let to = if held.get(&sha256) == Some(&size) { &mut list.held } else { &mut list.blobs };
            to.push(Piece { size, sha256 });
        }
        list.files = files;
        list
    }

    /// Bytes of content.
    pub fn bytes(&self) -> u64 {
        self.blobs.iter().fold(0u64, |sum, p| sum.saturating_add(p.size))
    }

    pub fn render(&self) -> Result<String, ArchiveError> {
        let mut out = String::new();
        let files = self.files.iter().cloned().map(Line::File);
        let pieces = self.blobs.iter().copied().map(Line::Blob).chain(self.held.iter().copied().map(Line::Held));
        for line in files.chain(pieces) {
            let text = serde_json::to_string(&line).map_err(|e| ArchiveError::List(e.to_string()))?;
            out.push_str(&text);
            out.push('\n');
        }
        Ok(out)
    }

    /// Reads the list named in the header, and checks what the signature does not cover.
    pub fn open(text: &[u8], header: &ArchiveHeader) -> Result<Self, ArchiveError> {
        if text.len() as u64 != header.list_size || Digest::of(text) != header.list {
            return Err(ArchiveError::OtherList);
        }
        let text = std::str::from_utf8(text).map_err(|_| ArchiveError::List("it is not UTF-8".to_owned()))?;
        let list = Self::parse(text)?;
        if list.bytes() != header.bytes {
            return Err(ArchiveError::List("the size of its content differs from the header".to_owned()));
        }
        if !list.held.is_empty() && header.since.is_none() {
            return Err(ArchiveError::List("pieces are omitted, but no base snapshot is named".to_owned()));
        }
        if !list.files.iter().any(|f| f.tree == Tree::Snapshots && f.id == header.snapshot) {
            return Err(ArchiveError::List("it contains no file of its snapshot".to_owned()));
        }
        if list.files.iter().any(|f| f.tree == Tree::Snapshots && f.id != header.snapshot) {
            return Err(ArchiveError::List("it contains files of another snapshot".to_owned()));
        }
        Ok(list)
    }

    /// Reads a list. Only the order and the spelling of [`ArchiveList::render`] are accepted.
    pub fn parse(text: &str) -> Result<Self, ArchiveError> {
        let mut list = ArchiveList::default();
        for (n, line) in text.lines().enumerate() {
            let bad = |what: String| ArchiveError::Line { line: n + 1, what };
            if n >= 3 * MAX_FILES {
                return Err(bad("too many lines".to_owned()));
            }
            match serde_json::from_str(line).map_err(|e| bad(e.to_string()))? {
                Line::File(row) => {
                    if !row.path_is_plain() || row.size > MAX_BLOB {
                        return Err(bad("not a plain relative path, or too large".to_owned()));
                    }
                    if !matches!(row.tree, Tree::Snapshots | Tree::Proofs | Tree::Extras) {
                        return Err(bad(format!("an archive must not contain {}", row.tree.as_str())));
                    }
                    list.files.push(row);
                }
                Line::Blob(piece) => list.blobs.push(piece),
                Line::Held(piece) => list.held.push(piece),
            }
        }
        list.check()?;
        if list.render()? != text {
            return Err(ArchiveError::List("it is not in canonical form".to_owned()));
        }
        Ok(list)
    }

    fn check(&self) -> Result<(), ArchiveError> {
        let bad = |what: &str| Err(ArchiveError::List(what.to_owned()));
        if self.files.len() > MAX_FILES {
            return bad("too many files");
        }
        if !self.files.is_sorted_by(|a, b| key(a) < key(b)) {
            return bad("files are out of order or listed twice");
        }
        // In this order a folder's first file comes right behind a file of the folder's name, or behind names that
        // share it: `a`, `a+b`, `a/b`.
        let mut names: Vec<(Tree, Digest, &str)> = Vec::new();
        for row in &self.files {
            names.retain(|(tree, id, path)| {
                (*tree, *id) == (row.tree, row.id) && row.path.starts_with(path) && row.path.len() > path.len()
            });
            if names.iter().any(|(_, _, path)| row.path.as_bytes().get(path.len()) == Some(&b'/')) {
                return bad("a path is both a file and a folder");
            }
            names.push(key(row));
        }
        for (what, pieces) in [("carried", &self.blobs), ("omitted", &self.held)] {
            if !pieces.is_sorted_by(|a, b| a.sha256 < b.sha256) || pieces.iter().any(|p| p.size > MAX_BLOB) {
                return bad(&format!("pieces {what} are out of order, listed twice or too large"));
            }
        }
        let mut sizes: BTreeMap<Digest, u64> = BTreeMap::new();
        for piece in self.blobs.iter().chain(&self.held) {
            if sizes.insert(piece.sha256, piece.size).is_some() {
                return bad("a piece is both contained and omitted");
            }
        }
        let mut used = BTreeMap::new();
        for row in &self.files {
            if sizes.get(&row.sha256) != Some(&row.size) {
                return bad("a file's content is not listed, or is listed with another size");
            }
            used.insert(row.sha256, ());
        }
        if used.len() != sizes.len() { bad("it lists content that no file refers to") } else { Ok(()) }
    }
}
