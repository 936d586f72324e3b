//! `spec.enrollment.rules`: what the form of an approval is filled in with, by the facts that a machine tells. The first rule
//! that fits counts. A rule decides nothing: a person sees it before anything is approved.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use super::disk::DiskWish;
use super::field::MAX_FIELD;
use super::glob;
use crate::join::pattern::NamePattern;
use crate::machine::HardwareFacts;
use crate::spec_error::{SpecError, at, whole};

/// Most rules.
pub const MAX_RULES: usize = 64;

/// One rule.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnrollRule {
    /// What a machine has to be; all of it.
    #[serde(rename = "match")]
    pub matches: RuleMatch,
    /// A name in `roles`.
    #[serde(default)]
    pub role: Option<Spanned<String>>,
    /// Host name, or a pattern with `{n}`.
    #[serde(default)]
    pub name: Option<NamePattern>,
    #[serde(default)]
    pub disk: Option<DiskWish>,
}

/// Conditions of a rule. Texts are patterns with `*` and `?`, in any case. One that is left out is met.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RuleMatch {
    pub vendor: Option<String>,
    pub product: Option<String>,
    pub serial: Option<String>,
    /// GiB, as the kernel counts it: a few per cent less than what is fitted.
    #[serde(rename = "minMemoryGiB")]
    pub min_memory_gib: Option<u32>,
    /// GiB: the largest disk that can be installed on has at least this size.
    #[serde(rename = "minDiskGiB")]
    pub min_disk_gib: Option<u32>,
    /// Number of disks that are not removable.
    pub disks: Option<u32>,
}

impl RuleMatch {
    /// Whether a machine meets every condition.
    pub fn fits(&self, facts: &HardwareFacts) -> bool {
        let text = |pattern: &Option<String>, text: &str| pattern.as_ref().is_none_or(|p| glob::fits(p, text));
        let own: Vec<_> = facts.disks.iter().filter(|d| !d.removable).collect();
        let largest = own.iter().filter(|d| d.unfit().is_none()).map(|d| d.size).max().unwrap_or_default();
        text(&self.vendor, &facts.vendor)
            && text(&self.product, &facts.product)
            && text(&self.serial, &facts.serial)
            && self.min_memory_gib.is_none_or(|gib| facts.memory_mib >= u64::from(gib) << 10)
            && self.min_disk_gib.is_none_or(|gib| largest >= u64::from(gib) << 30)
            && self.disks.is_none_or(|n| usize::try_from(n) == Ok(own.len()))
    }
}

/// Every rule names a role of the site or fills in something else, and no pattern is longer than a fact.
pub(crate) fn check(rules: &[EnrollRule], roles: &BTreeSet<&str>) -> Result<(), SpecError> {
    if rules.len() > MAX_RULES {
        return Err(whole(format!("enrollment.rules has {} entries, more than {MAX_RULES}", rules.len()), ""));
    }
    for (number, rule) in (1..).zip(rules) {
        if let Some(role) = rule.role.as_ref().filter(|r| !roles.contains(r.value.as_str())) {
            let shown: String = role.value.chars().take(MAX_FIELD).collect();
            let hint = format!("roles: {}", roles.iter().copied().collect::<Vec<_>>().join(", "));
            return Err(at(role, format!("enrollment.rules, entry {number}: there is no role {shown:?}"), &hint));
        }
        if rule.role.is_none() && rule.name.is_none() && rule.disk.is_none() {
            let hint = "give role, name or disk, or remove the rule";
            return Err(whole(format!("enrollment.rules, entry {number} fills in nothing"), hint));
        }
        let RuleMatch { vendor, product, serial, .. } = &rule.matches;
        if [vendor, product, serial].into_iter().flatten().any(|p| p.chars().count() > MAX_FIELD) {
            let message = format!("enrollment.rules, entry {number}: a pattern has more than {MAX_FIELD} characters");
            return Err(whole(message, ""));
        }
    }
    Ok(())
}
