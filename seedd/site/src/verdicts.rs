//! What an operator said about a machine that is not a node: denied, or not now. By its MAC address, and by the key that it had
//! then. Kept as settings, so that a capsule includes them.

use cluster_seed::ids::Mac;
use serde::{Deserialize, Serialize};

use crate::setting;
use crate::store::{StoreError, Tx};

/// Most verdicts kept; the oldest makes room. Denying all machines of an address is not remembered, so that a flood of
/// addresses cannot push these out.
pub const MAX_VERDICTS: usize = 1_000;
/// Longest time for which a machine is set aside, in seconds: 30 days.
pub const MAX_ASIDE: u64 = 30 * 86_400;

/// What was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Said {
    /// It cannot open an enrollment until an operator allows it again.
    Denied,
    /// It waits, but is not among those that wait for an operator, until this time (Unix seconds).
    NotNow { until: u64 },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verdict {
    pub said: Said,
    pub by: String,
    /// Unix seconds.
    pub at: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The node key of the enrollment that was denied, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl Verdict {
    pub fn is_denial(&self) -> bool {
        self.said == Said::Denied
    }

    /// False once its time is over.
    pub fn holds(&self, now: u64) -> bool {
        match self.said {
            Said::Denied => true,
            Said::NotNow { until } => (self.at..until).contains(&now),
        }
    }
}

fn corrupt<E>(_: E) -> StoreError {
    StoreError::Corrupt { what: "a verdict about a machine" }
}

fn key(mac: Mac) -> String {
    format!("{}{mac}", setting::VERDICT)
}

/// The verdict about a machine that still holds.
pub fn of(tx: &Tx<'_>, mac: Mac, now: u64) -> Result<Option<Verdict>, StoreError> {
    let verdict: Option<Verdict> = tx.setting(&key(mac))?.map(|text| serde_json::from_str(&text)).transpose().map_err(corrupt)?;
    Ok(verdict.filter(|v| v.holds(now)))
}

/// All that still hold, the oldest first.
pub fn all(tx: &Tx<'_>, now: u64) -> Result<Vec<(Mac, Verdict)>, StoreError> {
    let read = |(key, text): (String, String)| {
        let mac = key.trim_start_matches(setting::VERDICT).parse().map_err(corrupt)?;
        Ok((mac, serde_json::from_str(&text).map_err(corrupt)?))
    };
    let mut all =
        tx.settings_under(setting::VERDICT)?.into_iter().map(read).collect::<Result<Vec<(Mac, Verdict)>, StoreError>>()?;
    all.retain(|(_, v)| v.holds(now));
    all.sort_by_key(|(mac, v)| (v.at, *mac));
    Ok(all)
}

/// The denial that names this key.
pub fn of_key(tx: &Tx<'_>, node_key: &str, now: u64) -> Result<Option<Verdict>, StoreError> {
    let found = all(tx, now)?.into_iter().find(|(_, v)| v.is_denial() && v.key.as_deref() == Some(node_key));
    Ok(found.map(|(_, v)| v))
}

/// Keeps a verdict in place of another about the same machine.
pub fn put(tx: &Tx<'_>, mac: Mac, verdict: &Verdict) -> Result<(), StoreError> {
    let text = serde_json::to_string(verdict).map_err(corrupt)?;
    // Those whose time is over go first.
    let held: Vec<_> = tx.settings_under(setting::VERDICT)?;
    if held.len() >= MAX_VERDICTS && tx.setting(&key(mac))?.is_none() {
        let at = |text: &str| serde_json::from_str::<Verdict>(text).map_or((false, 0), |v| (v.holds(verdict.at), v.at));
        if let Some((oldest, _)) = held.iter().min_by_key(|(_, text)| at(text)) {
            tx.unset(oldest)?;
        }
    }
    tx.set(&key(mac), &text)
}

/// True if there was one.
pub fn lift(tx: &Tx<'_>, mac: Mac) -> Result<bool, StoreError> {
    tx.unset(&key(mac))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn verdict(said: Said, at: u64) -> Verdict {
        Verdict { said, by: "ada".into(), at, reason: String::new(), key: Some(format!("{at:064x}")) }
    }

    fn mac(n: usize) -> Mac {
        let [.., c, d] = n.to_be_bytes();
        Mac([2, 0, 0, 0, c, d])
    }

    #[test]
    fn a_denial_holds_until_it_is_lifted_and_not_now_until_its_time_is_over() {
        let store = Store::in_memory().unwrap();
        let done: Result<(), StoreError> = store.write(|tx| {
            put(tx, mac(1), &verdict(Said::Denied, 10))?;
            put(tx, mac(2), &verdict(Said::NotNow { until: 20 }, 10))?;
            for (now, both) in [(10, true), (19, true), (20, false), (9, false)] {
                assert_eq!(of(tx, mac(2), now)?.is_some(), both, "{now}");
                assert!(of(tx, mac(1), now)?.is_some_and(|v| v.is_denial()));
            }
            assert!(of_key(tx, &format!("{:064x}", 10), 11)?.is_some() && of_key(tx, "x", 11)?.is_none());
            assert!(lift(tx, mac(1))? && !lift(tx, mac(1))? && of(tx, mac(1), 10)?.is_none());
            assert!(of_key(tx, &format!("{:064x}", 10), 11)?.is_none(), "setting aside refuses no key");
            Ok(())
        });
        done.unwrap();
    }

    #[test]
    fn the_oldest_makes_room_and_what_is_over_goes_first() {
        let store = Store::in_memory().unwrap();
        let done: Result<(), StoreError> = store.write(|tx| {
            for n in 0..MAX_VERDICTS {
                put(tx, mac(n), &verdict(Said::Denied, 100 + n as u64))?;
            }
            put(tx, mac(0), &verdict(Said::Denied, 5_000))?;
            assert_eq!(all(tx, 6_000)?.len(), MAX_VERDICTS, "one about the same machine takes its place");
            put(tx, mac(MAX_VERDICTS), &verdict(Said::NotNow { until: 6_000 }, 5_001))?;
            assert!(of(tx, mac(1), 5_500)?.is_none() && of(tx, mac(2), 5_500)?.is_some());
            put(tx, mac(MAX_VERDICTS + 1), &verdict(Said::Denied, 6_001))?;
            assert!(of(tx, mac(2), 6_001)?.is_some(), "the one that was over made room");
            assert_eq!(all(tx, 6_001)?.len(), MAX_VERDICTS);
            Ok(())
        });
        done.unwrap();
    }
}
