//! What is changed, and what came of it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use cluster_seed::ids::Digest;
use cluster_seed::secret::AgeKey;
use cluster_seed::wireguard::WgPublicKey;

use crate::Site;
use crate::store::Store;
use crate::store::vault::Resealed;

/// Which keys to replace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Names of planes.
    pub planes: BTreeSet<String>,
    pub vault: bool,
    pub release: bool,
}

/// The same thing before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed<T> {
    pub old: T,
    pub new: T,
}

/// What was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Public keys per plane.
    pub planes: BTreeMap<String, Changed<WgPublicKey>>,
    /// The vault's recipient, and how much was encrypted again.
    pub vault: Option<(Changed<String>, Resealed)>,
    /// The fingerprint of the release key, and the snapshots that stay signed with an earlier one.
    pub release: Option<(Changed<String>, Vec<Digest>)>,
}

/// One change of keys.
pub struct Rotation<'a> {
    pub site: &'a Site,
    pub store: &'a Store,
    pub operator: &'a AgeKey,
    pub choice: &'a Choice,
    /// Unix milliseconds; dates the release key and the event.
    pub now_ms: u64,
    /// For the event log.
    pub actor: &'a str,
}

/// Called after every step that changes something on the disk, with its name. An error ends the work right there, as a power
/// cut would.
pub type AfterStep<'a> = &'a mut dyn FnMut(&str) -> Result<()>;

impl Rotated {
    /// One sentence for each kind of key.
    pub fn sentences(&self) -> Vec<String> {
        let planes = self.planes.iter().map(|(plane, keys)| format!("the key of plane {plane} was changed to {}", keys.new));
        let vault = self.vault.iter().map(|(keys, count)| {
            let Resealed { identities, passwords } = count;
            format!(
                "the vault key was changed to {}: {identities} identities and {passwords} passwords encrypted again",
                keys.new
            )
        });
        let release = self.release.iter().map(|(keys, earlier)| {
            format!("the release key was changed from {} to {}: {} snapshots keep the old one", keys.old, keys.new, earlier.len())
        });
        planes.chain(vault).chain(release).collect()
    }
}
