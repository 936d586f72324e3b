//! What is said beside a machine: how its form is filled in, why it is no node, and what an operator said about it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cluster_seed::ids::{EnrollmentId, Mac};
use cluster_seed::trouble::Trouble;
use serde::Serialize;

/// HTTP shape of a cause of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TroubleView {
    #[cfg_attr(test, schemars(with = "crate::schema::Trouble"))]
    pub word: Trouble,
    /// What a person can do.
    pub hint: &'static str,
    /// The machine tries again by itself, and may succeed.
    pub retryable: bool,
}

impl From<Trouble> for TroubleView {
    fn from(word: Trouble) -> Self {
        TroubleView { word, hint: word.hint(), retryable: word.is_retryable() }
    }
}

/// HTTP shape of what the form of an approval is filled in with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SuggestionView {
    /// `by line 4 of the plan` or `by rule 2`.
    pub source: String,
    /// The plan names the machine; a rule does not.
    pub planned: bool,
    pub hostname: Option<String>,
    pub role: Option<String>,
    /// As the plan or the rule says it.
    pub wish: Option<String>,
    /// Kernel name of the disk that this is.
    pub disk: Option<String>,
    pub place: String,
    pub labels: BTreeMap<String, String>,
    /// In what the machine is not the one of the plan.
    pub differs: Vec<String>,
    /// Why it cannot be approved as suggested.
    pub trouble: Option<TroubleView>,
    pub why: Option<String>,
    /// The code alone approves the machine.
    pub ready: bool,
    /// One click approves it: the site's policy allows that, the machine has told its code, and no other one claims its row.
    pub click: bool,
    /// Other machines that claim the same row of the plan.
    pub rivals: Vec<ClaimantView>,
}

/// HTTP shape of a machine that claims a row of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ClaimantView {
    pub machine: i64,
    #[cfg_attr(test, schemars(with = "crate::schema::EnrollmentNumber"))]
    pub enrollment: EnrollmentId,
    #[cfg_attr(test, schemars(with = "crate::schema::MacAddress"))]
    pub mac: Mac,
    pub serial: String,
    pub model: String,
    /// On the boot network.
    pub address: IpAddr,
    /// How its code begins.
    pub number: Option<u16>,
    /// When it asked, in Unix seconds.
    pub since: u64,
    /// Its code was typed, and it checks the code.
    pub chosen: bool,
}

/// HTTP shape of what an operator said about a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct VerdictView {
    #[cfg_attr(test, schemars(with = "crate::schema::MacAddress"))]
    pub mac: Mac,
    /// Otherwise it was set aside, and waits.
    pub denied: bool,
    pub by: String,
    /// Unix seconds.
    pub at: u64,
    pub until: Option<u64>,
    pub reason: String,
    /// The machine's id, if it is known.
    pub machine: Option<i64>,
}
