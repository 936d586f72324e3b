//! Outputs of the foundry: artifacts in the formats of other platforms.

use cluster_seed::foundry::Target;
use cluster_seed::ids::Digest;
use serde::{Deserialize, Serialize};

use super::site::JobView;

/// HTTP shape of `GET /api/v1/outputs`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct OutputsView {
    pub targets: Vec<TargetView>,
    /// Roles that have an artifact.
    pub roles: Vec<String>,
    /// Newest first.
    pub outputs: Vec<OutputView>,
    /// Why nothing can be built here; `None` if it can.
    pub no_build: Option<String>,
    pub job: Option<JobView>,
}

/// HTTP shape of a target.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TargetView {
    #[cfg_attr(test, schemars(with = "crate::schema::Target"))]
    pub name: Target,
    pub summary: String,
    /// It is built for one role; otherwise for all.
    pub of_role: bool,
}

/// HTTP shape of an output.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct OutputView {
    pub name: String,
    #[cfg_attr(test, schemars(with = "crate::schema::Sha256Hex"))]
    pub id: Digest,
    #[cfg_attr(test, schemars(with = "crate::schema::Target"))]
    pub target: Target,
    pub role: Option<String>,
    /// The only node that it is for.
    pub node: Option<String>,
    pub version: String,
    /// Size of all its files.
    pub bytes: u64,
    /// The file that is deployed: its name, and the digest in the signed manifest.
    pub file: String,
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Sha256Hex>"))]
    pub sha256: Option<Digest>,
    /// Directory on the seed.
    pub directory: String,
    /// When it was made, in Unix seconds.
    pub made: u64,
    /// It is made from what is in use now.
    pub current: bool,
    /// It contains a join token, and is not downloaded from the seed.
    pub secret: bool,
    /// The last verification since the seed was started.
    pub check: Option<CheckView>,
}

/// HTTP shape of the result of a verification of every byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CheckView {
    /// Unix seconds.
    pub at: u64,
    /// What is wrong; `None` if the output is intact.
    pub wrong: Option<String>,
}

/// HTTP shape of a request to build an output.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BuildWish {
    #[cfg_attr(test, schemars(with = "crate::schema::Target"))]
    pub target: Target,
    /// For a target of one role.
    #[serde(default)]
    pub role: Option<String>,
}
