//! The archive: a published snapshot, or its difference from another, as one signed file for a USB stick. No I/O.
//!
//! ```text
//! "KUBEDOS-ARCHIVE\n"                          16 bytes
//! u32 big endian length, Sealed<ArchiveHeader>  signed by the site key, as in a capsule
//! the list                                      its size and digest are in the header
//! content                                       the pieces of the list, in its order, without gaps
//! ```
//!
//! A snapshot is public, so unlike a capsule nothing is encrypted, and no frames are needed: the offset of every piece follows
//! from the list. Nothing is compressed, so reading never expands data. The same snapshot produces the same bytes.

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

/// Why bytes are not a valid archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("this is not a kubedos archive")]
    Magic,
    #[error("the archive has format {0}, but this program supports format {VERSION}")]
    Version(u32),
    #[error("reading the archive's header")]
    Header(#[from] CapsuleError),
    #[error("the header is not signed by the expected site key")]
    Seal(#[from] SealError),
    #[error("according to the archive's header, {what} has {size} bytes, more than allowed")]
    TooLarge { what: &'static str, size: u64 },
    #[error("the archive's list does not match its header")]
    OtherList,
    #[error("line {line} of the archive's list: {what}")]
    Line { line: usize, what: String },
    #[error("the archive's list is inconsistent: {0}")]
    List(String),
}

/// Signed by the site key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArchiveHeader {
    pub version: u32,
    /// The snapshot that it contains.
    pub snapshot: Digest,
    /// Digest and bytes of the list.
    pub list: Digest,
    pub list_size: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// The base snapshot, whose files are omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Digest>,
}

impl Sealable for ArchiveHeader {
    const PURPOSE: &'static str = "archive-header";
}

impl ArchiveHeader {
    /// The header, after checking its signature by `key` and its sizes.
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
