//! `spec.enrollment`: how machines may join.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::asked::AskSpec;
use crate::people::Approvals;
use crate::plan::{EnrollRule, check_rules};
use crate::seal::key_from_text;
use crate::spec_error::{SpecError, at};

/// How machines may join.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnrollmentPolicy {
    /// An unapproved enrollment expires after this many minutes.
    #[serde(default = "default_pending_minutes")]
    pub pending_minutes: u32,
    /// Wrong codes of one operator before waits begin.
    #[serde(default = "default_wrong_codes")]
    pub max_wrong_codes: u32,
    /// Most pending enrollments; a further hello is answered with 429.
    #[serde(default = "default_max_pending")]
    pub max_pending: u32,
    /// An install that reports nothing for this many minutes is Failed.
    #[serde(default = "default_install_minutes")]
    pub install_minutes: u32,
    /// How many people approve a machine; a role may ask for more.
    #[serde(default)]
    pub approvals: Approvals,
    /// What a machine that the plan names waits for.
    #[serde(default)]
    pub policy: Approval,
    /// When machines that nobody knows may ask to enroll.
    #[serde(default)]
    pub window: WindowRule,
    /// What the form of an approval is filled in with; the first rule that fits a machine.
    #[serde(default)]
    pub rules: Vec<EnrollRule>,
    /// The key that has to sign every new node as well.
    #[serde(default)]
    pub countersign: Option<CountersignSpec>,
    /// Who is asked about a machine before its approval.
    #[serde(default)]
    pub inventory: Option<AskSpec>,
}

/// `countersign:`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CountersignSpec {
    /// Its public half, 64 hex digits, as `seedd countersign keygen` prints it.
    pub key: Spanned<String>,
}

/// What a machine that the plan names waits for. All others wait for their code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Approval {
    /// For the code on its console.
    #[default]
    Code,
    /// For one click. The machine tells the seed its code over the boot network, so that network is trusted.
    PlannedClick,
}

/// When a machine may open an enrollment that is neither planned nor has been a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WindowRule {
    #[default]
    Always,
    /// While an operator has opened the enrollment.
    Manual,
}

impl EnrollmentPolicy {
    /// Against the roles of the file.
    pub(crate) fn check(&self, roles: &BTreeSet<&str>) -> Result<(), SpecError> {
        if let Some(spec) = &self.countersign
            && key_from_text(&spec.key.value).is_err()
        {
            let hint = "`seedd countersign keygen` prints it: 64 hex digits";
            return Err(at(&spec.key, "enrollment.countersign: this is not the public half of a key".to_owned(), hint));
        }
        self.inventory.as_ref().map_or(Ok(()), AskSpec::check)?;
        check_rules(&self.rules, roles)
    }
}

fn default_pending_minutes() -> u32 {
    1440
}
fn default_wrong_codes() -> u32 {
    5
}
fn default_max_pending() -> u32 {
    256
}
fn default_install_minutes() -> u32 {
    60
}

impl Default for EnrollmentPolicy {
    fn default() -> Self {
        EnrollmentPolicy {
            pending_minutes: default_pending_minutes(),
            max_wrong_codes: default_wrong_codes(),
            max_pending: default_max_pending(),
            install_minutes: default_install_minutes(),
            approvals: Approvals::default(),
            policy: Approval::default(),
            window: WindowRule::default(),
            rules: Vec::new(),
            countersign: None,
            inventory: None,
        }
    }
}
