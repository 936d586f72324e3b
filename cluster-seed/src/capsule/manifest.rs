//! Contents of a capsule: files of rows by table, then blobs by digest. A capsule contains no external names, so it cannot
//! refer to anything outside.

use serde::{Deserialize, Serialize};

use super::{CapsuleError, CapsuleHeader, MAX_BLOB, MAX_BYTES, MAX_ENTRIES, MAX_ROWS, VERSION};
use crate::ids::Digest;
use crate::seal::{Sealable, Sealed, VerifyingKey, key_text};

/// A file of rows, one JSON object per line. A capsule contains each exactly once, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// `{name, text}`: cluster.yaml and public key files.
    Text,
    /// `{name, age}`: private keys, sealed to the recipient.
    Key,
    /// `{tree, id, path, size, sha256}`: files of snapshots, netboot sets and artifacts.
    File,
    Setting,
    Machine,
    Enrollment,
    Node,
    Plane,
    Admin,
    Event,
}

impl Table {
    pub const ALL: [Table; 10] = [
        Table::Text,
        Table::Key,
        Table::File,
        Table::Setting,
        Table::Machine,
        Table::Enrollment,
        Table::Node,
        Table::Plane,
        Table::Admin,
        Table::Event,
    ];

    /// The word in the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Table::Text => "text",
            Table::Key => "key",
            Table::File => "file",
            Table::Setting => "setting",
            Table::Machine => "machine",
            Table::Enrollment => "enrollment",
            Table::Node => "node",
            Table::Plane => "plane",
            Table::Admin => "admin",
            Table::Event => "event",
        }
    }
}

/// One entry of a capsule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", deny_unknown_fields)]
pub enum Entry {
    Rows { table: Table, size: u64, sha256: Digest },
    Blob { size: u64, sha256: Digest },
}

impl Entry {
    pub fn size(&self) -> u64 {
        match self {
            Entry::Rows { size, .. } | Entry::Blob { size, .. } => *size,
        }
    }

    pub fn sha256(&self) -> Digest {
        match self {
            Entry::Rows { sha256, .. } | Entry::Blob { sha256, .. } => *sha256,
        }
    }

    pub fn piece(&self) -> Piece {
        Piece { size: self.size(), sha256: self.sha256() }
    }
}

/// Size in bytes and digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    pub size: u64,
    pub sha256: Digest,
}

/// A blob that is omitted because an earlier capsule or the medium has it.
pub type Assumed = Piece;

/// Signed by the site key; its digest is the capsule's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CapsuleManifest {
    pub version: u32,
    /// Version of the program that made it.
    pub program: String,
    pub site: String,
    /// Public key in hex.
    pub site_key: String,
    pub recipient: String,
    pub created: u64,
    pub epoch: u64,
    /// Id of the newest event: an older capsule of the same epoch does not replace a newer one.
    pub event: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Digest>,
    /// The medium whose files are omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medium: Option<Digest>,
    /// Every table once in the order of [`Table::ALL`], then blobs in the order of their digests.
    pub entries: Vec<Entry>,
    /// In the order of their digests.
    pub assumed: Vec<Assumed>,
}

impl Sealable for CapsuleManifest {
    const PURPOSE: &'static str = "capsule-manifest";
}

impl CapsuleManifest {
    /// The manifest of frame 0's content, after its digest and its signature by `key` were checked against the header.
    pub fn open(text: &[u8], header: &CapsuleHeader, key: &VerifyingKey) -> Result<Self, CapsuleError> {
        if Digest::of(text) != header.id {
            return Err(CapsuleError::OtherManifest);
        }
        let sealed: Sealed<CapsuleManifest> = serde_json::from_slice(text).map_err(|e| CapsuleError::Json("manifest", e))?;
        let manifest = sealed.open(key)?;
        let bytes = manifest.check()?;
        let contradiction = if manifest.site_key != key_text(key) {
            "another site key"
        } else if manifest.recipient != header.recipient {
            "another recipient"
        } else if manifest.since != header.since {
            "another earlier capsule"
        } else if bytes != header.bytes {
            "another size"
        } else {
            return Ok(manifest);
        };
        Err(CapsuleError::Contradiction(contradiction))
    }

    /// Checks what the signature does not cover: kinds, order, sizes. Returns the bytes of content.
    pub fn check(&self) -> Result<u64, CapsuleError> {
        let bad = |what: String| Err(CapsuleError::Manifest(what));
        if self.version != VERSION {
            return Err(CapsuleError::Version(self.version));
        }
        if self.entries.len().saturating_add(self.assumed.len()) > MAX_ENTRIES {
            return bad(format!("more than {MAX_ENTRIES} entries"));
        }
        let mut bytes = 0u64;
        let mut last: Option<Digest> = None;
        for (i, entry) in self.entries.iter().enumerate() {
            let most = match (entry, Table::ALL.get(i)) {
                (Entry::Rows { table, .. }, Some(expected)) if table == expected => MAX_ROWS,
                (Entry::Blob { sha256, .. }, None) if last.is_none_or(|l| l < *sha256) => {
                    last = Some(*sha256);
                    MAX_BLOB
                }
                _ => return bad(format!("entry {i} has the wrong kind")),
            };
            if entry.size() > most {
                return bad(format!("entry {i} is {} bytes", entry.size()));
            }
            bytes = bytes.saturating_add(entry.size());
        }
        if self.entries.len() < Table::ALL.len() {
            return bad("tables are missing".to_owned());
        }
        if bytes > MAX_BYTES {
            return bad(format!("{bytes} bytes of content"));
        }
        if !self.assumed.is_sorted_by(|a, b| a.sha256 < b.sha256) {
            return bad("the omitted blobs are not in order".to_owned());
        }
        if self.assumed.iter().any(|a| a.size > MAX_BLOB || self.blob(a.sha256).is_some()) {
            return bad("an omitted blob is also contained, or too large".to_owned());
        }
        if self.since.is_none() && self.medium.is_none() && !self.assumed.is_empty() {
            return bad("blobs are omitted, but no base capsule is named".to_owned());
        }
        Ok(bytes)
    }

    fn blobs(&self) -> &[Entry] {
        self.entries.get(Table::ALL.len()..).unwrap_or_default()
    }

    fn blob(&self, sha256: Digest) -> Option<u64> {
        let blobs = self.blobs();
        blobs.binary_search_by_key(&sha256, Entry::sha256).ok().map(|i| blobs[i].size())
    }

    /// Size of a blob that is available after importing this capsule.
    pub fn size_of(&self, sha256: Digest) -> Option<u64> {
        let assumed = || self.assumed.binary_search_by_key(&sha256, |a| a.sha256).ok().map(|i| self.assumed[i].size);
        self.blob(sha256).or_else(assumed)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
