//! Host names that a join token gives out: one name, or a pattern with a number such as `web-{n}`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::Hostname;

/// Highest number in a name.
pub const MAX_NUMBER: u32 = 9999;
const MARK: &str = "{n}";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a name pattern (want one label of a-z, 0-9 and -, with {MARK} where the number goes)")]
pub struct PatternError(String);

/// A label, with at most one `{n}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    /// True if it makes more than one name.
    pub fn counts(&self) -> bool {
        self.0.contains(MARK)
    }

    /// The labels in the order in which they are given out.
    pub fn labels(&self) -> impl Iterator<Item = String> + '_ {
        let last = if self.counts() { MAX_NUMBER } else { 1 };
        (1..=last).map(|n| self.0.replace(MARK, &n.to_string()))
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for NamePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let bad = || PatternError(text.chars().take(64).collect());
        let longest = text.replacen(MARK, &MAX_NUMBER.to_string(), 1);
        let label: Hostname = longest.parse().map_err(|_| bad())?;
        // A name of digits alone would look like an address.
        if label.as_str().contains('.') || label.as_str() != longest || text == MARK {
            return Err(bad());
        }
        Ok(NamePattern(text.to_owned()))
    }
}

impl Serialize for NamePattern {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NamePattern {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_count_from_one() {
        let labels = |text: &str| text.parse::<NamePattern>().unwrap().labels().take(3).collect::<Vec<_>>();
        assert_eq!(labels("web-{n}"), ["web-1", "web-2", "web-3"]);
        assert_eq!(labels("r{n}-db"), ["r1-db", "r2-db", "r3-db"]);
        assert_eq!(labels("edge"), ["edge"]);
        assert_eq!("w{n}".parse::<NamePattern>().unwrap().labels().count(), MAX_NUMBER as usize);
    }

    #[test]
    fn a_pattern_whose_longest_name_is_no_label_is_refused() {
        let label = |n: usize| format!("{}{{n}}", "a".repeat(n));
        assert!(label(59).parse::<NamePattern>().is_ok());
        for bad in ["", "{n}", "web.{n}", "Web-{n}", "web_{n}", "{n}-{n}", "web-{m}", "-{n}", "web {n}", &label(60)] {
            assert!(bad.parse::<NamePattern>().is_err(), "{bad}");
        }
    }
}
