//! Join tokens: a machine that was given one enrolls without an operator, within the token's limits.
//!
//! The pairing is the same, but its password comes from the token's secret instead of six digits on a console. The seed holds
//! the secret too and plays the operator. A token's secret has 128 bits: nobody looks at each attempt, so it must also resist
//! an attacker who tries again and again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::pairing::PairingSecret;

/// Random bytes that [`JoinToken::from_random`] needs.
pub const TOKEN_RANDOM: usize = ID + SECRET;
const ID: usize = 4;
const SECRET: usize = 16;
const PREFIX: &str = "kjt";
/// Separates this use of the secret from any other.
const PURPOSE: &[u8] = b"kubedos:join-token:v1\0";

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("not a join token (want {PREFIX}-ID-SECRET with {} and {} hex digits)", ID * 2, SECRET * 2)]
    Form,
    #[error("not the id of a join token (want {} hex digits)", ID * 2)]
    Id,
}

/// Reads lower-case hex digits of exactly this length.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let plain = text.len() == N * 2 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (plain && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

/// The public part of a token: the machine names it in its hello.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId([u8; ID]);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for TokenId {
    type Err = TokenError;
    fn from_str(text: &str) -> Result<Self, TokenError> {
        hex(text).map(TokenId).ok_or(TokenError::Id)
    }
}

impl Serialize for TokenId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A token: its id and its secret.
pub struct JoinToken {
    pub id: TokenId,
    secret: Zeroizing<[u8; SECRET]>,
}

impl JoinToken {
    pub fn from_random(bytes: &[u8; TOKEN_RANDOM]) -> Self {
        let (mut id, mut secret) = ([0; ID], Zeroizing::new([0; SECRET]));
        id.copy_from_slice(&bytes[..ID]);
        secret.copy_from_slice(&bytes[ID..]);
        JoinToken { id: TokenId(id), secret }
    }

    /// `kjt-ID-SECRET`, for the operator and for join.json.
    pub fn to_text(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(hex::encode(*self.secret));
        Zeroizing::new(format!("{PREFIX}-{}-{}", self.id, *secret))
    }

    /// What the pairing proves: SHA-256 over the purpose, the id and the secret.
    pub fn pairing_secret(&self) -> PairingSecret {
        let mut hash = Sha256::new();
        hash.update(PURPOSE);
        hash.update(self.id.0);
        hash.update(*self.secret);
        PairingSecret::of_token(hash.finalize().into())
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    /// White space around it is ignored.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut parts = text.trim().split('-');
        let (Some(PREFIX), Some(id), Some(secret), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(TokenError::Form);
        };
        let secret = hex(secret).map(Zeroizing::new).ok_or(TokenError::Form)?;
        Ok(JoinToken { id: hex(id).map(TokenId).ok_or(TokenError::Form)?, secret })
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({}, ..)", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "kjt-0a1b2c3d-000102030405060708090a0b0c0d0e0f";

    #[test]
    fn a_token_is_written_and_read_and_prints_no_secret() {
        let token: JoinToken = TEXT.parse().unwrap();
        assert_eq!(*token.to_text(), TEXT);
        assert_eq!(*format!(" {TEXT}\n").parse::<JoinToken>().unwrap().to_text(), TEXT);
        assert_eq!(format!("{token:?}"), "JoinToken(0a1b2c3d, ..)");
        let random: [u8; TOKEN_RANDOM] = std::array::from_fn(|n| n as u8);
        assert_eq!(*JoinToken::from_random(&random).to_text(), "kjt-00010203-0405060708090a0b0c0d0e0f10111213");
    }

    #[test]
    fn other_texts_are_no_token() {
        let upper = TEXT.replace("0a1b", "0A1B");
        for bad in ["", "kjt", "kjt--", &TEXT[1..], &TEXT[..TEXT.len() - 1], &format!("{TEXT}0"), &format!("{TEXT}-"), &upper] {
            assert!(bad.parse::<JoinToken>().is_err(), "{bad}");
        }
        for bad in ["", "0a1b2c3", "0a1b2c3d0", "0A1B2C3D", "0a1b2c3g"] {
            assert!(bad.parse::<TokenId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_bit_of_a_token_changes_what_the_pairing_proves() {
        let proves = |text: &str| text.parse::<JoinToken>().unwrap().pairing_secret().password().to_string();
        let own = proves(TEXT);
        assert_eq!(own.len(), 64, "not six digits");
        // docs/protocol.md gives this value.
        assert_eq!(own, "92045fd1900a6a6bc5d0f612da763688a5be068be90257eebd28d157ae764215");
        for other in [TEXT.replace("0a1b", "0a1c"), TEXT.replace("0e0f", "0e0e")] {
            assert_ne!(proves(&other), own);
        }
    }
}
