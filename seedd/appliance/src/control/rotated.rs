//! The answer to a change of keys.

use std::collections::BTreeMap;

use cluster_seed::ids::Digest;
use serde::{Deserialize, Serialize};
use site::rotate::{Changed, Rotated};

/// Which keys of the seed were replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysRotated {
    /// Public keys in Base64 by plane.
    pub planes: BTreeMap<String, KeyChange>,
    pub vault: Option<VaultChange>,
    pub release: Option<ReleaseChange>,
}

/// A public key before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChange {
    pub old: String,
    pub new: String,
}

/// age recipients, and how much was encrypted again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultChange {
    #[serde(flatten)]
    pub key: KeyChange,
    /// Identities of nodes, revoked ones included.
    pub identities: u32,
    /// Passwords of controllers, and of GRUB.
    pub passwords: u32,
}

/// OpenPGP fingerprints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseChange {
    #[serde(flatten)]
    pub key: KeyChange,
    /// Snapshots that stay signed with an earlier key.
    pub snapshots: Vec<Digest>,
}

impl From<Rotated> for KeysRotated {
    fn from(rotated: Rotated) -> Self {
        fn change<T: ToString>(c: &Changed<T>) -> KeyChange {
            KeyChange { old: c.old.to_string(), new: c.new.to_string() }
        }
        KeysRotated {
            planes: rotated.planes.iter().map(|(plane, keys)| (plane.clone(), change(keys))).collect(),
            vault: rotated.vault.map(|(keys, count)| VaultChange {
                key: change(&keys),
                identities: count.identities,
                passwords: count.passwords,
            }),
            release: rotated.release.map(|(keys, snapshots)| ReleaseChange { key: change(&keys), snapshots }),
        }
    }
}
