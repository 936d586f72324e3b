//! The archive: a published snapshot, or what one has beyond another, as one signed file for a stick. No I/O.
//!
//! ```text
//! "KUBEDOS-ARCHIVE\n"                          16 bytes
//! u32 big endian length, Sealed<ArchiveHeader>  signed by the site key, as in a capsule
//! the list                                      size and digest stand in the header
//! content                                       what the list carries, in its order, nothing between
//! ```
//!
//! A snapshot is public, so unlike a capsule nothing is encrypted, and nothing needs frames: the place of every piece
//! follows from the list. Nothing is compressed: what is read is never larger than what was written. The same snapshot
//! gives the same bytes.

mod list;

use serde::{Deserialize, Serialize};

pub use list::{ArchiveList, MAX_LIST};

use crate::capsule::{CapsuleError, MAX_BYTES};
use crate::ids::Digest;
use crate::seal::{SealError, Sealable, Sealed, VerifyingKey};

/// First bytes of every archive.
pub const MAGIC: &[u8; 16] = b"KUBEDOS-ARCHIVE\n";
/// Version of this format; any other is refused.
pub const VERSION: u32 = 1;
/// Most files of an archive.
pub const MAX_FILES: usize = 1_000_000;

/// Why bytes are not the archive they were taken for.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("this is not a kubedos archive")]
    Magic,
    #[error("the archive has format {0}, this program reads {VERSION}")]
    Version(u32),
    #[error("reading the archive's header")]
    Header(#[from] CapsuleError),
    #[error("the header is not signed by the expected site key")]
    Seal(#[from] SealError),
    #[error("the archive's header says {what} has {size} bytes, more than is allowed")]
    TooLarge { what: &'static str, size: u64 },
    #[error("the archive's list is not the one that the header names")]
    OtherList,
    #[error("line {line} of the archive's list: {what}")]
    Line { line: usize, what: String },
    #[error("the archive's list contradicts itself: {0}")]
    List(String),
}

/// Signed by the site key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArchiveHeader {
    pub version: u32,
    /// The snapshot that is in it.
    pub snapshot: Digest,
    /// Digest and bytes of the list.
    pub list: Digest,
    pub list_size: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// The snapshot whose files were left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Digest>,
}

impl Sealable for ArchiveHeader {
    const PURPOSE: &'static str = "archive-header";
}

impl ArchiveHeader {
    /// The header, after its signature by `key` and its numbers were checked.
    pub fn open(sealed: &Sealed<ArchiveHeader>, key: &VerifyingKey) -> Result<Self, ArchiveError> {
        let header = sealed.open(key)?;
        if header.version != VERSION {
            return Err(ArchiveError::Version(header.version));
        }
        for (what, size, most) in [("its list", header.list_size, MAX_LIST), ("its content", header.bytes, MAX_BYTES)] {
            if size > most {
                return Err(ArchiveError::TooLarge { what, size });
            }
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests;
