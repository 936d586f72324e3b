//! The password of GRUB's editor on the nodes, and the hash that they are given (adr/0024).

use std::fmt;
use std::str::FromStr;

use pbkdf2::pbkdf2_hmac;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The name that GRUB asks for.
pub const USER: &str = "kubedos";
/// Random bytes of [`password`].
pub const PASSWORD_RANDOM: usize = 64;
/// Bytes of salt and of the derived key, as `grub-mkpasswd-pbkdf2` makes them.
pub const SALT: usize = 64;
const KEY: usize = 64;
/// GRUB's own default. The password has 69 random bits: it needs no slow function, and GRUB runs this without any help of the
/// processor.
const ROUNDS: u32 = 10_000;
/// Most rounds of a hash that is taken: GRUB would be busy for minutes.
const MAX_ROUNDS: u32 = 10_000_000;
/// Longest text of a hash, in bytes.
const MAX_TEXT: usize = 1_024;
const PREFIX: &str = "grub.pbkdf2.sha512";
/// Letters in the same place on QWERTY, QWERTZ and AZERTY keyboards: GRUB knows the first only. No digits, which AZERTY has on
/// the shifted keys.
const LETTERS: &[u8; 20] = b"bcdefghijklnoprstuvx";
/// Letters of a password: 69 bits.
const LENGTH: usize = 16;

/// A password of 16 letters, each equally likely. `None` where too many of the random bytes had to be left out, which happens
/// once in 10^40 times.
pub fn password(random: &[u8; PASSWORD_RANDOM]) -> Option<Zeroizing<String>> {
    let count = LETTERS.len() as u8;
    let fair = u8::MAX - u8::MAX % count;
    let letters = random.iter().filter(|b| **b < fair).take(LENGTH).map(|b| char::from(LETTERS[usize::from(b % count)]));
    let password = Zeroizing::new(letters.collect::<String>());
    (password.len() == LENGTH).then_some(password)
}

/// `grub.pbkdf2.sha512.ROUNDS.SALT.KEY`, the last two in hex: a word of GRUB's language and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GrubHash(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a password hash of GRUB (want {PREFIX}.ROUNDS.SALT.KEY)")]
pub struct GrubHashError;

impl GrubHash {
    /// PBKDF2 with HMAC-SHA-512 (RFC 8018, section 5.2).
    pub fn derive(password: &str, salt: &[u8; SALT]) -> Self {
        let mut key = [0u8; KEY];
        pbkdf2_hmac::<sha2_of_pbkdf2::Sha512>(password.as_bytes(), salt, ROUNDS, &mut key);
        GrubHash(format!("{PREFIX}.{ROUNDS}.{}.{}", hex::encode_upper(salt), hex::encode_upper(key)))
    }

    /// What GRUB reads: who may edit entries and use its command line.
    pub fn config(&self) -> String {
        format!("set superusers=\"{USER}\"\npassword_pbkdf2 {USER} {}\n", self.0)
    }
}

impl FromStr for GrubHash {
    type Err = GrubHashError;

    fn from_str(text: &str) -> Result<Self, GrubHashError> {
        let parts: Vec<&str> = text.strip_prefix(PREFIX).and_then(|t| t.strip_prefix('.')).unwrap_or("").split('.').collect();
        let [rounds, salt, key] = parts[..] else { return Err(GrubHashError) };
        let digits = rounds.bytes().all(|b| b.is_ascii_digit());
        let rounds = rounds.parse::<u32>().is_ok_and(|n| (1..=MAX_ROUNDS).contains(&n)) && digits;
        let is_hex = |text: &str| !text.is_empty() && hex::decode(text).is_ok();
        let good = text.len() <= MAX_TEXT && rounds && is_hex(salt) && is_hex(key);
        if good { Ok(GrubHash(text.to_owned())) } else { Err(GrubHashError) }
    }
}

impl TryFrom<String> for GrubHash {
    type Error = GrubHashError;

    fn try_from(text: String) -> Result<Self, GrubHashError> {
        text.parse()
    }
}

impl From<GrubHash> for String {
    fn from(hash: GrubHash) -> String {
        hash.0
    }
}

impl fmt::Display for GrubHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_that_grub_computes() {
        // Python: hashlib.pbkdf2_hmac("sha512", b"bcdefghijklnoprs", bytes(range(64)), 10000).hex()
        let mut salt = [0u8; SALT];
        (0u8..).zip(salt.iter_mut()).for_each(|(n, b)| *b = n);
        let hash = GrubHash::derive("bcdefghijklnoprs", &salt).to_string();
        let want = concat!(
            "9f53758ea0958ecd35ce16cfb9095e3464bd396dd1b2e21f5d31fea4ebdbbdb2",
            "a8cc5a5281ce2e80c1beb3300fd245cd48d7d63ef3d55c4c159f66615bea7084"
        );
        assert_eq!(hash.rsplit('.').next().unwrap().to_lowercase(), want);
        assert_eq!(hash.parse::<GrubHash>().unwrap().to_string(), hash);
        let config = hash.parse::<GrubHash>().unwrap().config();
        assert_eq!(config, format!("set superusers=\"kubedos\"\npassword_pbkdf2 kubedos {hash}\n"));
    }

    #[test]
    fn only_a_hash_is_a_hash() {
        for bad in [
            "",
            "grub.pbkdf2.sha512",
            "grub.pbkdf2.sha512.10000.AB",
            "grub.pbkdf2.sha512.10000.AB.",
            "grub.pbkdf2.sha512.0.AB.CD",
            "grub.pbkdf2.sha512.+1.AB.CD",
            "grub.pbkdf2.sha512.10000001.AB.CD",
            "grub.pbkdf2.sha512.10000.AB.CD.EF",
            "grub.pbkdf2.sha512.10000.AB.CD\nset superusers=x",
            "grub.pbkdf2.sha512.10000.AB.$x",
            "grub.pbkdf2.sha256.10000.AB.CD",
            &format!("grub.pbkdf2.sha512.10000.AB.{}", "CD".repeat(600)),
        ] {
            assert_eq!(bad.parse::<GrubHash>(), Err(GrubHashError), "{bad:?}");
            assert!(serde_json::from_value::<GrubHash>(bad.into()).is_err(), "{bad:?}");
        }
        assert!("grub.pbkdf2.sha512.10000.AB.CD".parse::<GrubHash>().is_ok());
    }

    #[test]
    fn passwords_have_sixteen_letters_of_every_keyboard() {
        let mut random = [0u8; PASSWORD_RANDOM];
        (0u8..).zip(random.iter_mut()).for_each(|(n, b)| *b = n.wrapping_mul(37));
        let password = password(&random).unwrap();
        assert_eq!(password.len(), LENGTH);
        assert!(password.bytes().all(|b| LETTERS.contains(&b)) && !password.contains(['a', 'm', 'q', 'w', 'y', 'z']));
        // 240 to 255 would make the first letters likelier.
        assert!(super::password(&[240; PASSWORD_RANDOM]).is_none());
        assert!(super::password(&[239; PASSWORD_RANDOM]).is_some());
    }
}
