//! What the form of the mock's waiting machine is filled in with.

use std::collections::BTreeMap;

use cluster_seed::ids::Mac;

use super::data::{CLOCK, PENDING, pending_id};
use crate::api::{ClaimantView, SuggestionView};

/// By a rule: it approves nobody.
pub fn suggestion(spice: &str) -> SuggestionView {
    SuggestionView {
        source: format!("by rule 2{spice}"),
        planned: false,
        hostname: Some("r01u07".to_owned()),
        role: Some("base".to_owned()),
        wish: Some(format!("smallest{spice}")),
        disk: Some("nvme0n1".to_owned()),
        place: format!("hall 2{spice}"),
        labels: BTreeMap::from([("rack".to_owned(), format!("1{spice}"))]),
        differs: Vec::new(),
        trouble: None,
        why: None,
        ready: false,
        click: false,
        rivals: Vec::new(),
    }
}

/// Another machine that claims the same row.
pub fn claimant(spice: &str) -> ClaimantView {
    ClaimantView {
        machine: PENDING,
        enrollment: pending_id(),
        mac: Mac([0x52, 0x54, 0, 0xab, 0, 2]),
        serial: format!("SN9{spice}"),
        model: format!("X{spice}"),
        address: [10, 44, 0, 101].into(),
        number: Some(12),
        since: CLOCK - 60,
        chosen: false,
    }
}
