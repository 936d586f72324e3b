//! `Sealed<T>`: a JSON document with a detached ed25519 signature (RFC 8032) over its exact bytes.
//!
//! The signed bytes are `kubedos:<purpose>:v1\0` followed by the payload's JSON text as it stands in the envelope,
//! so no canonical form is needed, and a signature for one purpose is not valid for another.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use ed25519_dalek::{Signature, Signer as _};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;

use crate::ids::Digest;

pub use ed25519_dalek::{SigningKey, VerifyingKey};

/// Payloads above this many bytes are refused before they are parsed.
pub const MAX_PAYLOAD: usize = 16 << 20;

/// A document that can be sealed; `PURPOSE` separates the signatures of different kinds of document.
pub trait Sealable: Serialize + DeserializeOwned {
    const PURPOSE: &'static str;
}

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("the signature does not match the document and the expected key")]
    Signature,
    #[error("signed by key {found}, expected {expected}")]
    WrongKey { found: String, expected: String },
    #[error("the document has {0} bytes, more than allowed")]
    TooLarge(usize),
    #[error("not a public key (want 64 hex digits of an ed25519 point)")]
    BadKey,
    #[error("reading the signed document")]
    Json(#[from] serde_json::Error),
}

/// The envelope. `payload` is the JSON text that was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed<T> {
    payload: String,
    /// Signer's public key in hex; a hint for messages, never trusted by itself.
    key: String,
    /// 64 signature bytes in base64.
    signature: String,
    #[serde(skip)]
    kind: PhantomData<fn() -> T>,
}

impl<T: Sealable> Sealed<T> {
    pub fn sign(document: &T, key: &SigningKey) -> Result<Self, SealError> {
        let payload = serde_json::to_string(document)?;
        let signature = key.sign(&message(T::PURPOSE, &payload));
        Ok(Sealed {
            payload,
            key: key_text(&key.verifying_key()),
            signature: B64.encode(signature.to_bytes()),
            kind: PhantomData,
        })
    }

    /// The signer according to the envelope: a hint for messages until [`Sealed::open`] has verified it.
    pub fn claimed_key(&self) -> &str {
        &self.key
    }

    /// SHA-256 of the bytes that are signed: what another document refers to.
    pub fn digest(&self) -> Digest {
        Digest::of(&message(T::PURPOSE, &self.payload))
    }

    /// The document, after its signature by `key` was checked (`verify_strict`).
    pub fn open(&self, key: &VerifyingKey) -> Result<T, SealError> {
        if self.payload.len() > MAX_PAYLOAD {
            return Err(SealError::TooLarge(self.payload.len()));
        }
        let expected = key_text(key);
        if self.key != expected {
            return Err(SealError::WrongKey { found: self.key.chars().take(64).collect(), expected });
        }
        let bytes = B64.decode(&self.signature).map_err(|_| SealError::Signature)?;
        let signature = Signature::from_slice(&bytes).map_err(|_| SealError::Signature)?;
        key.verify_strict(&message(T::PURPOSE, &self.payload), &signature).map_err(|_| SealError::Signature)?;
        Ok(serde_json::from_str(&self.payload)?)
    }
}

/// The signature alone, in base64, of a document that the reader can put together himself.
///
/// # Errors
/// If the document cannot be written as JSON.
pub fn detached<T: Sealable>(document: &T, key: &SigningKey) -> Result<String, SealError> {
    let payload = serde_json::to_string(document)?;
    Ok(B64.encode(key.sign(&message(T::PURPOSE, &payload)).to_bytes()))
}

/// Verifies what [`detached`] made (`verify_strict`).
///
/// # Errors
/// If `signature` is not this key's signature of this document.
pub fn check_detached<T: Sealable>(document: &T, signature: &str, key: &VerifyingKey) -> Result<(), SealError> {
    let payload = serde_json::to_string(document)?;
    let bytes = B64.decode(signature).map_err(|_| SealError::Signature)?;
    let signature = Signature::from_slice(&bytes).map_err(|_| SealError::Signature)?;
    key.verify_strict(&message(T::PURPOSE, &payload), &signature).map_err(|_| SealError::Signature)
}

fn message(purpose: &str, payload: &str) -> Vec<u8> {
    [b"kubedos:", purpose.as_bytes(), b":v1\0", payload.as_bytes()].concat()
}

/// A public key as 64 lower-case hex digits.
pub fn key_text(key: &VerifyingKey) -> String {
    hex::encode(key.to_bytes())
}

/// Parses the output of [`key_text`].
pub fn key_from_text(text: &str) -> Result<VerifyingKey, SealError> {
    let mut bytes = [0u8; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| SealError::BadKey)?;
    let key = VerifyingKey::from_bytes(&bytes).map_err(|_| SealError::BadKey)?;
    if key.is_weak() { Err(SealError::BadKey) } else { Ok(key) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        text: String,
    }
    impl Sealable for Note {
        const PURPOSE: &'static str = "note";
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Other {
        text: String,
    }
    impl Sealable for Other {
        const PURPOSE: &'static str = "other";
    }

    fn key(n: u8) -> SigningKey {
        SigningKey::from_bytes(&[n; 32])
    }

    #[test]
    fn opens_with_the_right_key_only() {
        let sealed = Sealed::sign(&Note { text: "hello".into() }, &key(1)).unwrap();
        assert_eq!(sealed.open(&key(1).verifying_key()).unwrap().text, "hello");
        assert!(matches!(sealed.open(&key(2).verifying_key()), Err(SealError::WrongKey { .. })));
    }

    #[test]
    fn a_signature_for_one_purpose_is_not_valid_for_another() {
        let sealed = Sealed::sign(&Note { text: "hello".into() }, &key(1)).unwrap();
        let json = serde_json::to_string(&sealed).unwrap();
        let other: Sealed<Other> = serde_json::from_str(&json).unwrap();
        assert!(matches!(other.open(&key(1).verifying_key()), Err(SealError::Signature)));
    }

    #[test]
    fn every_flipped_byte_is_refused() {
        let sealed = Sealed::sign(&Note { text: "hello".into() }, &key(1)).unwrap();
        let json = serde_json::to_vec(&sealed).unwrap();
        for at in 0..json.len() {
            let mut bad = json.clone();
            bad[at] ^= 1;
            let opened = serde_json::from_slice::<Sealed<Note>>(&bad).ok().and_then(|s| s.open(&key(1).verifying_key()).ok());
            assert!(opened.is_none(), "byte {at} of {} flipped without an error", json.len());
        }
    }
}
