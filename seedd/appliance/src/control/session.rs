//! The way of a caller on this machine to the JSON API.

use serde::{Deserialize, Serialize};

/// Where the API is, and what lets the caller in. No useful `Debug`: it holds a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// `https://127.0.0.1:8443`, or `http://` for pages without TLS.
    pub url: String,
    /// sha256 of the certificate that is shown there, as upper-case hex pairs with colons; `None` without TLS.
    pub fingerprint: Option<String>,
    /// Bearer token.
    pub token: String,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("url", &self.url).field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}
