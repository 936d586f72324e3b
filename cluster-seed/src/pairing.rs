//! Commit-reveal pairing: a short code that both sides derive and a person compares.
//!
//! The construction is the short-authentication-string protocol of Vaudenay (CRYPTO 2005), as used by ZRTP (RFC 6189
//! section 4.4.1): the machine commits to its keys and nonce before it sees the seed's nonce, so somebody in the
//! middle has to fix every value blind and meets the right code once in a million tries.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::ids::Digest;
use crate::seal::VerifyingKey;

/// 32 random bytes, in hex on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nonce(pub Digest);

impl Nonce {
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Nonce(Digest(bytes))
    }
}

/// What the machine commits to and later reveals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineKeys<'a> {
    /// The machine's age recipient, `age1…`.
    pub recipient: &'a str,
    pub node_key: &'a VerifyingKey,
    pub nonce: Nonce,
}

/// The commitment sent first: SHA-256 over a domain tag and the length-prefixed values.
pub fn commitment(keys: &MachineKeys<'_>) -> Digest {
    let mut h = Sha256::new();
    feed(&mut h, b"kubedos:pairing-commit:v1");
    feed_keys(&mut h, keys);
    Digest(h.finalize().into())
}

/// True if `keys` are the ones that were committed to.
pub fn opens(commitment_received: &Digest, keys: &MachineKeys<'_>) -> bool {
    commitment(keys).0.ct_eq(&commitment_received.0).into()
}

/// The six digits that machine and seed both derive.
pub fn code(keys: &MachineKeys<'_>, site_key: &VerifyingKey, seed_nonce: &Nonce) -> Code {
    let mut h = Sha256::new();
    feed(&mut h, b"kubedos:pairing-code:v1");
    feed_keys(&mut h, keys);
    feed(&mut h, site_key.as_bytes());
    feed(&mut h, &seed_nonce.0.0);
    let digest: [u8; 32] = h.finalize().into();
    let mut first = [0u8; 8];
    first.copy_from_slice(&digest[..8]);
    // 2^64 is not a multiple of a million; the bias is below 1e-13.
    Code((u64::from_be_bytes(first) % 1_000_000) as u32)
}

fn feed(h: &mut Sha256, bytes: &[u8]) {
    h.update((bytes.len() as u64).to_be_bytes());
    h.update(bytes);
}

fn feed_keys(h: &mut Sha256, keys: &MachineKeys<'_>) {
    feed(h, keys.recipient.as_bytes());
    feed(h, keys.node_key.as_bytes());
    feed(h, &keys.nonce.0.0);
}

/// A pairing code, 000000 to 999999. Shown as `123 456`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code(u32);

impl Code {
    /// Reads what an operator typed: six digits, spaces and dashes between them allowed.
    pub fn parse(typed: &str) -> Option<Self> {
        if typed.len() > 32 {
            return None;
        }
        let digits: String = typed.chars().filter(|c| !matches!(c, ' ' | '-' | '\u{a0}')).collect();
        if digits.len() != 6 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        digits.parse().ok().map(Code)
    }

    /// Compares in constant time.
    pub fn matches(&self, other: &Code) -> bool {
        self.0.to_be_bytes().ct_eq(&other.0.to_be_bytes()).into()
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:03} {:03}", self.0 / 1000, self.0 % 1000)
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Code(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::SigningKey;

    fn nonce(n: u8) -> Nonce {
        Nonce::from_random([n; 32])
    }

    #[test]
    fn both_sides_derive_the_same_code_and_any_change_another() {
        let node = SigningKey::from_bytes(&[1; 32]).verifying_key();
        let site = SigningKey::from_bytes(&[2; 32]).verifying_key();
        let evil = SigningKey::from_bytes(&[3; 32]).verifying_key();
        let keys = MachineKeys { recipient: "age1abc", node_key: &node, nonce: nonce(9) };
        let c = commitment(&keys);
        assert!(opens(&c, &keys));
        let first = code(&keys, &site, &nonce(5));
        assert!(first.matches(&code(&keys, &site, &nonce(5))));
        for (other, key, seed_nonce) in [
            (MachineKeys { recipient: "age1abd", ..keys.clone() }, &site, nonce(5)),
            (MachineKeys { node_key: &evil, ..keys.clone() }, &site, nonce(5)),
            (MachineKeys { nonce: nonce(8), ..keys.clone() }, &site, nonce(5)),
        ] {
            assert!(!opens(&c, &other));
            assert!(!first.matches(&code(&other, key, &seed_nonce)));
        }
        assert!(!first.matches(&code(&keys, &evil, &nonce(5))));
        assert!(!first.matches(&code(&keys, &site, &nonce(6))));
    }

    #[test]
    fn codes_are_read_as_people_type_them() {
        for typed in ["012 345", "012345", "012-345", " 012345 "] {
            assert_eq!(Code::parse(typed).unwrap().to_string(), "012 345");
        }
        for typed in ["", "12345", "1234567", "12345a", "١٢٣٤٥٦", "+12345"] {
            assert!(Code::parse(typed).is_none(), "{typed}");
        }
    }
}
