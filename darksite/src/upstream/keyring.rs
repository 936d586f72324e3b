//! The OpenPGP certificates we trust, and whether a signature by them is valid at a given time (RFC 9580).
//!
//! rpgp verifies the cryptography; this module checks what rpgp leaves to its caller: bindings, revocations, expiry, key flags,
//! hash strength and unknown critical subpackets.

use cluster_seed::ids::Digest;
use jiff::Timestamp;
use pgp::composed::{Deserializable, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType, SubpacketData};
use pgp::types::{KeyDetails, Tag, VerifyingKey};

/// Bytes of a keyring file.
pub const MAX_KEYRING: usize = 4 << 20;
/// Certificates read from one keyring.
pub const MAX_CERTIFICATES: usize = 256;
/// How far in the future a signature may be dated, in seconds: clocks differ.
pub const MAX_SKEW: i64 = 3600;

#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    #[error("the keyring is too large ({0} bytes)")]
    TooLarge(usize),
    #[error("the keyring contains no readable OpenPGP certificate")]
    Empty,
    #[error("reading the keyring")]
    OpenPgp(#[source] Box<pgp::errors::Error>),
}

/// Why a signature is not valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejected {
    /// Made by none of the keyring's keys.
    UnknownKey,
    /// The bytes are not the signed ones.
    Bad,
    /// The key is not bound by a self-signature, or may not sign.
    Binding,
    Revoked,
    KeyExpired(Timestamp),
    SignatureExpired(Timestamp),
    /// Made after the time it is checked at.
    FromFuture(Timestamp),
    /// An unknown critical subpacket, an unusual hash, or another type of signature.
    Kind,
    /// The signature is by a hash that can be forged.
    WeakHash(&'static str),
    /// The key is bound only by signatures with such a hash.
    WeakBinding(&'static str),
}

/// Continues "the signature …".
impl std::fmt::Display for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Rejected::UnknownKey => f.write_str("is by a key that is not in the keyring"),
            Rejected::Bad => f.write_str("does not match the text"),
            Rejected::Binding => f.write_str("is by a key that may not sign"),
            Rejected::Revoked => f.write_str("is by a revoked key"),
            Rejected::KeyExpired(at) => write!(f, "is by a key that expired at {at}"),
            Rejected::SignatureExpired(at) => write!(f, "expired at {at}"),
            Rejected::FromFuture(at) => write!(f, "is dated {at}, which is in the future"),
            Rejected::Kind => f.write_str("has a type that is not accepted"),
            Rejected::WeakHash(hash) => write!(f, "uses the hash {hash}, which can be forged"),
            Rejected::WeakBinding(hash) => {
                write!(f, "is by a key whose self-signature uses the hash {hash}, which can be forged")
            }
        }
    }
}

/// A pinned set of certificates.
#[derive(Debug, Clone)]
pub struct Keyring {
    bytes: Vec<u8>,
    certificates: Vec<SignedPublicKey>,
}

impl Keyring {
    /// Reads a keyring: binary, or one or more armored blocks with any text around them. Certificates that rpgp does not
    /// support are skipped.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyringError> {
        if bytes.len() > MAX_KEYRING {
            return Err(KeyringError::TooLarge(bytes.len()));
        }
        let (mut certificates, mut failed) = (Vec::new(), None);
        let blocks = armored_blocks(bytes);
        for block in &blocks {
            match SignedPublicKey::from_armor_many(block.as_bytes()) {
                Ok((keys, _)) => certificates.extend(keys.take(MAX_CERTIFICATES).filter_map(Result::ok)),
                Err(e) => failed = Some(e),
            }
        }
        if blocks.is_empty() {
            match SignedPublicKey::from_bytes_many(bytes) {
                Ok(keys) => certificates.extend(keys.take(MAX_CERTIFICATES).filter_map(Result::ok)),
                Err(e) => failed = Some(e),
            }
        }
        certificates.truncate(MAX_CERTIFICATES);
        match (certificates.is_empty(), failed) {
            (true, Some(e)) => Err(KeyringError::OpenPgp(Box::new(e))),
            (true, None) => Err(KeyringError::Empty),
            (false, _) => Ok(Keyring { bytes: bytes.to_vec(), certificates }),
        }
    }

    /// The bytes it was read from, for a `Signed-By` file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// Fingerprints of the certificates, upper-case hex, sorted.
    pub fn fingerprints(&self) -> Vec<String> {
        let mut all: Vec<_> = self.certificates.iter().map(|c| fingerprint(&c.primary_key)).collect();
        all.sort();
        all
    }

    /// Verifies a signature over `data` as of `at`; returns the fingerprint of the certificate that made it.
    pub fn check(&self, signature: &Signature, data: &[u8], at: Timestamp) -> Result<String, Rejected> {
        accepted_kind(signature)?;
        let mut why = Rejected::UnknownKey;
        for certificate in &self.certificates {
            match check_by(certificate, signature, data, at) {
                Ok(()) => return Ok(fingerprint(&certificate.primary_key)),
                Err(Rejected::UnknownKey) => {}
                Err(other) => why = other,
            }
        }
        Err(why)
    }
}

