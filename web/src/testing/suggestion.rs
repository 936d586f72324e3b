//! What the form of the mock's waiting machine is filled in with.

use std::collections::BTreeMap;

use crate::api::SuggestionView;

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
