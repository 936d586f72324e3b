//! The pairing code that a machine shows and an operator enters: `12-597-850`.
//!
//! Its first part is the enrollment's public number, chosen by the seed; the last six digits are the machine's secret, which is
//! never sent over the network ([`crate::pake`] proves it instead).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use crate::ids::Digest;

/// Highest public number of an enrollment; the lowest is 1.
pub const MAX_NUMBER: u16 = 999;
/// Number of possible secrets: six digits.
pub const SECRETS: u32 = 1_000_000;
/// Longest text that is read as a code, in bytes.
pub const MAX_TYPED: usize = 32;
/// Random bytes that [`PairingSecret::from_random`] needs.
pub const SECRET_RANDOM: usize = 32;

/// 32 random bytes, in hex on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nonce(pub Digest);

impl Nonce {
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Nonce(Digest(bytes))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    #[error("not a pairing code (want a number and six digits, such as 12-597-850)")]
    Form,
    #[error("not an enrollment number (want 1 to {MAX_NUMBER})")]
    Number,
}

/// The public number of an open enrollment, 1 to [`MAX_NUMBER`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Number(u16);

impl Number {
    pub fn new(number: u16) -> Result<Self, CodeError> {
        if (1..=MAX_NUMBER).contains(&number) { Ok(Number(number)) } else { Err(CodeError::Number) }
    }

    pub fn get(self) -> u16 {
        self.0
    }

    /// The next number; 1 follows the last.
    pub fn next(self) -> Self {
        if self.0 >= MAX_NUMBER { Number(1) } else { Number(self.0 + 1) }
    }

    /// The first number after `last` that is not `taken`, so that numbers are reused as late as possible.
    pub fn free(last: Option<Self>, taken: &dyn Fn(Self) -> bool) -> Option<Self> {
        let mut number = last.map_or(Number(1), Self::next);
        for _ in 0..MAX_NUMBER {
            if !taken(number) {
                return Some(number);
            }
            number = number.next();
        }
        None
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Number::new(u16::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What machine and operator both know: six digits from the machine's console, or what follows from a join token.
pub struct PairingSecret(Kind);

enum Kind {
    Digits(u32),
    Token(Zeroizing<[u8; 32]>),
}

impl Drop for PairingSecret {
    fn drop(&mut self) {
        if let Kind::Digits(digits) = &mut self.0 {
            digits.zeroize();
        }
    }
}

impl PairingSecret {
    /// Every secret is equally likely; `None` if the bytes are unusable, which happens to random ones once in 10^53.
    pub fn from_random(bytes: &[u8; SECRET_RANDOM]) -> Option<Self> {
        // The largest multiple of a million: values above it would favour small secrets.
        let end = u64::MAX - u64::MAX % u64::from(SECRETS);
        let (words, _) = bytes.as_chunks::<8>();
        let number = words.iter().map(|w| u64::from_be_bytes(*w)).find(|n| *n < end)?;
        u32::try_from(number % u64::from(SECRETS)).ok().map(|digits| PairingSecret(Kind::Digits(digits)))
    }

    /// See [`crate::join::token`].
    pub(crate) fn of_token(bytes: [u8; 32]) -> Self {
        PairingSecret(Kind::Token(Zeroizing::new(bytes)))
    }

    /// The password of the exchange: six digits, or 64 hex digits.
    pub(crate) fn password(&self) -> Zeroizing<String> {
        Zeroizing::new(match &self.0 {
            Kind::Digits(digits) => format!("{digits:06}"),
            Kind::Token(bytes) => hex::encode(**bytes),
        })
    }

    /// The code as shown on the console, with the public number; of a token only that number, since nobody has to type it.
    pub fn shown(&self, number: Number) -> String {
        match self.0 {
            Kind::Digits(digits) => format!("{number}-{:03}-{:03}", digits / 1000, digits % 1000),
            Kind::Token(_) => number.to_string(),
        }
    }
}

impl fmt::Debug for PairingSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairingSecret(..)")
    }
}

/// A code entered by an operator: the number of an enrollment, and the secret of its machine.
#[derive(Debug)]
pub struct PairingCode {
    pub number: Number,
    pub secret: PairingSecret,
}

impl FromStr for PairingCode {
    type Err = CodeError;

