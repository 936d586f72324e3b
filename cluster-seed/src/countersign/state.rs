//! What a seed keeps of countersigning, and which nodes its next peer list may have.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::judge::{Pin, follow, opened};
use super::list::{Countersignature, Countersigned, KeyChange, MAX_CHANGES};
use super::statement::NodeStatement;
use crate::ids::{Digest, Hostname, NodeId};
use crate::peers::{PeerNode, PeersFile};
use crate::seal::{SealError, Sealed, VerifyingKey, key_from_text};

/// The key in force, the changes that led to it, and all signatures. A row of the database; it goes to a second site.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct State {
    /// 64 hex digits; `None` after its own statement ended countersigning.
    pub key: Option<String>,
    pub serial: u64,
    pub changes: Vec<Sealed<KeyChange>>,
    /// Takes effect once the new key has signed every node of the list.
    pub next: Option<Sealed<KeyChange>>,
    pub signed: BTreeMap<NodeId, Vec<Signed>>,
}

/// A signature that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Signed {
    pub key: String,
    /// Of the statement, so that a changed entry needs another signature.
    pub statement: Digest,
    pub signature: Countersignature,
}

/// Why something that was signed elsewhere is refused.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("this is not the key in force, and not the one that follows it")]
    Key,
    #[error("there were {MAX_CHANGES} changes of the key, which is the most")]
    TooMany,
    #[error("the change of the key is not signed by the key in force of this site")]
    Change,
    #[error("checking a countersignature")]
    Seal(#[from] SealError),
}

/// The nodes of the next list.
#[derive(Debug, PartialEq, Eq)]
pub struct Composed {
    pub nodes: BTreeMap<Hostname, PeerNode>,
    /// `None` as long as nodes that were there before the first key have no signature.
    pub part: Option<Countersigned>,
    /// Approved, and not in the list.
    pub waiting: Vec<Hostname>,
    /// The state after this list.
    pub state: State,
}

/// The nodes that are approved.
pub type Approved = BTreeMap<Hostname, (NodeId, PeerNode)>;

impl State {
    /// The state with the key of cluster.yaml in force, if the site has no key. After countersigning was ended, only a key that the site
    /// never had takes effect: cluster.yaml may still name the one that ended it, or one that was replaced.
    pub fn with_first_key(self, wanted: Option<&str>) -> Self {
        let past =
            |key: &VerifyingKey| self.changes.iter().any(|change| key_from_text(change.claimed_key()).is_ok_and(|k| k == *key));
        let ended = |key: &str| key_from_text(key).is_ok_and(|key| past(&key));
        match wanted {
            Some(key) if self.key.is_none() && !ended(key) => State { key: Some(key.to_owned()), ..self },
            _ => self,
        }
    }

    /// The key that follows, if a change to one waits.
    pub fn next_key(&self, site: &VerifyingKey) -> Option<String> {
        self.change(site).and_then(|change| change.to)
    }

    fn change(&self, site: &VerifyingKey) -> Option<KeyChange> {
        let signer = key_from_text(self.key.as_deref()?).ok()?;
        opened(self.next.as_ref()?, &signer, site, self.serial)
    }

    /// Keeps a change of the key until every node has a signature of the new one.
    ///
    /// # Errors
    /// If the key in force did not sign it for this site.
    pub fn take_change(&mut self, change: &Sealed<KeyChange>, site: &VerifyingKey) -> Result<(), StateError> {
        if self.changes.len() >= MAX_CHANGES {
            return Err(StateError::TooMany);
        }
        let earlier = self.next.replace(change.clone());
        match self.change(site) {
            Some(read) if read.to.as_deref().is_none_or(|to| key_from_text(to).is_ok()) => Ok(()),
            _ => {
                self.next = earlier;
                Err(StateError::Change)
            }
        }
    }

    /// Keeps a signature about a node. One with a lower number than the kept one of the same key changes nothing.
    ///
    /// # Errors
    /// If it is not one of the key in force or of the next one.
    pub fn take(
        &mut self,
        site: &VerifyingKey,
        node: NodeId,
        statement: &NodeStatement,
        (key, signature): (&str, &Countersignature),
    ) -> Result<(), StateError> {
        if self.key.as_deref() != Some(key) && self.next_key(site).as_deref() != Some(key) {
            return Err(StateError::Key);
        }
        statement.check(signature, &key_from_text(key)?)?;
        let held = self.signed.entry(node).or_default();
        if held.iter().any(|s| s.key == key && s.signature.number() >= signature.number()) {
            return Ok(());
        }
        held.retain(|s| s.key != key);
        let digest = digest(statement)?;
        held.push(Signed { key: key.to_owned(), statement: digest, signature: signature.clone() });
        Ok(())
    }

