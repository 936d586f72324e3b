//! Join tokens, as operators see them: never with their secrets.

use cluster_seed::join::token::TokenId;
use serde::Serialize;

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

/// The part of [`super::OperatorApi`] about join tokens.
pub trait JoinTokenApi: Send + Sync {
    /// The oldest first.
    fn join_tokens(&self) -> Result<Vec<JoinTokenView>, ApiError>;
    /// A second user agrees to a token, where two have to approve machines of its role.
    fn agree_to_token(&self, actor: &Actor, id: TokenId) -> Result<JoinTokenView, ApiError>;
}
