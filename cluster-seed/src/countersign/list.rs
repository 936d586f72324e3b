//! What a peer list says about countersigning.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::Hostname;
use crate::seal::Sealable;

/// Most changes of the key that a list carries.
pub const MAX_CHANGES: usize = 64;

/// The part of a peer list with the signatures of the offline key. Beside the nodes, because agents of earlier versions read every
/// key of a node that they do not know as an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Countersigned {
    /// The key in force, 64 hex digits; `None` after its own statement ended countersigning.
    pub key: Option<String>,
    /// How often the key was changed.
    pub serial: u64,
    /// Every change of the key, so that a node that was off for several of them can follow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<crate::seal::Sealed<KeyChange>>,
    pub nodes: BTreeMap<Hostname, Countersignature>,
}

/// The signature of a [`NodeStatement`](super::statement::NodeStatement). The statement itself follows from the node's entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Countersignature {
    pub epoch: u64,
    pub sequence: u64,
    /// 64 bytes in base64.
    pub signature: String,
}

impl Countersignature {
    /// Later statements about a name have higher numbers.
    pub fn number(&self) -> (u64, u64) {
        (self.epoch, self.sequence)
    }
}

/// Signed by the old key: the new one takes its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyChange {
    /// The site's public key, 64 hex digits.
    pub site: String,
    pub from: String,
    /// `None` ends countersigning.
    pub to: Option<String>,
    /// One more than that of the key `from`.
    pub serial: u64,
}

impl Sealable for KeyChange {
    const PURPOSE: &'static str = "countersign-key";
}
