//! Validated names: MAC addresses, digests, host names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("not a MAC address (want aa:bb:cc:dd:ee:ff): {0:?}")]
    Mac(String),
    #[error("not a sha256 digest (want 64 lower-case hex digits): {0:?}")]
    Digest(String),
    #[error("not a host name (labels of a-z, 0-9 and -, 1 to 63 long, 253 in all): {0:?}")]
    Hostname(String),
    #[error("not an id (want 32 lower-case hex digits): {0:?}")]
    Id(String),
}

/// The text of an error is cut to this many characters: it may come from the wire.
const SHOWN: usize = 64;

fn shown(s: &str) -> String {
    s.chars().take(SHOWN).collect()
}

macro_rules! as_text {
    ($t:ty) => {
        impl Serialize for $t {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $t {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
        impl fmt::Debug for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    };
}

/// An Ethernet hardware address (EUI-48), printed in lower case with colons.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = IdError;
    /// Accepts `:` and `-` between the bytes (iPXE's `${net0/mac:hexhyp}`), any case.
    fn from_str(s: &str) -> Result<Self, IdError> {
        let bad = || IdError::Mac(shown(s));
        if s.len() != 17 {
            return Err(bad());
        }
        let mut out = [0u8; 6];
        let mut parts = s.split([':', '-']);
        for slot in &mut out {
            let part = parts.next().ok_or_else(bad)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(bad());
            }
            *slot = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() { Err(bad()) } else { Ok(Mac(out)) }
    }
}
as_text!(Mac);

/// A SHA-256 digest (FIPS 180-4), the name of every built thing. Printed as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Digest(Sha256::digest(bytes).into())
    }

    /// The first 12 hex digits, for people to read.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Digest {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        if !is_lower_hex(s, 64) {
            return Err(IdError::Digest(shown(s)));
        }
        let mut out = [0u8; 32];
        hex::decode_to_slice(s, &mut out).map_err(|_| IdError::Digest(shown(s)))?;
        Ok(Digest(out))
    }
}
as_text!(Digest);

fn is_lower_hex(s: &str, len: usize) -> bool {
    s.len() == len && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A host name by RFC 1123 section 2.1, lower case, with or without a domain.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hostname(String);

impl Hostname {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first dot.
    pub fn label(&self) -> &str {
        self.0.split('.').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Hostname {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        let label_ok = |l: &str| {
            !l.is_empty()
                && l.len() <= 63
                && l.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
                && !l.starts_with('-')
                && !l.ends_with('-')
        };
        // A name of digits and dots alone would be read as an address (RFC 1123 2.1).
        let looks_like_address = s.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if s.is_empty() || s.len() > 253 || looks_like_address || !s.split('.').all(label_ok) {
            return Err(IdError::Hostname(shown(s)));
        }
        Ok(Hostname(s.to_owned()))
    }
}
as_text!(Hostname);

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(s: &str) -> Result<Self, IdError> {
                if !is_lower_hex(s, 32) {
                    return Err(IdError::Id(shown(s)));
                }
                let mut out = [0u8; 16];
                hex::decode_to_slice(s, &mut out).map_err(|_| IdError::Id(shown(s)))?;
                Ok($name(out))
            }
        }
        as_text!($name);
    };
}

random_id!(
    /// One enrollment of one machine, from hello to converged. 16 random bytes; not a secret.
    EnrollmentId
);
random_id!(
    /// One node of the fleet. 16 random bytes made at approval.
    NodeId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_reads_both_separators_and_prints_one() {
        for text in ["52:54:00:AB:cd:01", "52-54-00-ab-cd-01"] {
            let mac: Mac = text.parse().unwrap();
            assert_eq!(mac.to_string(), "52:54:00:ab:cd:01");
        }
    }

    #[test]
    fn mac_refuses_other_texts() {
        for text in ["", "52:54:00:ab:cd", "52:54:00:ab:cd:01:", "52:54:00:ab:cd:+1", "5254:00:ab:cd:001", "zz:54:00:ab:cd:01"] {
            assert!(text.parse::<Mac>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn digest_is_lower_case_and_exact() {
        let d = Digest::of(b"abc");
        let text = d.to_string();
        assert_eq!(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(text.parse::<Digest>().unwrap(), d);
        assert!(text.to_uppercase().parse::<Digest>().is_err());
        assert!(text[..63].parse::<Digest>().is_err());
        assert!(format!("{text}0").parse::<Digest>().is_err());
    }

    #[test]
    fn host_names_at_their_limits() {
        let l63 = "a".repeat(63);
        let l64 = "a".repeat(64);
        let n253 = format!("{l63}.{l63}.{l63}.{}", "a".repeat(61));
        let n254 = format!("{l63}.{l63}.{l63}.{}", "a".repeat(62));
        for ok in ["a", "web-1", "web-1.example.lan", l63.as_str(), n253.as_str(), "1a"] {
            assert!(ok.parse::<Hostname>().is_ok(), "{ok}");
        }
        for bad in
            ["", "-a", "a-", "a..b", ".a", "a.", "A", "a_b", "a b", "a\nb", "10.0.0.1", "12", l64.as_str(), n254.as_str(), "<b>"]
        {
            assert!(bad.parse::<Hostname>().is_err(), "{bad}");
        }
    }
}
