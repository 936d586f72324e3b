//! What the boot flight recorder tells of a machine: facts of packets, and what they mean.

use cluster_seed::events::Cause;
use serde::{Deserialize, Serialize};

/// One thing that the timeline of a machine says, in words for the person who stands before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Stable name of the rule.
    pub rule: &'static str,
    pub tone: Tone,
    /// What happened.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Tone {
    /// Nothing is wrong.
    Good,
    /// Somebody has to do something, or it goes on by itself.
    Wait,
    /// This is why it does not boot.
    Bad,
}

/// What a packet said, as far as the event log keeps it. Texts come from the wire: printable, bounded, untrusted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    pub ip: Option<std::net::Ipv4Addr>,
    /// Another DHCP server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<std::net::Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Stable name of the reason where there was no answer, or a negative one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What other code may decide by; absent in rows of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor_class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// This row stands for so many more events of the kind, the last of them at `at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u32>,
}
