//! A controller's certificate: its key, what is weak about it, and signatures of keys that rustls does not take.
//!
//! Controllers show certificates of version 1, with keys of 1024 bits, or with fields that strict parsers refuse. The pin
//! covers the bytes of the whole certificate, so that only the key is read here, and nothing else decides anything.

use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::sha2::{Digest as _, Sha256, Sha384, Sha512};
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, Pss, RsaPublicKey};
use rustls::SignatureScheme;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;

/// Shortest RSA key taken, in bits; below that a handshake proves nothing.
pub const MIN_RSA: usize = 1024;
/// RSA keys from here on, in bits, are not called short (NIST SP 800-131A).
const GOOD_RSA: usize = 2048;
/// `rsaEncryption` with its null, the content of an AlgorithmIdentifier (RFC 3279, 2.3.1).
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
/// The version, which certificates of version 1 do not have (RFC 5280, 4.1).
const VERSION: u8 = 0xa0;

/// The first value in DER: its tag, its content, and what follows.
fn value(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x0f))?;
            (digits.iter().fold(0, |n, d| n << 8 | usize::from(*d)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn of_tag(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    value(der).filter(|(t, ..)| *t == tag).map(|(_, content, rest)| (content, rest))
}

/// A public key: the content of its AlgorithmIdentifier, and its bits.
struct Key<'c> {
    algorithm: &'c [u8],
    bits: &'c [u8],
    /// The certificate is of version 1.
    first: bool,
}

/// Reads subjectPublicKeyInfo; the fields before it are skipped (RFC 5280, 4.1).
fn key(certificate: &[u8]) -> Option<Key<'_>> {
    let (certificate, _) = of_tag(certificate, SEQUENCE)?;
    let (body, _) = of_tag(certificate, SEQUENCE)?;
    let (first, mut rest) = match of_tag(body, VERSION) {
        Some((_, rest)) => (false, rest),
        None => (true, body),
    };
    // Serial number, signature algorithm, issuer, validity, subject.
    for _ in 0..5 {
        (_, _, rest) = value(rest)?;
    }
    let (info, _) = of_tag(rest, SEQUENCE)?;
    let (algorithm, rest) = of_tag(info, SEQUENCE)?;
    let (&unused, bits) = of_tag(rest, BIT_STRING)?.0.split_first()?;
    (unused == 0).then_some(Key { algorithm, bits, first })
}

impl Key<'_> {
    fn rsa(&self) -> Option<RsaPublicKey> {
        (self.algorithm == RSA).then(|| RsaPublicKey::from_pkcs1_der(self.bits).ok())?
    }
}

/// What an operator should know before he trusts it, as a sentence; `None` for what is usual.
pub fn weakness(certificate: &[u8]) -> Option<String> {
    let key = key(certificate)?;
    let bits = key.rsa().map(|k| k.n().bits()).filter(|bits| *bits < GOOD_RSA);
    let short = bits.map(|bits| format!("its RSA key has {bits} bits, which can be broken; 2048 are usual"));
    let first = key.first.then(|| "it is an X.509 certificate of version 1, which is obsolete".to_owned());
    let all: Vec<String> = first.into_iter().chain(short).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Its key is one that rustls cannot check the signatures of, or it is not parsed by it.
pub fn is_old(certificate: &CertificateDer<'_>) -> bool {
    weakness(certificate).is_some() || ParsedCertificate::try_from(certificate).is_err()
}

/// Whether the handshake's `signature` over `message` is by the key of an old certificate. `modern`: TLS 1.3, which has no
/// PKCS #1 v1.5 (RFC 8446, 4.2.3). SHA-1 is not taken.
pub fn is_signed(
    certificate: &[u8],
    scheme: SignatureScheme,
    message: &[u8],
    signature: &[u8],
    modern: bool,
    known: &WebPkiSupportedAlgorithms,
) -> bool {
    let Some(key) = key(certificate) else { return false };
    if key.algorithm == RSA {
        return key.rsa().filter(|k| k.n().bits() >= MIN_RSA).is_some_and(|k| by_rsa(&k, scheme, message, signature, modern));
    }
    let algorithms = known.mapping.iter().find(|(s, _)| *s == scheme).map_or(&[][..], |(_, all)| all);
    // In TLS 1.3 a scheme names its curve; the first of the list is of that one.
    let algorithms = &algorithms[..if modern { algorithms.len().min(1) } else { algorithms.len() }];
    let fitting = algorithms.iter().find(|a| a.public_key_alg_id().as_ref() == key.algorithm);
    fitting.is_some_and(|a| a.verify_signature(key.bits, message, signature).is_ok())
}

fn by_rsa(key: &RsaPublicKey, scheme: SignatureScheme, message: &[u8], signature: &[u8], modern: bool) -> bool {
    use SignatureScheme as S;
    let (s256, s384, s512) = (|| Sha256::digest(message), || Sha384::digest(message), || Sha512::digest(message));
    let good = match scheme {
        S::RSA_PSS_SHA256 => key.verify(Pss::new::<Sha256>(), &s256(), signature),
        S::RSA_PSS_SHA384 => key.verify(Pss::new::<Sha384>(), &s384(), signature),
        S::RSA_PSS_SHA512 => key.verify(Pss::new::<Sha512>(), &s512(), signature),
        S::RSA_PKCS1_SHA256 if !modern => key.verify(Pkcs1v15Sign::new::<Sha256>(), &s256(), signature),
        S::RSA_PKCS1_SHA384 if !modern => key.verify(Pkcs1v15Sign::new::<Sha384>(), &s384(), signature),
        S::RSA_PKCS1_SHA512 if !modern => key.verify(Pkcs1v15Sign::new::<Sha512>(), &s512(), signature),
        _ => return false,
    };
    good.is_ok()
}

/// The fingerprint for people: sha256 in upper-case hex pairs with colons.
pub fn shown(hex: &str) -> String {
    let upper = hex.to_uppercase();
    upper.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).into_owned()).collect::<Vec<_>>().join(":")
}

/// What was typed as a fingerprint, in lower-case hex: with or without colons, spaces and `sha256`.
pub fn fingerprint(typed: &str) -> Option<String> {
    let lower = typed.trim().to_ascii_lowercase();
    let rest = ["sha256", "sha-256"].iter().find_map(|word| lower.strip_prefix(word)).unwrap_or(&lower);
    let hex: String = rest.chars().filter(|c| !matches!(c, ':' | ' ' | '=' | '-')).collect();
    (hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit())).then_some(hex)
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
