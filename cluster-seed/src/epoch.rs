//! The proof that a site has reached an epoch: small, signed, and worth showing to a seed that does not know of it.
//!
//! A seed fences itself only on its own site's signature, never on somebody's word: a report of a node would let any
//! one node silence the seed.

use serde::{Deserialize, Serialize};

use crate::seal::Sealable;

/// GET and POST /api/v1/epoch, sealed by the site key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochProof {
    pub epoch: u64,
}

impl Sealable for EpochProof {
    const PURPOSE: &'static str = "epoch";
}

/// The same in a drill, where a rebuilt copy of the site reaches the next epoch beside the running one. It is signed for another
/// purpose, so that it fences nobody who gets hold of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrillProof {
    pub epoch: u64,
}

impl Sealable for DrillProof {
    const PURPOSE: &'static str = "epoch-drill";
}

/// What a seed answers to a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochReply {
    /// Its own epoch.
    pub epoch: u64,
    /// True if it issues nothing more, now or since an earlier proof.
    pub fenced: bool,
}
