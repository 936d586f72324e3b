//! Join tokens, as operators see them: with their secrets only when they are created.

use cluster_seed::join::token::TokenId;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::people::Actor;

/// Whether machines may join with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum JoinTokenState {
    Valid,
    /// Two users have to approve machines of its role, and a second one has not agreed to the token yet: machines with it wait.
    Waiting,
    /// It was revoked, has expired or is used up.
    Ended,
}

/// HTTP shape of a join token in `GET /api/v1/join-tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct JoinTokenView {
    #[cfg_attr(test, schemars(with = "crate::schema::TokenName"))]
    pub id: TokenId,
    pub role: String,
    /// Host name, or a pattern with `{n}`.
    pub name: String,
    pub uses: u32,
    pub used: u32,
    /// Unix seconds.
    pub created: u64,
    pub creator: String,
    /// Unix seconds.
    pub expires: u64,
    pub state: JoinTokenState,
    /// Why it ended.
    pub why: Option<String>,
    /// The second user.
    pub agreed: Option<String>,
    /// Name of the output that was made with it.
    pub image: Option<String>,
}

/// Which disk is written on a machine that installs itself: the only one that fits, or else the smallest or largest of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum JoinDisk {
    #[default]
    Only,
    Smallest,
    Largest,
}

/// HTTP shape of a wish for a join token.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewJoinToken {
    pub role: String,
    /// Host name, or a pattern with `{n}` for the number.
    pub name: String,
    /// How many machines may use it, at most 10,000; 1 if missing.
    #[serde(default)]
    pub uses: Option<u32>,
    /// Validity in seconds, at most a year; a day if missing.
    #[serde(default)]
    pub seconds: Option<u64>,
    /// The only one if missing.
    #[serde(default)]
    pub disk: Option<JoinDisk>,
}

/// HTTP shape of a new join token, with the text that is shown this once. No `Debug`: it holds a secret.
#[derive(Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CreatedJoinToken {
    pub token: String,
    #[serde(flatten)]
    pub view: JoinTokenView,
}

/// The part of [`super::OperatorApi`] about join tokens.
pub trait JoinTokenApi: Send + Sync {
    /// The oldest first.
    fn join_tokens(&self) -> Result<Vec<JoinTokenView>, ApiError>;
    /// A second user agrees to a token, where two have to approve machines of its role.
    fn agree_to_token(&self, actor: &Actor, id: TokenId) -> Result<JoinTokenView, ApiError>;
    /// Creates a token. Whoever has it enrolls machines of its role that nobody looks at.
    fn create_join_token(&self, actor: &Actor, new: &NewJoinToken) -> Result<CreatedJoinToken, ApiError>;
    /// Revokes a token; nodes that were made with it stay.
    fn revoke_join_token(&self, actor: &Actor, id: TokenId) -> Result<(), ApiError>;
}