    /// Spaces and dashes are ignored. The last six digits are the secret; the digits before them are the number.
    fn from_str(typed: &str) -> Result<Self, CodeError> {
        if typed.len() > MAX_TYPED {
            return Err(CodeError::Form);
        }
        let digits: String = typed.chars().filter(|c| !matches!(c, ' ' | '-' | '\u{a0}')).collect();
        let digits = Zeroizing::new(digits);
        if !(7..=9).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(CodeError::Form);
        }
        let (number, secret) = digits.split_at(digits.len() - 6);
        let number = Number::new(number.parse().map_err(|_| CodeError::Form)?)?;
        let secret = secret.parse().map(|digits| PairingSecret(Kind::Digits(digits))).map_err(|_| CodeError::Form)?;
        Ok(PairingCode { number, secret })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn digits(bytes: &[u8; SECRET_RANDOM]) -> u32 {
        PairingSecret::from_random(bytes).unwrap().password().parse().unwrap()
    }

    fn shown(typed: &str) -> Result<String, CodeError> {
        typed.parse::<PairingCode>().map(|code| code.secret.shown(code.number))
    }

    #[test]
    fn codes_are_read_as_people_type_them() {
        for typed in
            ["12-597-850", "12597850", "12 597 850", " 1 2 5 9 7 8 5 0 ", "012-597-850", "12-597850", "12\u{a0}597\u{a0}850"]
        {
            assert_eq!(shown(typed).unwrap(), "12-597-850", "{typed}");
        }
        assert_eq!(shown("1000000").unwrap(), "1-000-000");
        assert_eq!(shown("999999999").unwrap(), "999-999-999");
        for typed in ["", "597850", "1234567890", "12-597-85a", "١٢٥٩٧٨٥٠", "+2-597-850", "12.597.850", &" ".repeat(33)] {
            assert_eq!(shown(typed), Err(CodeError::Form), "{typed}");
        }
        assert_eq!(shown("0-597-850"), Err(CodeError::Number));
        assert_eq!(shown("000-597-850"), Err(CodeError::Number));
    }

    #[test]
    fn numbers_are_assigned_in_turn_and_one_in_use_is_skipped() {
        let last = |n| Some(Number::new(n).unwrap());
        let free = |from, taken: &[u16]| Number::free(from, &|n| taken.contains(&n.get())).map(Number::get);
        assert_eq!(free(None, &[]), Some(1));
        assert_eq!(free(last(1), &[]), Some(2));
        assert_eq!(free(last(1), &[2, 3]), Some(4));
        assert_eq!(free(last(999), &[1]), Some(2));
        assert_eq!(Number::free(last(5), &|n| n.get() != 5).map(Number::get), Some(5));
        assert_eq!(Number::free(None, &|_| true), None);
        for bad in [0, 1000, u16::MAX] {
            assert!(Number::new(bad).is_err());
            assert!(serde_json::from_str::<Number>(&bad.to_string()).is_err());
        }
    }

    #[test]
    fn secrets_are_spread_evenly_and_biased_bytes_are_not_used() {
        // 2^64 - 1 is above the largest multiple of a million.
        assert!(PairingSecret::from_random(&[0xff; 32]).is_none());
        let mut bytes = [0xff; 32];
        bytes[24..].copy_from_slice(&1_000_042u64.to_be_bytes());
        assert_eq!(digits(&bytes), 42);
        let mut tens = [0u32; 10];
        for n in 0..10_000u64 {
            let digest = Digest::of(&n.to_be_bytes());
            tens[(digits(&digest.0) / 100_000) as usize] += 1;
        }
        // Chi square with nine degrees of freedom: above 33.7 once in ten thousand.
        let chi: f64 = tens.iter().map(|n| (f64::from(*n) - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi < 33.7, "{tens:?}");
    }

    #[test]
    fn a_secret_is_not_printed() {
        let code: PairingCode = "12-597-850".parse().unwrap();
        assert!(!format!("{code:?}").contains("597"));
    }

    proptest! {
        #[test]
        fn every_code_is_read_back(number in 1..=MAX_NUMBER, secret in 0..SECRETS, gaps in proptest::collection::vec("[ -]{0,2}", 10)) {
            let plain = PairingSecret(Kind::Digits(secret)).shown(Number::new(number).unwrap());
            let spread: String = plain.chars().filter(char::is_ascii_digit).zip(&gaps).map(|(c, gap)| format!("{gap}{c}")).collect();
            prop_assert_eq!(shown(&plain).unwrap(), plain.clone());
            prop_assert_eq!(shown(&spread).unwrap(), plain);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = shown(&text);
        }
    }

    #[test]
    fn all_numbers_are_used_before_one_repeats() {
        let (mut seen, mut last) = (BTreeSet::new(), None);
        for _ in 0..MAX_NUMBER {
            last = Number::free(last, &|_| false);
            assert!(seen.insert(last));
        }
        assert_eq!(Number::free(last, &|_| false), Number::free(None, &|_| false));
    }
}
