//! What will be done, and what was done; for people and as JSON.

use std::fmt;

use cluster_seed::ids::Digest;
use serde::{Deserialize, Serialize};

/// A snapshot that has the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    pub id: String,
    /// Blocks sent by this run.
    pub sent: usize,
    /// Blocks that an earlier run had sent.
    pub resumed: usize,
}

/// An image in AWS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AmiOutcome {
    pub image_id: String,
    pub name: String,
    pub region: String,
    /// Of the raw image.
    pub digest: Digest,
    pub snapshot_id: Option<String>,
    /// True if it was registered before: nothing was uploaded.
    pub existing: bool,
    pub blocks_sent: usize,
    pub blocks_resumed: usize,
}

impl fmt::Display for AmiOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "image {} in {}: {}", self.image_id, self.region, self.name)?;
        if self.existing {
            return writeln!(f, "it was registered before; nothing was uploaded");
        }
        let snapshot = self.snapshot_id.as_deref().unwrap_or("?");
        writeln!(f, "snapshot {snapshot}: {} blocks sent, {} sent by an earlier run", self.blocks_sent, self.blocks_resumed)
    }
}

/// One kind of request of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Planned {
    /// Action of the API; `ec2:` or `ebs:` before it is the permission needed.
    pub call: String,
    /// At least so often.
    pub times: u64,
    pub what: String,
}

impl Planned {
    pub(crate) fn new(call: &str, times: u64, what: impl Into<String>) -> Self {
        Planned { call: call.to_owned(), times, what: what.into() }
    }
}

pub(crate) fn write_calls(f: &mut fmt::Formatter<'_>, calls: &[Planned]) -> fmt::Result {
    calls.iter().try_for_each(|c| writeln!(f, "  {:>7} × {:<22} {}", c.times, c.call, c.what))
}

/// What making an image would do. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AmiPlan {
    pub name: String,
    pub region: String,
    pub ec2_endpoint: String,
    pub ebs_endpoint: String,
    pub digest: Digest,
    /// Bytes of the raw image.
    pub image_bytes: u64,
    pub volume_gib: u64,
    /// Blocks of 512 KiB in the image.
    pub blocks: u64,
    /// Those that are not all zeros.
    pub blocks_with_data: u64,
    /// Those that an interrupted upload has sent already.
    pub blocks_done: u64,
    /// Bytes of the blocks still to be sent, without headers.
    pub bytes_to_send: u64,
    /// Snapshot of the interrupted upload.
    pub resumes: Option<String>,
    pub tags: Vec<(String, String)>,
    pub calls: Vec<Planned>,
}

impl fmt::Display for AmiPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "image    {} in {}", self.name, self.region)?;
        writeln!(f, "from     {} bytes, sha256 {}", self.image_bytes, self.digest)?;
        writeln!(f, "volume   {} GiB, gp3", self.volume_gib)?;
        writeln!(f, "blocks   {} of {} have data, {} are there", self.blocks_with_data, self.blocks, self.blocks_done)?;
        writeln!(f, "to send  {} bytes to {}", self.bytes_to_send, self.ebs_endpoint)?;
        if let Some(snapshot) = &self.resumes {
            writeln!(f, "resumes  snapshot {snapshot}")?;
        }
        self.tags.iter().try_for_each(|(key, value)| writeln!(f, "tag      {key}={value}"))?;
        writeln!(f, "requests, at least:")?;
        write_calls(f, &self.calls)
    }
}
