//! Power control of machines through their management controllers.

use serde::{Deserialize, Serialize};

/// Protocol of a management controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BmcKind {
    Redfish,
    Ipmi,
}

/// A power action. `Wake` sends a magic packet and needs no controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PowerAction {
    /// Reads the power state and changes nothing.
    Status,
    On,
    /// Immediately, like pulling the plug.
    Off,
    Cycle,
    /// Boot from the network at the next start, once.
    NextBootPxe,
    /// Insert the seed's medium into the virtual drive and boot from it at the next start.
    InsertMedia,
    EjectMedia,
    Wake,
}

/// HTTP shape of `GET /api/v1/machines/{id}/power`. Holds no secret.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PowerView {
    pub controller: Option<BmcView>,
    /// The medium that [`PowerAction::InsertMedia`] inserts.
    pub medium: Option<String>,
}

/// HTTP shape of a management controller.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BmcView {
    pub kind: BmcKind,
    pub address: String,
    pub user: String,
    /// sha256 of the pinned certificate, as upper-case hex pairs with colons; `None` before the first contact.
    pub pin: Option<String>,
}

/// HTTP shape of a controller's address and credentials. No `Debug`: it holds a secret.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPower {
    pub kind: BmcKind,
    /// `https://address[:port]` for Redfish, `address[:port]` for IPMI.
    pub address: String,
    pub user: String,
    pub password: String,
}

/// HTTP shape of an action's result, as a sentence.
#[derive(Debug, Clone, Serialize)]
pub struct PowerDone {
    pub text: String,
}
