//! The signed proof that a site has reached an epoch, to be sent to a seed that does not know of it.
//!
//! A seed fences itself only on its own site's signature: otherwise any single node could disable it.

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

/// The same in a drill, where a rebuilt copy of the site reaches the next epoch next to the running one. It is signed for
/// another purpose, so it cannot fence a real seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrillProof {
    pub epoch: u64,
}

impl Sealable for DrillProof {
    const PURPOSE: &'static str = "epoch-drill";
}

/// The seed's answer to a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochReply {
    /// Its own epoch.
    pub epoch: u64,
    /// True if it is fenced, now or by an earlier proof.
    pub fenced: bool,
}