/// The armored blocks of certificates in a text, with plain line ends. None in a binary keyring.
fn armored_blocks(bytes: &[u8]) -> Vec<String> {
    const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
    const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";
    if memchr::memmem::find(bytes, BEGIN.as_bytes()).is_none() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(bytes);
    let (mut blocks, mut open): (Vec<String>, Option<String>) = (Vec::new(), None);
    for line in text.lines().map(str::trim) {
        // A byte order mark may precede the first one.
        if line.ends_with(BEGIN) {
            open = (blocks.len() < MAX_CERTIFICATES).then(String::new);
        }
        let Some(block) = &mut open else { continue };
        block.push_str(if line.ends_with(BEGIN) { BEGIN } else { line });
        block.push('\n');
        if line == END {
            blocks.extend(open.take());
        }
    }
    blocks
}

/// Upper-case hex of a key's fingerprint.
pub fn fingerprint(key: &impl KeyDetails) -> String {
    format!("{:X}", key.fingerprint())
}

fn accepted_kind(signature: &Signature) -> Result<(), Rejected> {
    let kind = matches!(signature.typ(), Some(SignatureType::Text | SignatureType::Binary));
    if let Some(hash) = weak_hash(signature) {
        return Err(Rejected::WeakHash(hash));
    }
    if kind && is_sound(signature) { Ok(()) } else { Err(Rejected::Kind) }
}

/// The name of a hash for which signatures can be forged.
fn weak_hash(signature: &Signature) -> Option<&'static str> {
    match signature.hash_alg()? {
        HashAlgorithm::Md5 => Some("MD5"),
        HashAlgorithm::Sha1 => Some("SHA-1"),
        HashAlgorithm::Ripemd160 => Some("RIPEMD-160"),
        _ => None,
    }
}

/// Why there is no self-signature that counts.
fn unbound<'a>(mut signatures: impl Iterator<Item = &'a Signature>) -> Rejected {
    signatures.find_map(weak_hash).map_or(Rejected::Binding, Rejected::WeakBinding)
}

/// SHA-256 or stronger, and no critical subpacket whose meaning is unknown here (RFC 9580 section 5.2.3.7).
fn is_sound(signature: &Signature) -> bool {
    let strong = matches!(signature.hash_alg(), Some(HashAlgorithm::Sha256 | HashAlgorithm::Sha384 | HashAlgorithm::Sha512));
    let known = signature.config().is_some_and(|config| {
        config.hashed_subpackets().all(|s| {
            !s.is_critical
                || !matches!(s.data, SubpacketData::Other(..) | SubpacketData::Experimental(..) | SubpacketData::Notation(..))
        })
    });
    strong && known
}

fn check_by(cert: &SignedPublicKey, signature: &Signature, data: &[u8], at: Timestamp) -> Result<(), Rejected> {
    if names(signature, &cert.primary_key) {
        let own = primary_self_signature(cert, at)?;
        if !own.key_flags().sign() {
            return Err(Rejected::Binding);
        }
        return check_data(signature, &cert.primary_key, data, at);
    }
    for subkey in &cert.public_subkeys {
        if names(signature, &subkey.key) {
            primary_self_signature(cert, at)?;
            subkey_may_sign(cert, subkey, at)?;
            return check_data(signature, &subkey.key, data, at);
        }
    }
    Err(Rejected::UnknownKey)
}

fn names(signature: &Signature, key: &impl KeyDetails) -> bool {
    let by_print = signature.issuer_fingerprint();
    if by_print.is_empty() {
        signature.issuer_key_id().iter().any(|id| **id == key.legacy_key_id())
    } else {
        by_print.iter().any(|print| **print == key.fingerprint())
    }
}

