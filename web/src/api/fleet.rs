//! Machines, their enrollments, and the operator's decision about one.

use std::net::IpAddr;

use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::ids::{Digest, EnrollmentId, Mac};
use cluster_seed::machine::HardwareFacts;
use serde::{Deserialize, Serialize};

use super::flight::{EventView, Finding};
use super::lists::HeldView;
use super::suggestion::{SuggestionView, TroubleView, VerdictView};

/// The operator's decision about a Pending enrollment.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// As shown on the machine's console: `12-597-850`. It leads to the machine by its number.
    pub code: String,
    pub role: String,
    /// Label or full name; the site's domain is added to a label.
    pub hostname: String,
    /// Kernel name of the disk that will be wiped.
    pub disk: String,
    /// Revoke the node that has this name now and replace it.
    #[serde(default)]
    pub replace: bool,
}

/// HTTP shape of one machine in the list.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MachineRow {
    pub id: i64,
    #[cfg_attr(test, schemars(with = "crate::schema::MacAddress"))]
    pub mac: Mac,
    pub ip: Option<IpAddr>,
    /// Vendor and product as reported by the machine, sanitised.
    pub model: String,
    /// Unix seconds.
    pub first_seen: u64,
    pub last_seen: u64,
    /// The enrollment that makes it a node, or else its newest one.
    pub enrollment: Option<EnrollmentView>,
    /// The peer list that it holds, if it is a running node.
    pub list: Option<HeldView>,
    /// What an operator said about it: denied, or not now.
    pub verdict: Option<VerdictView>,
}

#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct EnrollmentView {
    #[cfg_attr(test, schemars(with = "crate::schema::EnrollmentNumber"))]
    pub id: EnrollmentId,
    #[cfg_attr(test, schemars(with = "crate::schema::EnrollmentState"))]
    pub state: EnrollmentState,
    /// Unix seconds of the last change of state.
    pub since: u64,
    /// First part of the pairing code on its console, while the pairing is open.
    pub number: Option<u16>,
    /// Set once the code is entered.
    pub hostname: Option<String>,
    pub role: Option<String>,
    /// `(plane, address)` once approved, in plane order.
    pub addresses: Vec<(String, String)>,
    pub wrong_codes: u32,
    pub progress: Option<InstallProgress>,
    /// Why it was denied, failed or expired.
    pub reason: Option<String>,
    /// The same for code, where it is known, and whether the machine tries again.
    pub trouble: Option<TroubleView>,
    /// What one person has said yes to, where a second one has to agree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_yes: Option<FirstYes>,
}

/// HTTP shape of the first of two approvals.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct FirstYes {
    /// Who entered the code.
    pub user: String,
    pub hostname: String,
    pub role: String,
    pub disk: String,
    pub replace: bool,
    /// Names exactly this decision; sent with the second yes.
    #[cfg_attr(test, schemars(with = "crate::schema::Sha256Hex"))]
    pub decision: Digest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct InstallProgress {
    /// Bytes of disk written and verified.
    pub written: u64,
    pub total: u64,
    /// Bytes per second.
    pub rate: u64,
}

/// An enrollment that is waiting for a decision, with the machine's reported facts.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    pub enrollment: EnrollmentView,
    /// Source address of the report.
    pub ip: IpAddr,
    #[cfg_attr(test, schemars(with = "crate::schema::HardwareFacts"))]
    pub facts: HardwareFacts,
    /// By the plan, or by a rule.
    pub suggestion: Option<SuggestionView>,
}

/// The members of a cluster that votes (etcd), without one node.
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct VotersView {
    /// Members that are healthy without the node.
    pub healthy: usize,
    /// All members, the node included.
    pub all: usize,
    /// Whether the healthy ones can go on writing.
    pub majority: bool,
}

/// HTTP shape of one machine with all details.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MachineDetail {
    pub row: MachineRow,
    /// Facts of the node, or else the last reported ones.
    #[cfg_attr(test, schemars(with = "Option<crate::schema::HardwareFacts>"))]
    pub facts: Option<HardwareFacts>,
    /// Enrollments that are waiting for a decision, newest first. A hello under the MAC address of a node opens one too.
    pub waiting: Vec<Waiting>,
    /// Other enrollments, newest first.
    pub earlier: Vec<EnrollmentView>,
    /// Oldest first, at most 500.
    pub timeline: Vec<EventView>,
    /// Diagnosis of the last boot attempt, most useful finding first.
    pub diagnosis: Vec<Finding>,
    /// Number of captured packets that can be downloaded.
    pub packets: u32,
    /// The cluster that a node votes in, without it.
    pub voters: Option<VotersView>,
    /// What is noted of the machine, by an operator or by the plan.
    pub place: String,
    pub labels: Vec<String>,
}
