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

/// What a seed answers to a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochReply {
    /// Its own epoch.
    pub epoch: u64,
    /// True if it issues nothing more, now or since an earlier proof.
    pub fenced: bool,
}