fn check_data(signature: &Signature, key: &impl VerifyingKey, data: &[u8], at: Timestamp) -> Result<(), Rejected> {
    signature.verify(key, data).map_err(|_| Rejected::Bad)?;
    let created = signature.created().ok_or(Rejected::Kind)?;
    let created = seconds(created.as_secs());
    if created.as_second() > at.as_second() + MAX_SKEW {
        return Err(Rejected::FromFuture(created));
    }
    match expiry(created, signature.signature_expiration_time()) {
        Some(end) if end < at => Err(Rejected::SignatureExpired(end)),
        _ => Ok(()),
    }
}

/// The newest valid self-signature on the primary key, if the key is neither revoked nor expired at `at`.
fn primary_self_signature(cert: &SignedPublicKey, at: Timestamp) -> Result<&Signature, Rejected> {
    let key = &cert.primary_key;
    if cert.details.revocation_signatures.iter().any(|s| s.verify_key(key).is_ok()) {
        return Err(Rejected::Revoked);
    }
    let on_users = cert.details.users.iter().flat_map(|user| {
        let revoked = user.signatures.iter().any(|s| {
            s.typ() == Some(SignatureType::CertRevocation) && s.verify_certification(key, Tag::UserId, &user.id).is_ok()
        });
        user.signatures.iter().filter(move |s| {
            !revoked
                && s.typ() != Some(SignatureType::CertRevocation)
                && s.verify_certification(key, Tag::UserId, &user.id).is_ok()
        })
    });
    let direct = cert.details.direct_signatures.iter().filter(|s| s.verify_key(key).is_ok());
    let all = || cert.details.users.iter().flat_map(|u| &u.signatures).chain(&cert.details.direct_signatures);
    let all = || all().filter(|s| names(s, key));
    let own = newest(on_users.chain(direct), at).ok_or_else(|| unbound(all()))?;
    not_expired(key, own, at)?;
    Ok(own)
}

fn subkey_may_sign(cert: &SignedPublicKey, subkey: &SignedPublicSubKey, at: Timestamp) -> Result<(), Rejected> {
    let valid = |s: &&Signature| s.verify_subkey_binding(&cert.primary_key, &subkey.key).is_ok();
    if subkey.signatures.iter().filter(valid).any(|s| s.typ() == Some(SignatureType::SubkeyRevocation)) {
        return Err(Rejected::Revoked);
    }
    let binding = newest(subkey.signatures.iter().filter(valid), at).ok_or_else(|| unbound(subkey.signatures.iter()))?;
    // Without the subkey's own signature anybody could adopt someone else's signing key (RFC 9580 section 5.2.1.9).
    let back = binding.embedded_signature().is_some_and(|s| s.verify_primary_key_binding(&subkey.key, &cert.primary_key).is_ok());
    if !binding.key_flags().sign() || !back {
        return Err(Rejected::Binding);
    }
    not_expired(&subkey.key, binding, at)
}

fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>, at: Timestamp) -> Option<&'a Signature> {
    let made = |s: &Signature| s.created().map(|t| i64::from(t.as_secs()));
    signatures
        .filter(|s| is_sound(s) && made(s).is_some_and(|t| t <= at.as_second() + MAX_SKEW))
        .filter(|s| match (made(s), s.signature_expiration_time()) {
            (Some(t), Some(life)) if life.as_secs() > 0 => t + i64::from(life.as_secs()) >= at.as_second(),
            _ => true,
        })
        .max_by_key(|s| made(s))
}

fn not_expired(key: &impl KeyDetails, own: &Signature, at: Timestamp) -> Result<(), Rejected> {
    let created = seconds(key.created_at().as_secs());
    match expiry(created, own.key_expiration_time()) {
        Some(end) if end < at => Err(Rejected::KeyExpired(end)),
        _ => Ok(()),
    }
}

fn expiry(from: Timestamp, life: Option<pgp::types::Duration>) -> Option<Timestamp> {
    let life = life.map(pgp::types::Duration::as_secs).filter(|&s| s > 0)?;
    Timestamp::from_second(from.as_second() + i64::from(life)).ok()
}

fn seconds(secs: u32) -> Timestamp {
    // Every u32 of seconds lies within jiff's range (year 2106 at most).
    Timestamp::from_second(i64::from(secs)).unwrap_or(Timestamp::UNIX_EPOCH)
}
