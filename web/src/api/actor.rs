//! Who is logged in.

use serde::Serialize;

/// Who is logged in. In this crate a handler gets one only with the proof that it may change something (`auth/`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Actor {
    pub user: String,
}
