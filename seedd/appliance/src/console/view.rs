//! What the console shows; the daemon sends it over its control socket (`Request::View`).

use serde::{Deserialize, Serialize};

use crate::settings::Settings;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// No site yet: waiting for set-up in a browser.
    #[default]
    Setup,
    Sealed,
    Serving,
    /// Imported from another site and not promoted.
    Standby,
}

/// The content of the screen. Nothing in it is secret once the first administrator exists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsoleView {
    pub phase: Phase,
    /// The site's keys exist but are not unsealed; also on standby.
    pub sealed: bool,
    pub site: Option<String>,
    pub version: String,
    pub hostname: String,
    /// URLs of the web interface.
    pub pages: Vec<String>,
    /// sha256 of the web interface's current certificate, as upper-case hex pairs with colons.
    pub fingerprint: Option<String>,
    /// Set while there is no administrator.
    pub setup_code: Option<String>,
    pub interfaces: Vec<InterfaceView>,
    pub disks: Vec<DiskView>,
    /// Where the state is: `stick /dev/sda3`, `memory`.
    pub state: String,
    /// Whether settings and power can be changed on the console.
    pub appliance: bool,
    pub settings: Settings,
    /// When new settings take effect, as text.
    pub takes_effect: String,
    /// Unix seconds by the seed's clock.
    pub clock: u64,
    pub nodes: u32,
    pub pending: u32,
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InterfaceView {
    pub name: String,
    pub mac: String,
    pub up: bool,
    /// With prefix length.
    pub addresses: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DiskView {
    /// Kernel name.
    pub name: String,
    pub model: String,
    /// Bytes.
    pub size: u64,
    pub removable: bool,
}
