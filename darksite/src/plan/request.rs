//! The request for a snapshot.

use std::collections::BTreeMap;

use cluster_seed::repo::RepoProfile;

use crate::error::Error;
use crate::format::lock::{is_root, is_word};
use crate::paths::Paths;
use crate::upstream::suite::Source;
use crate::upstream::trust::Clock;

/// What to put into a snapshot.
#[derive(Debug, Clone)]
pub struct PlanRequest {
    /// The release first; of equal versions, the earlier source wins.
    pub sources: Vec<Source>,
    pub components: Vec<String>,
    /// Without `all`. The first must have every root; if another lacks one, there is a note.
    pub architectures: Vec<String>,
    /// `full` includes every package; the suites are those of `sources`.
    pub profile: RepoProfile,
    /// Root packages per role: names, or `name:architecture`.
    pub roots: BTreeMap<String, Vec<String>>,
    /// Name of the published suite.
    pub suite_name: String,
    /// The time that upstream's dates are checked against.
    pub clock: Clock,
    /// Follow Recommends, too.
    pub recommends: bool,
    /// Include the Debian installer.
    pub installer: bool,
    /// Installer packages that the mirror must have.
    pub required_udebs: Vec<String>,
    /// Include `Contents`.
    pub contents: bool,
    /// Accept a Release file that is older than one accepted before.
    pub allow_downgrade: bool,
    /// Where indexes are cached and accepted Release files recorded; without it, every index is fetched.
    pub paths: Option<Paths>,
}

impl PlanRequest {
    /// Rejects unsafe names, empty lists and duplicates.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let suites = self.sources.iter().map(|s| &s.suite);
        let words = suites.chain(&self.components).chain(&self.architectures).chain([&self.suite_name]).chain(self.roots.keys());
        for word in words {
            if !is_word(word) {
                return Err(Error::Request(format!("{word:?} is not a valid name")));
            }
        }
        if let Some(bad) = self.roots.values().flatten().find(|r| !is_root(r)) {
            return Err(Error::Request(format!("{bad:?} is not a valid package name")));
        }
        let empty =
            self.sources.is_empty() || self.components.is_empty() || self.architectures.is_empty() || self.roots.is_empty();
        if empty || self.roots.values().any(Vec::is_empty) {
            return Err(Error::Request(
                "at least one suite, component, architecture and role is required, and at least one package for each role".into(),
            ));
        }
        let twice = |names: Vec<&String>| sorted(&names.iter().map(|n| (*n).clone()).collect::<Vec<_>>()).len() != names.len();
        for (what, names) in [
            ("suite", self.sources.iter().map(|s| &s.suite).collect::<Vec<_>>()),
            ("component", self.components.iter().collect()),
            ("architecture", self.architectures.iter().collect()),
        ] {
            if twice(names) {
                return Err(Error::Request(format!("a {what} is listed twice")));
            }
        }
        Ok(())
    }
}

/// Sorted, without duplicates.
pub(crate) fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    names
}
