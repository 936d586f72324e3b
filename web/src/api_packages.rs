//! Snapshots and extras as an operator sees them.

use cluster_seed::ids::Digest;
use cluster_seed::proof::ProofState;
use serde::Serialize;

/// What `GET /api/v1/snapshots` and the page of packages tell.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PackagesView {
    pub snapshots: Vec<SnapshotView>,
    /// What lies among the snapshots and is none that its maker would know again.
    pub damaged: Vec<DamagedView>,
    /// Of the set in use; empty without one.
    pub extras: Vec<ExtraView>,
}

/// One snapshot.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotView {
    pub id: Digest,
    pub suite: String,
    pub packages: u32,
    pub bytes: u64,
    /// Nodes are served this one.
    pub in_use: bool,
    /// Key of the site that made it, in hex, where that is another one.
    pub maker: Option<String>,
    /// `proven`, `failed` or `unproven`.
    pub proof: ProofState,
    /// Unix seconds by the prover's clock.
    pub proven_at: Option<u64>,
    /// How the install of every root set ended, by name; empty if nobody tried.
    pub roles: Vec<ProvenRole>,
}

/// How the install of one root set ended: with so many packages, or why it failed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProvenRole {
    pub role: String,
    pub packages: Option<u32>,
    pub why: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DamagedView {
    pub id: Digest,
    pub why: String,
}

/// One of the extras.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtraView {
    /// `file`, `image`, `chart`, `package` or `deb`.
    pub kind: String,
    pub name: String,
    pub version: String,
    pub bytes: u64,
    pub sha256: Digest,
    /// Fingerprint of the certificate that signed it upstream.
    pub signed_by: Option<String>,
}
