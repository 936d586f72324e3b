//! Which list of peers the nodes hold: told by each of them, compared with the seed's, and shown.
//!
//! A node that holds a newer list than this seed means that this seed was restored from an old copy: its signature on the
//! list says so, and the seed goes on above it. Two lists under one number are an alarm.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cluster_seed::cluster::CONTROL_PLANE;
use cluster_seed::enrollment::EnrollmentEvent;
use cluster_seed::events::EventKind;
use cluster_seed::held::{Held, HeldReply};
use cluster_seed::ids::{EnrollmentId, Hostname};
use cluster_seed::peers::{Order, PeerNode, PeersFile};
use cluster_seed::seal::Sealed;
use host::clock::{now, now_ms};
use serde::{Deserialize, Serialize};
use site::mode::Mode;
use site::setting;
use site::store::Tx;
use site::store::enrollments::EnrollmentRecord;
use site::store::events::NewEvent;
use site::store::held::HeldRecord;
use site::store::nodes::NodeRecord;
use web::api::{ApiError, Via};

use super::records::{endpoint_of, event_of, node_key};
use super::{App, unexpected};

/// Names of nodes in one sentence.
const MAX_NAMES: usize = 5;

/// What was heard since the site was opened.
#[derive(Debug, Default)]
pub struct Heard {
    /// Nodes that were asked for their list.
    asked: Mutex<HashSet<EnrollmentId>>,
    /// Requests for the list that came from no member.
    refused: AtomicU64,
}

