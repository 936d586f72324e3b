//! The set-up of a seed that has no site yet.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;

use super::error::ApiError;

/// What the set-up page shows.
#[derive(Debug, Clone, Default)]
pub struct FirstView {
    pub version: String,
    /// Proposed name of the site.
    pub site: String,
    pub interfaces: Vec<FirstInterface>,
    /// As sentences.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub struct FirstInterface {
    pub name: String,
    pub mac: String,
    /// Has a link.
    pub up: bool,
    /// With prefix length.
    pub addresses: Vec<String>,
    /// Preselected for netboot.
    pub chosen: bool,
}

/// The submitted set-up form. No `Debug`: it holds secrets.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstSite {
    /// The set-up code shown on the console.
    pub code: String,
    pub site: String,
    /// Passphrase of the site's keys.
    pub passphrase: String,
    pub passphrase2: String,
    /// The first administrator.
    pub user: String,
    pub password: String,
    pub password2: String,
    /// Interface that machines netboot on.
    pub iface: String,
}

type Look = dyn Fn() -> Result<FirstView, ApiError> + Send + Sync;
type Make = dyn Fn(IpAddr, &FirstSite) -> Result<String, ApiError> + Send + Sync;

/// The daemon's side of the set-up page. Both calls may block.
#[derive(Clone)]
pub struct FirstSetup {
    pub look: Arc<Look>,
    /// Creates everything or nothing, and returns the administrator's session token. It may stop the listener that the
    /// request came through; the answer is still sent.
    pub make: Arc<Make>,
}
