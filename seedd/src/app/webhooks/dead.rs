//! Events that a receiver did not take in the end. The newest are kept.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use site::setting;
use site::store::{StoreError, Tx};
use web::api::DeadLetterView;

/// Most dead letters that are kept.
const MAX_DEAD: usize = 200;
/// Longest reason that is kept, in characters.
const MAX_WHY: usize = 300;

/// A row of the setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dead {
    pub url: String,
    pub event: i64,
    pub kind: String,
    pub text: String,
    /// Unix seconds, when it was given up.
    pub at: u64,
    pub attempts: u32,
    pub why: String,
}

impl From<Dead> for DeadLetterView {
    fn from(d: Dead) -> Self {
        let Dead { url, event, kind, text, at, attempts, why } = d;
        DeadLetterView { url, event, kind, text, at, attempts, why }
    }
}

/// Newest first.
pub fn all(tx: &Tx<'_>) -> Result<Vec<Dead>, StoreError> {
    let text = tx.setting(setting::WEBHOOKS_DEAD)?;
    let corrupt = |_| StoreError::Corrupt { what: "setting.webhooks-dead" };
    Ok(text.map(|t| serde_json::from_str(&t)).transpose().map_err(corrupt)?.unwrap_or_default())
}

pub fn add(tx: &Tx<'_>, dead: Dead) -> Result<(), StoreError> {
    let mut held = all(tx)?;
    let why = dead.why.chars().take(MAX_WHY).collect();
    held.insert(0, Dead { why, ..dead });
    held.truncate(MAX_DEAD);
    let text = serde_json::to_string(&held).map_err(|_| StoreError::Corrupt { what: "setting.webhooks-dead" })?;
    tx.set(setting::WEBHOOKS_DEAD, &text)
}

#[cfg(test)]
mod tests {
    use site::store::Store;

    use super::*;

    #[test]
    fn the_newest_are_kept() {
        let store = Store::in_memory().unwrap();
        let dead = |event| Dead {
            url: "http://x".into(),
            event,
            kind: "k".into(),
            text: "t".into(),
            at: 1,
            attempts: 7,
            why: "w".repeat(MAX_WHY + 1),
        };
        for event in 0..=MAX_DEAD as i64 {
            store.write(|tx| add(tx, dead(event))).unwrap();
        }
        let held = store.read(all).unwrap();
        assert_eq!((held.len(), held[0].event, held[MAX_DEAD - 1].event), (MAX_DEAD, MAX_DEAD as i64, 1));
        assert_eq!(held[0].why.chars().count(), MAX_WHY);
    }
}