    /// The signature of this key about the entry as it is now.
    fn signature(
        &self,
        key: &str,
        site: &VerifyingKey,
        name: &Hostname,
        id: NodeId,
        node: &PeerNode,
    ) -> Option<Countersignature> {
        let held = self.signed.get(&id)?.iter().find(|s| s.key == key)?;
        let now = digest(&NodeStatement::of(site, name, node, held.signature.number())).ok()?;
        (now == held.statement).then(|| held.signature.clone())
    }

    /// Whether this key has signed the entry.
    pub fn has(&self, key: &str, site: &VerifyingKey, name: &Hostname, (id, node): &(NodeId, PeerNode)) -> bool {
        self.signature(key, site, name, *id, node).is_some()
    }

    /// With the key of a list that this site signed later than this state was kept: a node has it, and this seed was restored from
    /// an old copy.
    fn catch_up(mut self, site: &VerifyingKey, list: &PeersFile) -> Self {
        let Some(part) = &list.countersign else { return self };
        let is_new = self.key.is_none() && self.changes.is_empty();
        if part.serial <= self.serial && !is_new {
            return self;
        }
        let pin = self.key.clone().map(|key| Pin { key: Some(key), serial: self.serial, floors: BTreeMap::new() });
        if let Ok(Some(pin)) = follow(pin.as_ref(), site, list) {
            (self.key, self.serial, self.changes, self.next) = (pin.key, pin.serial, part.changes.clone(), None);
        }
        self
    }

    /// Chooses the nodes of the next list, besides the seed. `wanted` is the key of cluster.yaml, `before` the list in use.
    pub fn compose(self, wanted: Option<&str>, site: &VerifyingKey, approved: Approved, before: Option<&PeersFile>) -> Composed {
        let mut state = match before {
            Some(list) => self.catch_up(site, list),
            None => self,
        }
        .with_first_key(wanted);
        let live: BTreeSet<NodeId> = approved.values().map(|(id, _)| *id).collect();
        state.signed.retain(|id, _| live.contains(id));
        let listed = |name: &Hostname, node: &PeerNode| {
            before.is_some_and(|list| list.nodes.get(name).is_some_and(|held| held.keys == node.keys))
        };
        let all_have = |state: &State, key: &str| {
            let mut old = approved.iter().filter(|(name, (_, node))| listed(name, node));
            old.all(|(name, entry)| state.has(key, site, name, entry))
        };
        if let Some(change) = state.change(site)
            && change.to.as_deref().is_none_or(|to| all_have(&state, to))
        {
            state.changes.extend(state.next.take());
            (state.key, state.serial) = (change.to, change.serial);
        }
        let everyone = |approved: Approved| approved.into_iter().map(|(name, (_, node))| (name, node)).collect();
        let part = |state: &State, nodes| Countersigned {
            key: state.key.clone(),
            serial: state.serial,
            changes: state.changes.clone(),
            nodes,
        };
        let Some(key) = state.key.clone() else {
            // After the end, nodes that were off learn of it from the list.
            let ended = (!state.changes.is_empty()).then(|| part(&state, BTreeMap::new()));
            return Composed { nodes: everyone(approved), part: ended, waiting: Vec::new(), state };
        };
        let checked = before.is_some_and(|list| list.countersign.as_ref().is_some_and(|c| c.key.is_some()));
        let whole = checked || all_have(&state, &key);
        let (mut nodes, mut signatures, mut waiting) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for (name, (id, node)) in approved {
            let held = state.signature(&key, site, &name, id, &node);
            match held.or_else(|| listed_signature(before, &key, site, &name, &node)) {
                Some(signature) => drop(signatures.insert(name.clone(), signature)),
                None if !whole && listed(&name, &node) => {}
                None => {
                    waiting.push(name);
                    continue;
                }
            }
            nodes.insert(name, node);
        }
        let part = whole.then(|| part(&state, signatures));
        Composed { nodes, part, waiting, state }
    }
}

/// The signature in the list in use, if it is one of this entry: a seed that was restored from an old copy does not have it.
fn listed_signature(
    before: Option<&PeersFile>,
    key: &str,
    site: &VerifyingKey,
    name: &Hostname,
    node: &PeerNode,
) -> Option<Countersignature> {
    let part = before?.countersign.as_ref().filter(|part| part.key.as_deref() == Some(key))?;
    let signature = part.nodes.get(name)?;
    let statement = NodeStatement::of(site, name, node, signature.number());
    statement.check(signature, &key_from_text(key).ok()?).is_ok().then(|| signature.clone())
}

fn digest(statement: &NodeStatement) -> Result<Digest, SealError> {
    Ok(Digest::of(&serde_json::to_vec(statement)?))
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
