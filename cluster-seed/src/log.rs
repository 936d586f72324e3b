//! Signed checkpoints of the seed's event log.
//!
//! The log is a chain of SHA-256 hashes. An attacker who can write the database could recompute the chain; a checkpoint signed
//! with the site key reveals that, and allows rows before it to be deleted without a gap in the proof.

use serde::{Deserialize, Serialize};

use crate::ids::Digest;
use crate::seal::Sealable;

/// The log up to and including one event, sealed by the site key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogCheckpoint {
    /// Number of the event.
    pub event: i64,
    /// Hash of its row, which covers every row before it.
    pub hash: Digest,
    /// When it was signed, in Unix seconds.
    pub at: u64,
}

impl Sealable for LogCheckpoint {
    const PURPOSE: &'static str = "log-checkpoint";
}
