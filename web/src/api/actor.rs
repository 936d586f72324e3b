//! Who is logged in.

use serde::Serialize;

/// Who is logged in. In this crate a handler gets one only with the proof that it may change something (`auth/`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Actor {
    pub user: String,
}
