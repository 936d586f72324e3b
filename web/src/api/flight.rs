//! Events of the log, the facts of packets, and the diagnosis made from them.

use cluster_seed::events::family;
use std::net::Ipv4Addr;

use cluster_seed::events::Cause;
use serde::{Deserialize, Serialize};

/// HTTP shape of one row of the append-only event log.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    pub id: i64,
    /// Unix milliseconds.
    pub at: u64,
    /// For example `dhcp.discover`, `enrollment.pending`, `install.progress`, `login.failed`.
    pub kind: String,
    /// A sentence for people; code decides by `kind` and `facts`.
    pub text: String,
    pub machine: Option<i64>,
    pub actor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<PacketFacts>,
}

impl EventView {
    /// Only who may read the audit log sees it.
    pub fn is_of_people(&self) -> bool {
        family::OF_PEOPLE.contains(&family::of(&self.kind))
    }
}

/// What somebody may see of a part of the event log, oldest first.
#[derive(Debug, Clone, Default)]
pub struct EventPart {
    pub events: Vec<EventView>,
    /// The last event that was read, shown or not, from which to go on; without any newer ones, that after which they were asked for.
    pub read: i64,
    /// There may be newer ones.
    pub more: bool,
}

/// HTTP shape of one conclusion from a machine's timeline, worded for the person in front of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Stable name of the rule that matched.
    pub rule: &'static str,
    pub tone: Tone,
    /// What happened.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Tone {
    /// Nothing is wrong.
    Good,
    /// The machine is waiting, for an operator or for its next step.
    Wait,
    /// This is why it does not boot.
    Bad,
}

/// HTTP shape of what a packet contained. Texts come from the wire: printable, bounded, untrusted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct PacketFacts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iface: Option<String>,
    /// The DHCP transaction, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ipxe: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<Ipv4Addr>,
    /// Another DHCP server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Stable name of the reason for no answer or a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What other code may decide by; absent in rows of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Cause>"))]
    pub cause: Option<Cause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor_class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// How many more events of this kind the row summarises, the last of them at `at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u32>,
}
