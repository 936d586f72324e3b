//! Power control of machines through their management controllers.

use serde::{Deserialize, Serialize};

/// Protocol of a management controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum BmcKind {
    Redfish,
    Ipmi,
}

/// Privilege level that a session over IPMI asks for (IPMI 2.0, 6.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum IpmiPrivilege {
    User,
    Operator,
    Administrator,
}

/// A power action. `Wake` sends a magic packet and needs no controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PowerView {
    pub controller: Option<BmcView>,
    /// The medium that [`PowerAction::InsertMedia`] inserts.
    pub medium: Option<String>,
}

/// HTTP shape of a management controller.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct BmcView {
    pub kind: BmcKind,
    pub address: String,
    pub user: String,
    /// It has a certificate: Redfish with TLS.
    pub tls: bool,
    /// sha256 of the confirmed certificate, as upper-case hex pairs with colons; `None` until an operator confirmed one.
    pub pin: Option<String>,
    /// What is weak about it, as a sentence.
    pub weakness: Option<String>,
    /// The certificate that it showed last, while that is not the confirmed one.
    pub offered: Option<OfferedView>,
    pub cipher_suite: Option<u8>,
    pub privilege: Option<IpmiPrivilege>,
}

/// HTTP shape of a certificate that waits for an operator.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct OfferedView {
    /// sha256, as upper-case hex pairs with colons.
    pub fingerprint: String,
    /// What is weak about it, as a sentence.
    pub weakness: Option<String>,
}

/// HTTP shape of a controller's address and credentials. No `Debug`: it holds a secret.
#[derive(Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SetPower {
    pub kind: BmcKind,
    /// `https://address[:port]` for Redfish, `address[:port]` for IPMI.
    pub address: String,
    pub user: String,
    pub password: String,
    /// For IPMI.
    #[serde(default, rename = "cipherSuite")]
    pub cipher_suite: Option<u8>,
    #[serde(default)]
    pub privilege: Option<IpmiPrivilege>,
}

/// HTTP shape of an action's result, as a sentence.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PowerDone {
    pub text: String,
}
