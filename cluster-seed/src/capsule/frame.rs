//! Frames: equal pieces of the content, each encrypted separately, so that writing and reading can start at any frame.

use super::{CapsuleError, FRAME, MAX_STORED_FRAME, MAX_STORED_MANIFEST};
use crate::ids::Digest;
use crate::secret::{AgeKey, SecretError, seal_to};

/// Bytes before the content inside the encryption: the capsule's id and the frame's number.
const LABEL: usize = 32 + 8;

fn label(id: &Digest, index: u64) -> [u8; LABEL] {
    let mut bytes = [0u8; LABEL];
    bytes[..32].copy_from_slice(&id.0);
    bytes[32..].copy_from_slice(&index.to_be_bytes());
    bytes
}

/// Number of data frames for `bytes` of content.
pub fn frame_count(bytes: u64) -> u64 {
    bytes.div_ceil(FRAME)
}

/// Bytes of content in data frame `index` (from 1) of a capsule with `bytes` of content.
pub fn frame_payload(bytes: u64, index: u64) -> u64 {
    let start = index.saturating_sub(1).saturating_mul(FRAME);
    bytes.saturating_sub(start).min(FRAME)
}

/// The stored form of a frame: length and ciphertext.
pub fn seal_frame(recipient: &str, id: &Digest, index: u64, content: &[u8]) -> Result<Vec<u8>, CapsuleError> {
    let plain = [&label(id, index)[..], content].concat();
    let ciphertext = seal_to(recipient, &plain).map_err(|source| CapsuleError::Frame { index, source })?;
    let size = ciphertext.len() as u64;
    let length = u32::try_from(size).map_err(|_| CapsuleError::FrameSize { index, size })?;
    Ok([&length.to_be_bytes()[..], &ciphertext].concat())
}

/// Reads a frame's length field; refuses impossible lengths before anything else is read.
pub fn frame_len(index: u64, field: [u8; 4]) -> Result<usize, CapsuleError> {
    let size = u32::from_be_bytes(field);
    let most = if index == 0 { MAX_STORED_MANIFEST } else { MAX_STORED_FRAME };
    if u64::from(size) > most {
        return Err(CapsuleError::FrameSize { index, size: size.into() });
    }
    usize::try_from(size).map_err(|_| CapsuleError::FrameSize { index, size: size.into() })
}

/// The content of a frame, if it is this frame of this capsule.
pub fn open_frame(key: &AgeKey, id: &Digest, index: u64, ciphertext: &[u8]) -> Result<Vec<u8>, CapsuleError> {
    let opened = key.open(ciphertext).map_err(|source| CapsuleError::Frame { index, source })?;
    match opened.expose().split_at_checked(LABEL) {
        Some((found, content)) if found == label(id, index) => Ok(content.to_vec()),
        Some(_) => Err(CapsuleError::Misplaced { index }),
        None => Err(CapsuleError::Frame { index, source: SecretError::Decrypt }),
    }
}
