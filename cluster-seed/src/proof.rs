//! The proof of a snapshot: that every root set was installed from it alone, without a network.
//!
//! A snapshot is immutable and named by its lock, so its proof is a signed document of its own beside it
//! (docs/adr/0015-proof-extras-archive.md).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::Digest;
use crate::manifest::SnapshotManifest;
use crate::seal::Sealable;

/// Version of the format.
pub const VERSION: u32 = 1;
/// Largest proof read, in bytes.
pub const MAX_PROOF: u64 = 1 << 20;
/// The file's name in `proofs/<snapshot>/`.
pub const FILE: &str = "proof.json";
/// Longest error output kept of a failed install, in characters.
pub const MAX_WHY: usize = 2000;

/// Result of installing one root set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "outcome", deny_unknown_fields)]
pub enum RoleProof {
    /// Everything was installed and configured, and dpkg finds nothing half done.
    Installed {
        /// Packages of the whole system, base included.
        packages: u32,
        /// Digest of the sorted lines `name version architecture` of what was installed.
        list: Digest,
    },
    /// Error output of the program that failed.
    Failed { why: String },
}

/// The results, signed by the site key of the seed that made the proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnapshotProof {
    pub version: u32,
    pub snapshot: Digest,
    /// Digest of the Release file that was installed from.
    pub release: Digest,
    /// Debian's name of the architecture that was installed.
    pub arch: String,
    /// Version of the program that made the proof.
    pub program: String,
    /// Unix seconds by the prover's clock; informational.
    pub made: u64,
    /// By the names of the snapshot's root sets.
    pub roles: BTreeMap<String, RoleProof>,
}

impl Sealable for SnapshotProof {
    const PURPOSE: &'static str = "snapshot-proof";
}

/// Proof state of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProofState {
    /// Every root set was installed offline.
    Proven,
    /// At least one could not be.
    Failed,
    /// Not tested, or not with every root set, or with another Release file.
    Unproven,
}

impl ProofState {
    /// The word in lists, in the API and on pages.
    pub fn as_str(self) -> &'static str {
        match self {
            ProofState::Proven => "proven",
            ProofState::Failed => "failed",
            ProofState::Unproven => "unproven",
        }
    }
}

impl SnapshotProof {
    /// The result of this proof for a snapshot.
    pub fn of(&self, snapshot: &SnapshotManifest) -> ProofState {
        if self.version != VERSION || self.snapshot != snapshot.id || self.release != snapshot.release {
            return ProofState::Unproven;
        }
        let mut state = ProofState::Proven;
        for role in snapshot.roots.keys() {
            match self.roles.get(role) {
                Some(RoleProof::Installed { .. }) => {}
                Some(RoleProof::Failed { .. }) => return ProofState::Failed,
                None => state = ProofState::Unproven,
            }
        }
        if snapshot.roots.is_empty() { ProofState::Unproven } else { state }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(roles: &[&str]) -> SnapshotManifest {
        let (id, release) = (Digest::of(b"lock"), Digest::of(b"release"));
        let json = serde_json::json!({
            "id": id, "suite": "trixie", "components": ["main"], "architectures": ["amd64"], "packages": 1, "bytes": 1,
            "roots": roles.iter().map(|r| ((*r).to_owned(), vec!["bash"])).collect::<BTreeMap<_, _>>(), "release": release,
        });
        serde_json::from_value(json).unwrap()
    }

    fn proof(roles: &[(&str, bool)]) -> SnapshotProof {
        let role = |good: bool| match good {
            true => RoleProof::Installed { packages: 9, list: Digest::of(b"list") },
            false => RoleProof::Failed { why: "E: no".into() },
        };
        SnapshotProof {
            version: VERSION,
            snapshot: Digest::of(b"lock"),
            release: Digest::of(b"release"),
            arch: "amd64".into(),
            program: "1".into(),
            made: 0,
            roles: roles.iter().map(|(name, good)| ((*name).to_owned(), role(*good))).collect(),
        }
    }

    #[test]
    fn only_every_root_set_is_a_proof() {
        let both = snapshot(&["a", "b"]);
        for (roles, state) in [
            (&[("a", true), ("b", true)][..], ProofState::Proven),
            (&[("a", true), ("b", true), ("c", false)][..], ProofState::Proven),
            (&[("a", true)][..], ProofState::Unproven),
            (&[][..], ProofState::Unproven),
            (&[("a", true), ("b", false)][..], ProofState::Failed),
            (&[("b", false)][..], ProofState::Failed),
        ] {
            assert_eq!(proof(roles).of(&both), state, "{roles:?}");
        }
        assert_eq!(proof(&[("a", true)]).of(&snapshot(&[])), ProofState::Unproven);
    }

    #[test]
    fn a_proof_of_something_else_is_none() {
        let good = proof(&[("a", true)]);
        let one = snapshot(&["a"]);
        assert_eq!(good.of(&one), ProofState::Proven);
        let other = Digest::of(b"x");
        for bad in [
            SnapshotProof { snapshot: other, ..good.clone() },
            SnapshotProof { release: other, ..good.clone() },
            SnapshotProof { version: VERSION + 1, ..good.clone() },
        ] {
            assert_eq!(bad.of(&one), ProofState::Unproven);
        }
    }
}