impl Heard {
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// A newer list that a node brought to a seed that was restored from an old copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Overtaken {
    /// Unix seconds.
    pub at: u64,
    /// Version of this seed's list, and of the node's.
    pub had: u64,
    pub found: u64,
    /// Nodes that are not in the newer list: revoked here too.
    pub revoked: Vec<Hostname>,
    /// Nodes of the newer list that this seed does not know: they have to enroll again.
    pub unknown: Vec<Hostname>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// At most [`MAX_NAMES`] names, and how many more there are.
pub fn some_of<T: ToString>(names: &[T]) -> String {
    let shown: Vec<String> = names.iter().take(MAX_NAMES).map(T::to_string).collect();
    let more = names.len().saturating_sub(MAX_NAMES);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

impl App {
    /// The list for whoever asks without a signature: a node on the control plane, or one with an agent of version 0.1.
    pub fn peers_for(&self, from: IpAddr, via: Via) -> Result<Sealed<PeersFile>, ApiError> {
        let member = match (endpoint_of(from), via) {
            (Some(ip), Via::ControlPlane) => self.store.read(|tx| tx.is_on_plane(CONTROL_PLANE, ip))?,
            (Some(ip), Via::Underlay) => self.store.read(|tx| tx.is_unsigned_node(ip))?,
            (None, _) => false,
        };
        if member { self.signed_peers() } else { Err(self.stranger()) }
    }

    /// Counted, not recorded: strangers send as much as they like.
    fn stranger(&self) -> ApiError {
        self.heard.refused.fetch_add(1, Ordering::Relaxed);
        ApiError::forbidden("the list of peers is for members of this site, on proof")
    }

    fn member(&self, id: EnrollmentId) -> Result<(EnrollmentRecord, NodeRecord), ApiError> {
        let found = self.store.read(|tx| {
            let Some(node) = tx.node_of(id)? else { return Ok::<_, ApiError>(None) };
            Ok(Some((tx.enrollment(id)?, node)))
        })?;
        let live = found.filter(|(record, node)| record.state.is_member() && !node.revoked);
        live.ok_or_else(|| self.stranger())
    }

    pub fn hear_held(&self, from: IpAddr, id: EnrollmentId, sealed: &Sealed<Held>) -> Result<HeldReply, ApiError> {
        let (record, node) = self.member(id)?;
        let held = sealed.open(&node_key(&record)?).map_err(|_| self.stranger())?;
        if held.enrollment != id {
            return Err(self.stranger());
        }
        if [held.seq, held.epoch, held.version].iter().any(|n| i64::try_from(*n).is_err()) {
            return Err(ApiError::bad("a number of the message is too large", ""));
        }
        self.note_held(&node, &held)?;
        tracing::trace!(%from, node = %node.hostname, version = held.version, "a node told which list it holds");
        let own = match self.signed_peers() {
            Ok(own) => own,
            // A seed that has signed none yet learns of the node's.
            Err(ApiError::Unavailable { .. }) => return Ok(self.ask(id, None)),
            Err(e) => return Err(e),
        };
        let current = own.open(&self.site_key).map_err(unexpected)?;
        let numbers = |epoch, version| (epoch, version) == (current.epoch, current.version);
        if numbers(held.epoch, held.version) && held.digest == own.digest() {
            return Ok(HeldReply { peers: None, send: false });
        }
        if (held.epoch, held.version) >= (current.epoch, current.version) {
            return Ok(self.ask(id, Some(own)));
        }
        Ok(HeldReply { peers: Some(own), send: false })
    }

    fn ask(&self, id: EnrollmentId, peers: Option<Sealed<PeersFile>>) -> HeldReply {
        lock(&self.heard.asked).insert(id);
        HeldReply { peers, send: true }
    }

    /// Writes down what a node holds, in one row and no event. An old message is refused: it may be a replay.
    fn note_held(&self, node: &NodeRecord, held: &Held) -> Result<(), ApiError> {
        let said = HeldRecord { epoch: held.epoch, version: held.version, seq: held.seq, at: now() };
        if self.store.write(|tx| tx.set_held(node.id, &said))? {
            return Ok(());
        }
        Err(ApiError::conflict("a later message of this node was heard before", ""))
    }

    /// Refuses whoever was not asked for a list, before the list is read.
    pub fn expects_list(&self, id: EnrollmentId) -> Result<(), ApiError> {
        if lock(&self.heard.asked).contains(&id) {
            return Ok(());
        }
        Err(ApiError::forbidden("this node was not asked for its list of peers"))
    }

    pub fn take_list(&self, from: IpAddr, id: EnrollmentId, list: &Sealed<PeersFile>) -> Result<HeldReply, ApiError> {
        self.expects_list(id)?;
        lock(&self.heard.asked).remove(&id);
        let (_, node) = self.member(id)?;
        let not_ours = |_| ApiError::forbidden("the list of peers is not signed by this site");
        let found = list.open(&self.site_key).map_err(not_ours)?;
        let who = format!("{} ({from})", node.hostname);
        if found.epoch > self.store.read(|tx| self.epoch(tx))? {
            self.fence(found.epoch, &who)?;
            return Ok(HeldReply { peers: None, send: false });
        }
        let changed = self.write(|tx| {
            if Mode::of(tx)? != Mode::Active {
                return Ok(false);
            }
            match self.held_peers(tx)? {
                Some(own) => match found.order(&own) {
                    Order::Newer => self.overtaken(tx, &who, Some(&own), &found, list).map(|()| true),
                    Order::Conflict => self.forked(tx, &who, &found).map(|()| false),
                    Order::Same | Order::Older => Ok(false),
                },
                None => self.overtaken(tx, &who, None, &found, list).map(|()| true),
            }
        })?;
        if changed {
            tracing::error!(node = %who, version = found.version, "this seed was restored from an old copy: a node has a newer list");
            self.sign_above()?;
        }
        Ok(HeldReply { peers: self.signed_peers().ok(), send: false })
    }

    /// This seed's own, newer signature: the seed takes that list for its own, and revokes whom it does not list.
    fn overtaken(
        &self,
        tx: &Tx<'_>,
        who: &str,
        own: Option<&PeersFile>,
        found: &PeersFile,
        list: &Sealed<PeersFile>,
    ) -> Result<(), ApiError> {
        let (mut revoked, mut known) = (Vec::new(), HashSet::from([self.seed_name.clone()]));
        for node in tx.live_nodes()? {
            let listed = found.nodes.get(&node.hostname);
            let same = |p: &PeerNode| node.planes.iter().all(|(plane, (_, key))| p.keys.get(plane) == Some(key));
            if listed.is_some_and(same) {
                known.insert(node.hostname);
                continue;
            }
            let record = tx.enrollment(node.enrollment)?;
            self.retire(tx, &record)?;
            let reason = "revoked before this seed was restored from an old copy";
            if record.state.after(EnrollmentEvent::Revoked).is_ok() {
                tx.advance(&record, EnrollmentEvent::Revoked, Some(reason), now())?;
            }
            let text = format!("{}: {reason}; the list that {who} holds does not have it", node.hostname);
            tx.event(now_ms(), &event_of(&record, EventKind::NodeRevoked, &text, None))?;
            revoked.push(node.hostname);
        }
        let unknown: Vec<Hostname> = found.nodes.keys().filter(|n| !known.contains(*n)).cloned().collect();
        tx.set(setting::PEERS, &serde_json::to_string(list).map_err(unexpected)?)?;
        let had = own.map_or(0, |o| o.version);
        let (off, again) = (some_of(&revoked), some_of(&unknown));
        let mut text =
            format!("{who} holds version {} of the list of peers, this seed had {had}: it is an old copy", found.version);
        for (nodes, what) in [(off, "revoked here too"), (again, "unknown here, to be enrolled again")] {
            if !nodes.is_empty() {
                text.push_str(&format!("; {what}: {nodes}"));
            }
        }
        tx.event(now_ms(), &NewEvent::new(EventKind::PeersOvertaken, &text))?;
        let kept = Overtaken { at: now(), had, found: found.version, revoked, unknown };
        Ok(tx.set(setting::OVERTAKEN, &serde_json::to_string(&kept).map_err(unexpected)?)?)
    }

    /// Two lists of one number, both signed by this site. Nothing is decided: one of two seeds has to go.
    fn forked(&self, tx: &Tx<'_>, who: &str, found: &PeersFile) -> Result<(), ApiError> {
        let text = format!(
            "{who} holds another list of peers than this seed, both are version {} of epoch {} and signed by this site: two \
             seeds sign for it, or this one was restored from an old copy",
            found.version, found.epoch
        );
        if tx.setting(setting::FORKED)?.as_deref() != Some(&text) {
            tx.event(now_ms(), &NewEvent::new(EventKind::PeersForked, &text))?;
            tx.set(setting::FORKED, &text)?;
        }
        Ok(())
    }

    /// Signs the next version whether or not the nodes are the same. A sealed seed serves the list it was brought.
    fn sign_above(&self) -> Result<(), ApiError> {
        let signed = self.with_keys(|keys| {
            self.write(|tx| {
                self.may_issue(tx)?;
                self.sign_peers(tx, keys).map(|_| ())
            })
        });
        self.planes_changed.send_modify(|v| *v += 1);
        match signed {
            Err(ApiError::Sealed) => Ok(()),
            other => other,
        }
    }
}
