//! The answers to new tokens.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A new API token; its text is shown this once. No useful `Debug`: it holds a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiTokenMade {
    /// The eight digits after `kbd_`.
    pub id: String,
    pub token: String,
    pub user: String,
    /// Unix seconds.
    pub expires: u64,
}

impl fmt::Debug for ApiTokenMade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiTokenMade").field("id", &self.id).field("user", &self.user).finish_non_exhaustive()
    }
}

/// A new token for a remote scraper; its text is shown this once. No useful `Debug`: it holds a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricsTokenMade {
    pub token: String,
    /// Unix seconds.
    pub expires: u64,
}

impl fmt::Debug for MetricsTokenMade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsTokenMade").field("expires", &self.expires).finish_non_exhaustive()
    }
}
