//! The digest that a signed index gives for a file: SHA-256, or SHA-512 where a repository lists nothing else.

use std::fmt;

use cluster_seed::ids::Digest;
use sha2::{Digest as _, Sha512};

/// Weaker digests (MD5, SHA-1) are not read: they prove nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sum {
    Sha256(Digest),
    Sha512([u8; 64]),
}

impl Sum {
    /// Reads 64 or 128 hexadecimal digits of either case.
    pub fn parse(hex_digits: &str) -> Option<Sum> {
        if let Ok(digest) = hex_digits.parse() {
            return Some(Sum::Sha256(digest));
        }
        let lower = hex_digits.to_ascii_lowercase();
        if lower.len() == 64 {
            return lower.parse().ok().map(Sum::Sha256);
        }
        let mut sum = [0; 64];
        hex::decode_to_slice(&lower, &mut sum).ok().map(|()| Sum::Sha512(sum))
    }

    /// The name of its field in a Release file or a stanza.
    pub fn field(&self) -> &'static str {
        match self {
            Sum::Sha256(_) => "SHA256",
            Sum::Sha512(_) => "SHA512",
        }
    }

    /// Its name in a sentence.
    pub fn name(&self) -> &'static str {
        match self {
            Sum::Sha256(_) => "sha256",
            Sum::Sha512(_) => "sha512",
        }
    }

    /// The digest of bytes, of the same kind.
    pub fn again(&self, bytes: &[u8]) -> Sum {
        match self {
            Sum::Sha256(_) => Sum::Sha256(Digest::of(bytes)),
            Sum::Sha512(_) => Sum::Sha512(Sha512::digest(bytes).into()),
        }
    }

    /// True for the bytes with this digest.
    pub fn fits(&self, bytes: &[u8]) -> bool {
        self.again(bytes) == *self
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sum::Sha256(digest) => digest.fmt(f),
            Sum::Sha512(sum) => f.write_str(&hex::encode(sum)),
        }
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {self}", self.field())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_in_both_cases() {
        let digest = Digest::of(b"a");
        let long = Sum::Sha512(Sha512::digest(b"a").into());
        for sum in [Sum::Sha256(digest), long] {
            assert_eq!(Sum::parse(&sum.to_string()), Some(sum));
            assert_eq!(Sum::parse(&sum.to_string().to_uppercase()), Some(sum));
            assert!(sum.fits(b"a") && !sum.fits(b"b"));
        }
        for bad in [0, 32, 40, 63, 65, 127, 129] {
            assert_eq!(Sum::parse(&"a".repeat(bad)), None, "{bad}");
        }
        assert_eq!(Sum::parse(&"g".repeat(64)), None);
    }
}
