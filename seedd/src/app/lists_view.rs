//! The nodes' peer lists in the web interface.

use std::collections::HashMap;
use std::sync::Arc;

use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::held::LATE;
use cluster_seed::ids::{EnrollmentId, Hostname};
use cluster_seed::peers::PeersFile;
use host::clock::now;
use serde::{Deserialize, Serialize};
use site::setting;
use site::store::Tx;
use web::api::{ApiError, HeldView, ListsView};

use super::lists::{Overtaken, some_of};
use super::own_list::OwnList;
use super::{App, unexpected};

/// When this seed signed its lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Signed {
    /// Epoch and version, and Unix seconds.
    pub list: (u64, u64),
    pub at: u64,
    /// The newest list from which nodes were removed.
    pub revocation: Option<(u64, u64)>,
    pub revoked_at: u64,
    /// The nodes that it removed.
    pub revoked: Vec<Hostname>,
}

impl Signed {
    /// Updates the history after `next` was signed to replace `before`.
    pub fn then(self, before: Option<&PeersFile>, next: &PeersFile, now: u64) -> Self {
        let list = (next.epoch, next.version);
        let gone: Vec<Hostname> = before.map_or_else(Vec::new, |b| next.lacks(b).into_iter().cloned().collect());
        if gone.is_empty() {
            return Signed { list, at: now, ..self };
        }
        Signed { list, at: now, revocation: Some(list), revoked_at: now, revoked: gone }
    }

    /// Whether a node that holds `held` is late with the newest list, and with the one of the last revocation: `(behind,
    /// unaware)`. A clock that was set back does not extend the grace time.
    fn judge(&self, held: Option<(u64, u64)>, now: u64) -> (bool, bool) {
        let late = |at: u64| !(at..at.saturating_add(LATE)).contains(&now);
        let lacks = |list: (u64, u64)| held.is_none_or(|h| h < list);
        let unaware = self.revocation.is_some_and(|list| lacks(list) && late(self.revoked_at));
        (unaware || (lacks(self.list) && late(self.at)), unaware)
    }
}

/// The state of all nodes.
#[derive(Debug, Default)]
pub(super) struct Standing {
    pub lists: ListsView,
    of: HashMap<EnrollmentId, (HeldView, u64)>,
    /// When machines that wait for approval last polled, in Unix seconds.
    polled: HashMap<EnrollmentId, u64>,
    behind: Vec<Hostname>,
    unaware: Vec<Hostname>,
}

impl Standing {
    /// What a node holds, and when it reported that, in Unix seconds; 0 for never.
    pub fn of(&self, id: EnrollmentId) -> Option<(HeldView, u64)> {
        self.of.get(&id).copied()
    }

    /// When a machine that waits for approval last polled, in Unix seconds; 0 if it did not.
    pub fn polled(&self, id: EnrollmentId) -> u64 {
        self.polled.get(&id).copied().unwrap_or_default()
    }

    /// Warnings for operators, as sentences.
    pub fn warnings(&self, seed: &Hostname) -> Vec<String> {
        let (all, n) = (self.lists.nodes, self.unaware.len());
        if n > 0 {
            let gone = some_of(&self.lists.revoked);
            if gone == seed.as_str() {
                return vec![format!(
                    "the seed's keys of planes were changed: {n} of {all} nodes have not received the new ones yet ({})",
                    some_of(&self.unaware)
                )];
            }
            return vec![format!(
                "{gone} revoked: {n} of {all} nodes have not received this revocation yet ({})",
                some_of(&self.unaware)
            )];
        }
        if self.behind.is_empty() {
            return Vec::new();
        }
        vec![format!("{} of {all} nodes hold an older peer list ({})", self.behind.len(), some_of(&self.behind))]
    }
}

impl App {
    pub(super) fn signed_at(&self, tx: &Tx<'_>) -> Result<Signed, ApiError> {
        let text = tx.setting(setting::PEERS_SIGNED)?;
        Ok(text.map(|t| serde_json::from_str(&t)).transpose().map_err(unexpected)?.unwrap_or_default())
    }

    /// The seed's own list, which is opened once; `None` until the seed was unsealed once.
    pub(super) fn own_list(&self, tx: &Tx<'_>) -> Result<Option<Arc<OwnList>>, ApiError> {
        self.own_list.newest(&self.store, tx, &self.site_key)
    }

    /// Its epoch and version.
    fn own_numbers(&self, tx: &Tx<'_>) -> Result<Option<(u64, u64)>, ApiError> {
        Ok(self.own_list(tx)?.map(|own| own.numbers))
    }

