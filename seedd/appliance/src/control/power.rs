//! What is answered about power: a machine's controller, its certificate, and what became of an action.

use serde::{Deserialize, Serialize};

/// A machine's controller. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Power {
    pub controller: Option<Controller>,
    /// The medium that [`PowerAction::InsertMedia`] inserts.
    pub medium: Option<String>,
}

/// A management controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controller {
    pub kind: ControllerKind,
    pub address: String,
    pub user: String,
    /// It has a certificate: Redfish with TLS.
    #[serde(default)]
    pub tls: bool,
    /// sha256 of the confirmed certificate, as upper-case hex pairs with colons; `None` until an operator confirmed one.
    pub pin: Option<String>,
    /// What is weak about it, as a sentence.
    #[serde(default)]
    pub weakness: Option<String>,
    /// The certificate that it showed last, while that is not the confirmed one.
    #[serde(default)]
    pub offered: Option<OfferedCertificate>,
    #[serde(default, rename = "cipherSuite")]
    pub cipher_suite: Option<u8>,
    #[serde(default)]
    pub privilege: Option<Privilege>,
}

/// A certificate that waits for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedCertificate {
    /// sha256, as upper-case hex pairs with colons.
    pub fingerprint: String,
    /// What is weak about it, as a sentence.
    pub weakness: Option<String>,
}

/// Privilege level that a session over IPMI asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Privilege {
    User,
    Operator,
    Administrator,
}

/// Protocol of a management controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ControllerKind {
    Redfish,
    Ipmi,
}

impl ControllerKind {
    /// The word in JSON and in texts.
    pub fn as_str(self) -> &'static str {
        match self {
            ControllerKind::Redfish => "redfish",
            ControllerKind::Ipmi => "ipmi",
        }
    }
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

/// An action's result, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerDone {
    pub text: String,
}
