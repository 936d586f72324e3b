//! Which packages a snapshot takes from upstream, and where nodes get their packages from.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::arch::Arch;

/// Architectures a snapshot can hold (Debian's names); `all` comes with each of them.
pub const ARCHITECTURES: [&str; 2] = [Arch::Amd64.as_str(), Arch::Arm64.as_str()];

/// Package sources of a node's apt (`REPO_MODE`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RepoMode {
    /// Only upstream's mirror.
    Connected,
    /// Only the seed.
    #[default]
    Darksite,
    /// From the seed where it has a package, else from upstream.
    Both,
}

/// Extent of a snapshot (`REPO_PROFILE`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RepoProfile {
    /// What the roles need, from the release as it was published.
    #[default]
    #[serde(rename = "base")]
    Base,
    /// What the roles need in the newest versions of the release, its updates and its security fixes.
    #[serde(rename = "base+updates")]
    BaseUpdates,
    /// Every package of the components, newest versions as above.
    #[serde(rename = "full")]
    Full,
}

/// An unknown mode or profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not one of {}", known.join(", "))]
pub struct UnknownWord {
    pub found: String,
    pub known: &'static [&'static str],
}

impl RepoMode {
    pub const WORDS: &'static [&'static str] = &["connected", "darksite", "both"];

    pub fn as_str(self) -> &'static str {
        match self {
            RepoMode::Connected => "connected",
            RepoMode::Darksite => "darksite",
            RepoMode::Both => "both",
        }
    }

    /// True if nodes ask the seed for packages.
    pub fn uses_seed(self) -> bool {
        self != RepoMode::Connected
    }

    /// True if nodes ask upstream for packages.
    pub fn uses_upstream(self) -> bool {
        self != RepoMode::Darksite
    }
}

impl RepoProfile {
    pub const WORDS: &'static [&'static str] = &["base", "base+updates", "full"];

    pub fn as_str(self) -> &'static str {
        match self {
            RepoProfile::Base => "base",
            RepoProfile::BaseUpdates => "base+updates",
            RepoProfile::Full => "full",
        }
    }

    /// True if the release's updates and security fixes are taken too.
    pub fn has_updates(self) -> bool {
        self != RepoProfile::Base
    }
}

impl FromStr for RepoMode {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let all = [RepoMode::Connected, RepoMode::Darksite, RepoMode::Both];
        all.into_iter().find(|m| m.as_str() == text).ok_or_else(|| UnknownWord { found: text.to_owned(), known: Self::WORDS })
    }
}

impl FromStr for RepoProfile {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let all = [RepoProfile::Base, RepoProfile::BaseUpdates, RepoProfile::Full];
        all.into_iter().find(|m| m.as_str() == text).ok_or_else(|| UnknownWord { found: text.to_owned(), known: Self::WORDS })
    }
}

impl fmt::Display for RepoMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for RepoProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One source of packages on upstream's side, as a node's apt is told (sources.list(5)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamSource {
    pub url: String,
    pub suites: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back_and_unknown_ones_are_refused() {
        for word in RepoMode::WORDS {
            assert_eq!(word.parse::<RepoMode>().unwrap().as_str(), *word);
            assert_eq!(serde_json::from_str::<RepoMode>(&format!("{word:?}")).unwrap().as_str(), *word);
        }
        for word in RepoProfile::WORDS {
            assert_eq!(word.parse::<RepoProfile>().unwrap().as_str(), *word);
            assert_eq!(serde_json::from_str::<RepoProfile>(&format!("{word:?}")).unwrap().as_str(), *word);
        }
        let error = "offline".parse::<RepoMode>().unwrap_err().to_string();
        assert_eq!(error, "\"offline\" is not one of connected, darksite, both");
        assert!("".parse::<RepoProfile>().is_err() && "Base".parse::<RepoProfile>().is_err());
    }

    #[test]
    fn each_mode_names_its_sources() {
        let asks = |m: RepoMode| (m.uses_seed(), m.uses_upstream());
        assert_eq!(asks(RepoMode::Connected), (false, true));
        assert_eq!(asks(RepoMode::Darksite), (true, false));
        assert_eq!(asks(RepoMode::Both), (true, true));
        assert!(!RepoProfile::Base.has_updates() && RepoProfile::BaseUpdates.has_updates() && RepoProfile::Full.has_updates());
    }
}
