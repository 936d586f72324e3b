//! The unencrypted part: signer, recipient and size. It reveals nothing else about the site.

use serde::{Deserialize, Serialize};

use super::{CapsuleError, MAGIC, MAX_BYTES, MAX_HEADER, VERSION};
use crate::ids::Digest;
use crate::seal::{Sealable, Sealed, VerifyingKey};

/// Bytes before the header's JSON text: magic and length.
pub const PREFIX: usize = MAGIC.len() + 4;

/// Signed by the site key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CapsuleHeader {
    pub version: u32,
    /// Digest of the sealed manifest's text.
    pub id: Digest,
    /// age recipient of the site it is for.
    pub recipient: String,
    /// Unix seconds by the maker's clock; informational.
    pub created: u64,
    /// Bytes of content, without the manifest.
    pub bytes: u64,
    /// The base capsule, whose blobs are omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Digest>,
}

impl Sealable for CapsuleHeader {
    const PURPOSE: &'static str = "capsule-header";
}

impl CapsuleHeader {
    /// The header, after its signature by `key` was checked.
    pub fn open(sealed: &Sealed<CapsuleHeader>, key: &VerifyingKey) -> Result<Self, CapsuleError> {
        let header = sealed.open(key)?;
        if header.version != VERSION {
            return Err(CapsuleError::Version(header.version));
        }
        if header.bytes > MAX_BYTES {
            return Err(CapsuleError::Contradiction("more content than allowed"));
        }
        Ok(header)
    }
}

/// The clear bytes at the beginning of a capsule.
pub fn header_bytes(sealed: &Sealed<CapsuleHeader>) -> Result<Vec<u8>, CapsuleError> {
    framed_header(MAGIC, sealed)
}

/// A signed header after its magic and its length: the beginning of a capsule or an archive.
pub fn framed_header<T: Sealable>(magic: &[u8; 16], sealed: &Sealed<T>) -> Result<Vec<u8>, CapsuleError> {
    let json = serde_json::to_vec(sealed).map_err(|e| CapsuleError::Json("header", e))?;
    let length = u32::try_from(json.len()).ok().filter(|_| json.len() <= MAX_HEADER);
    let length = length.ok_or(CapsuleError::HeaderSize(json.len()))?;
    Ok([&magic[..], &length.to_be_bytes(), &json].concat())
}

/// Bytes of header that follow the first [`PREFIX`] bytes of a capsule.
pub fn header_len(prefix: &[u8; PREFIX]) -> Result<usize, CapsuleError> {
    framed_len(MAGIC, prefix).ok_or(CapsuleError::Magic)?
}

/// The same for any magic; `None` if the magic differs.
pub fn framed_len(expected: &[u8; 16], prefix: &[u8; PREFIX]) -> Option<Result<usize, CapsuleError>> {
    let (magic, length) = prefix.split_at(expected.len());
    if magic != expected {
        return None;
    }
    let length = length.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
    Some(if length > MAX_HEADER { Err(CapsuleError::HeaderSize(length)) } else { Ok(length) })
}
