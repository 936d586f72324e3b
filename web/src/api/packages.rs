//! Snapshots and extras.

use cluster_seed::ids::Digest;
use cluster_seed::proof::ProofState;
use serde::Serialize;

/// HTTP shape of `GET /api/v1/snapshots`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PackagesView {
    pub snapshots: Vec<SnapshotView>,
    /// Snapshots whose contents no longer match their signature.
    pub damaged: Vec<DamagedView>,
    /// The extras in use; empty if there are none.
    pub extras: Vec<ExtraView>,
}

/// HTTP shape of one snapshot.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SnapshotView {
    #[cfg_attr(test, schemars(with = "crate::schema::Sha256Hex"))]
    pub id: Digest,
    pub suite: String,
    pub packages: u32,
    pub bytes: u64,
    /// This is the one served to nodes.
    pub in_use: bool,
    /// Key of the site that built it, in hex, if that is another site.
    pub maker: Option<String>,
    /// `proven`, `failed` or `unproven`.
    #[cfg_attr(test, schemars(with = "crate::schema::ProofState"))]
    pub proof: ProofState,
    /// Unix seconds by the prover's clock.
    pub proven_at: Option<u64>,
    /// Results of the offline installs, by role name; empty if the snapshot was never proven.
    pub roles: Vec<ProvenRole>,
}

/// HTTP shape of one role's offline install: the number of packages, or why it failed.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ProvenRole {
    pub role: String,
    pub packages: Option<u32>,
    pub why: Option<String>,
}

/// HTTP shape of a damaged snapshot.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct DamagedView {
    #[cfg_attr(test, schemars(with = "crate::schema::Sha256Hex"))]
    pub id: Digest,
    pub why: String,
}

/// HTTP shape of one extra.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExtraView {
    /// `file`, `image`, `chart`, `package` or `deb`.
    pub kind: String,
    pub name: String,
    pub version: String,
    pub bytes: u64,
    #[cfg_attr(test, schemars(with = "crate::schema::Sha256Hex"))]
    pub sha256: Digest,
    /// Fingerprint of the certificate that signed it upstream.
    pub signed_by: Option<String>,
}
