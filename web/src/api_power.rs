//! Power of machines: what an operator may ask for, and what is told back.

use serde::{Deserialize, Serialize};

/// How a machine's management controller is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BmcKind {
    Redfish,
    Ipmi,
}

/// What can be done to a machine's power. `Wake` is a magic packet and needs no controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PowerAction {
    /// Asks how it is, and changes nothing.
    Status,
    On,
    /// At once, as if the plug were pulled.
    Off,
    Cycle,
    /// The next start is from the network, once.
    NextBootPxe,
    /// The seed's medium in the virtual drive, and the next start from it.
    InsertMedia,
    EjectMedia,
    Wake,
}

/// GET /api/v1/machines/{id}/power. Nothing in it is secret.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PowerView {
    pub controller: Option<BmcView>,
    /// The medium that [`PowerAction::InsertMedia`] would insert.
    pub medium: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BmcView {
    pub kind: BmcKind,
    pub address: String,
    pub user: String,
    /// sha256 of the certificate it showed first, as upper-case hex pairs with colons; none before the first contact.
    pub pin: Option<String>,
}

/// No `Debug`: it holds a secret.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPower {
    pub kind: BmcKind,
    /// `https://address[:port]` for Redfish, `address[:port]` for IPMI.
    pub address: String,
    pub user: String,
    pub password: String,
}

/// What an action did, in words.
#[derive(Debug, Clone, Serialize)]
pub struct PowerDone {
    pub text: String,
}
