//! The site capsule: a complete site as one signed, encrypted, resumable file. Framing, parsing and limits; no I/O.
//!
//! ```text
//! "KUBEDOS-CAPSULE\n"                          16 bytes
//! u32 big endian length, Sealed<CapsuleHeader>  clear, signed by the site key
//! u32 big endian length, age ciphertext         frame 0: Sealed<CapsuleManifest>
//! u32 big endian length, age ciphertext         frame 1…n: what the manifest lists, in its order, 4 MiB each
//! ```
//!
//! Every frame is a separate age file (age v1, STREAM) for the header's recipient. Its plaintext begins with the capsule's id
//! and the frame's number, so a frame cannot be moved to another position or capsule. The id is the digest of frame 0's
//! document. Nothing is compressed, so reading never expands data.

mod frame;
mod header;
mod manifest;
mod rows;

pub use frame::{frame_count, frame_len, frame_payload, open_frame, seal_frame};
pub use header::{CapsuleHeader, PREFIX, framed_header, framed_len, header_bytes, header_len};
pub use manifest::{Assumed, CapsuleManifest, Entry, Piece, Table};
pub use rows::{FileRow, KEYS, KeyRow, RowsHead, TEXTS, TextRow, Tree, check_head, is_keyring_name, keyring_name};

use crate::seal::SealError;
use crate::secret::SecretError;

/// First bytes of every capsule.
pub const MAGIC: &[u8; 16] = b"KUBEDOS-CAPSULE\n";
/// Version of this format; any other is refused.
pub const VERSION: u32 = 1;
/// Largest sealed header, in bytes.
pub const MAX_HEADER: usize = 4096;
/// Bytes of content in every frame but the first and the last.
pub const FRAME: u64 = 4 << 20;
/// Largest sealed manifest, in bytes.
pub const MAX_MANIFEST: usize = 20 << 20;
/// Largest data frame as stored: age adds 16 bytes to each 64 KiB, and a header.
pub const MAX_STORED_FRAME: u64 = FRAME + (64 << 10);
/// Largest frame 0 as stored.
pub const MAX_STORED_MANIFEST: u64 = MAX_MANIFEST as u64 + (64 << 10);
/// Most entries and assumed blobs of a capsule, together.
pub const MAX_ENTRIES: usize = 100_000;
/// Largest file of rows, in bytes.
pub const MAX_ROWS: u64 = 4 << 30;
/// Largest blob, in bytes.
pub const MAX_BLOB: u64 = 64 << 30;
/// Most content of a capsule, in bytes.
pub const MAX_BYTES: u64 = 4 << 40;
/// Longest line in a file of rows, in bytes: the longest possible is an issued identity.
pub const MAX_LINE: usize = 16 << 20;

/// Why bytes are not a valid capsule.
#[derive(Debug, thiserror::Error)]
pub enum CapsuleError {
    #[error("this is not a kubedos capsule")]
    Magic,
    #[error("the capsule has format {0}, but this program supports format {VERSION}")]
    Version(u32),
    #[error("the capsule's header has {0} bytes, more than allowed")]
    HeaderSize(usize),
    #[error("the header is not signed by the expected site key")]
    Seal(#[from] SealError),
    #[error("reading the capsule's {0}")]
    Json(&'static str, #[source] serde_json::Error),
    #[error("frame {index} has {size} bytes, more than allowed")]
    FrameSize { index: u64, size: u64 },
    #[error("frame {index}")]
    Frame { index: u64, source: SecretError },
    #[error("frame {index} belongs to another position or another capsule")]
    Misplaced { index: u64 },
    #[error("frame {index} has the wrong length for its position")]
    FrameLength { index: u64 },
    #[error("the manifest does not match the capsule's header")]
    OtherManifest,
    #[error("the manifest contradicts the header: {0}")]
    Contradiction(&'static str),
    #[error("the manifest is inconsistent: {0}")]
    Manifest(String),
    #[error("a row of {table}: {what}")]
    Row { table: &'static str, what: String },
}