    /// Compares the list of every running node with the seed's.
    pub(super) fn standing(&self, tx: &Tx<'_>) -> Result<Standing, ApiError> {
        let mut standing = Standing { polled: self.polled(), ..Standing::default() };
        let Some(list) = self.own_numbers(tx)? else { return Ok(standing) };
        let signed = Signed { list, ..self.signed_at(tx)? };
        standing.lists.version = list.1;
        for holder in tx.holders()?.into_iter().filter(|h| h.state.boots_from_disk()) {
            let held = holder.held.map(|h| (h.epoch, h.version));
            // Until its planes are up, a node may still be in its first boot from disk.
            let silent = held.is_none_or(|(epoch, _)| epoch == 0) && holder.state == EnrollmentState::Installed;
            let (behind, unaware) = if silent { (false, false) } else { signed.judge(held, now()) };
            // Versions can be compared only within one epoch.
            let version = holder.held.filter(|h| h.epoch == list.0).map(|h| h.version);
            let view = HeldView { version, current: list.1, behind };
            standing.of.insert(holder.enrollment, (view, holder.held.map_or(0, |h| h.at)));
            standing.lists.nodes += 1;
            standing.lists.behind += u32::from(behind);
            standing.lists.unaware += u32::from(unaware);
            if behind {
                standing.behind.push(holder.hostname.clone());
            }
            if unaware {
                standing.unaware.push(holder.hostname);
            }
        }
        standing.lists.revoked = signed.revoked.iter().map(Hostname::to_string).collect();
        Ok(standing)
    }

    /// The same for some enrollments only: a page of the list does not read all nodes.
    pub(super) fn standing_of(&self, tx: &Tx<'_>, some: &[(EnrollmentId, EnrollmentState)]) -> Result<Standing, ApiError> {
        let mut standing = Standing { polled: self.polled(), ..Standing::default() };
        let Some(list) = self.own_numbers(tx)? else { return Ok(standing) };
        let signed = Signed { list, ..self.signed_at(tx)? };
        for (id, state) in some.iter().filter(|(_, state)| state.boots_from_disk()) {
            let Some(node) = tx.node_of(*id)?.filter(|n| !n.revoked) else { continue };
            let held = tx.held_of(node.id)?;
            let silent = held.is_none_or(|h| h.epoch == 0) && *state == EnrollmentState::Installed;
            let behind = !silent && signed.judge(held.map(|h| (h.epoch, h.version)), now()).0;
            let version = held.filter(|h| h.epoch == list.0).map(|h| h.version);
            let view = HeldView { version, current: list.1, behind };
            standing.of.insert(*id, (view, held.map_or(0, |h| h.at)));
        }
        Ok(standing)
    }

    /// Findings that stay on the page until an operator acknowledges them.
    pub(super) fn list_alarms(&self, tx: &Tx<'_>) -> Result<Vec<String>, ApiError> {
        let mut all = Vec::new();
        if let Some(text) = tx.setting(setting::OVERTAKEN)? {
            let o: Overtaken = serde_json::from_str(&text).map_err(unexpected)?;
            let mut text = format!(
                "this seed was restored from an old copy: a node held version {} of the peer list, but this seed had {}; it \
                 continues with a higher version",
                o.found, o.had
            );
            for (nodes, what) in [(&o.revoked, "revoked"), (&o.unknown, "unknown here, enroll them again")] {
                if !nodes.is_empty() {
                    text.push_str(&format!("; {what}: {}", some_of(nodes)));
                }
            }
            all.push(text);
        }
        all.extend(tx.setting(setting::FORKED)?);
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::super::testing::{PASSPHRASE, app};
    use super::*;

    #[test]
    fn a_node_is_behind_after_the_grace_time() {
        let signed = Signed { list: (1, 9), at: 500, revocation: Some((1, 7)), revoked_at: 100, revoked: vec![] };
        for (held, now, expected) in [
            (Some((1, 9)), 9_999, (false, false)),
            (Some((1, 8)), 500 + LATE - 1, (false, false)),
            (Some((1, 8)), 500 + LATE, (true, false)),
            (Some((1, 6)), 100 + LATE - 1, (true, false)),
            (Some((1, 6)), 500, (true, true)),
            (None, 500, (true, true)),
            // From an earlier epoch.
            (Some((0, 99)), 9_999, (true, true)),
            // The clock was set back.
            (Some((1, 6)), 5, (true, true)),
        ] {
            assert_eq!(signed.judge(held, now), expected, "{held:?} at {now}");
        }
        assert_eq!(Signed { revocation: None, ..signed }.judge(Some((1, 6)), 9_999), (true, false));
    }

    #[test]
    fn the_list_is_opened_once_and_what_was_undone_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let app = app(Utf8Path::from_path(dir.path()).unwrap());
        let read = || app.store.read(|tx| app.own_list(tx)).unwrap();
        assert!(read().is_none());
        app.unseal_with(PASSPHRASE, "test").unwrap();
        let first = read().unwrap();
        app.store.set("another", "setting").unwrap();
        assert!(Arc::ptr_eq(&first, &read().unwrap()), "its text is the same");
        let undone: Result<(), ApiError> = app.store.write(|tx| {
            tx.unset(setting::PEERS)?;
            assert!(app.own_list(tx)?.is_none());
            Err(ApiError::NotFound { what: "node" })
        });
        assert!(undone.is_err());
        assert_eq!(read().unwrap().numbers, first.numbers);
    }
}
