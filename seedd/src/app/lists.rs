//! Which version of the peer list each node holds: reported by the nodes and compared with the seed's own.
//!
//! If a node holds a newer list, signed by this site, this seed was restored from an old copy; the seed continues with a
//! higher version. Two different lists with the same version raise an alarm.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cluster_seed::cluster::CONTROL_PLANE;
use cluster_seed::enrollment::EnrollmentEvent;
use cluster_seed::events::EventKind;
use cluster_seed::held::{Held, HeldReply, Refused};
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

/// Most node names in one sentence.
const MAX_NAMES: usize = 5;

/// What nodes reported since the site was opened.
#[derive(Debug, Default)]
pub struct Heard {
    /// Nodes that the seed asked for their list.
    asked: Mutex<HashSet<EnrollmentId>>,
    /// Requests for the list that did not come from a node.
    refused: AtomicU64,
    /// What nodes refused last, so that it is recorded once and not every 30 seconds.
    refusals: Mutex<HashMap<EnrollmentId, Refused>>,
}

impl Heard {
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// A newer list that a node sent to a seed that was restored from an old copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Overtaken {
    /// Unix seconds.
    pub at: u64,
    /// Version of this seed's list, and of the node's.
    pub had: u64,
    pub found: u64,
    /// Nodes that the newer list does not contain: revoked here too.
    pub revoked: Vec<Hostname>,
    /// Nodes of the newer list that this seed does not know: they have to be enrolled again.
    pub unknown: Vec<Hostname>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// At most `MAX_NAMES` names, and how many more there are.
pub fn some_of<T: ToString>(names: &[T]) -> String {
    let shown: Vec<String> = names.iter().take(MAX_NAMES).map(T::to_string).collect();
    let more = names.len().saturating_sub(MAX_NAMES);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

impl App {
    /// The list for a request without a signature: from a node on the control plane, or from an agent of version 0.1.
    pub fn peers_for(&self, from: IpAddr, via: Via) -> Result<Sealed<PeersFile>, ApiError> {
        let member = match (endpoint_of(from), via) {
            (Some(ip), Via::ControlPlane) => self.store.read(|tx| tx.is_on_plane(CONTROL_PLANE, ip))?,
            (Some(ip), Via::Underlay) => self.store.read(|tx| tx.is_unsigned_node(ip))?,
            (None, _) => false,
        };
        if member { self.signed_peers() } else { Err(self.stranger()) }
    }

    /// Counted, not recorded: strangers can send any number of requests.
    pub(super) fn stranger(&self) -> ApiError {
        self.heard.refused.fetch_add(1, Ordering::Relaxed);
        ApiError::forbidden("only nodes of this site that prove their identity get the peer list")
    }

    pub(super) fn member(&self, id: EnrollmentId) -> Result<(EnrollmentRecord, NodeRecord), ApiError> {
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
            return Err(ApiError::bad("a number in the message is too large", ""));
        }
        self.note_held(&node, &held)?;
        // Its report counts, whatever becomes of keys.
        if let Err(e) = self.hear_keys(&node, &held.next).and_then(|()| self.turn_keys()) {
            tracing::warn!(error = %e, node = %node.hostname, "replacing the keys of nodes");
        }
        self.hear_refused(&node, held.refused.as_ref())?;
        tracing::trace!(%from, node = %node.hostname, version = held.version, "a node reported which list it holds");
        // A seed that has not signed a list yet asks for the node's.
        let Some(own) = self.store.read(|tx| self.own_list(tx))? else { return Ok(self.ask(id, None)) };
        let numbers = (held.epoch, held.version);
        if numbers == own.numbers && held.digest == own.digest {
            return Ok(HeldReply { peers: None, send: false, apt: self.signed_apt_keys() });
        }
        if numbers >= own.numbers {
            return Ok(self.ask(id, Some(own.list.clone())));
        }
        Ok(HeldReply { peers: Some(own.list.clone()), send: false, apt: self.signed_apt_keys() })
    }

    /// Records what a node refused, if that is new.
    fn hear_refused(&self, node: &NodeRecord, refused: Option<&Refused>) -> Result<(), ApiError> {
        let mut known = lock(&self.heard.refusals);
        let Some(refused) = refused else {
            known.remove(&node.enrollment);
            return Ok(());
        };
        if known.get(&node.enrollment) == Some(refused) {
            return Ok(());
        }
        self.may_say(node.enrollment)?;
        known.insert(node.enrollment, refused.clone());
        drop(known);
        self.write(|tx| self.note_refused(tx, node, refused))
    }

    fn ask(&self, id: EnrollmentId, peers: Option<Sealed<PeersFile>>) -> HeldReply {
        lock(&self.heard.asked).insert(id);
        HeldReply { peers, send: true, apt: None }
    }

    /// Stores what a node holds, in one row and without an event. An old message is refused: it may be a replay.
    fn note_held(&self, node: &NodeRecord, held: &Held) -> Result<(), ApiError> {
        let said = HeldRecord { epoch: held.epoch, version: held.version, seq: held.seq, at: now() };
        if self.store.write_often(|tx| tx.set_held(node.id, &said))? {
            return Ok(());
        }
        Err(ApiError::conflict("a newer message of this node was already processed", ""))
    }

    /// Refuses a node that was not asked for its list, before the list is read.
    pub fn expects_list(&self, id: EnrollmentId) -> Result<(), ApiError> {
        if lock(&self.heard.asked).contains(&id) {
            return Ok(());
        }
        Err(ApiError::forbidden("this node was not asked for its peer list"))
    }

    pub fn take_list(&self, from: IpAddr, id: EnrollmentId, list: &Sealed<PeersFile>) -> Result<HeldReply, ApiError> {
        self.expects_list(id)?;
        lock(&self.heard.asked).remove(&id);
        let (_, node) = self.member(id)?;
        let not_ours = |_| ApiError::forbidden("the peer list is not signed by this site");
        let found = list.open(&self.site_key).map_err(not_ours)?;
        let who = format!("{} ({from})", node.hostname);
        if found.epoch > self.store.read(|tx| self.epoch(tx))? {
            self.fence(found.epoch, &who)?;
            return Ok(HeldReply { peers: None, send: false, apt: None });
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
        Ok(HeldReply { peers: self.signed_peers().ok(), send: false, apt: None })
    }

    /// The list has this site's own, newer signature: the seed adopts it, and revokes the nodes that it does not list.
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
            // Its keys were replaced after the copy was made.
            let rotated = found.rotated.get(&node.hostname) == Some(&node.id);
            if let Some(listed) = listed.filter(|listed| rotated || same(listed)) {
                self.adopt_keys(tx, &node, listed)?;
                known.insert(node.hostname);
                continue;
            }
            let record = tx.enrollment(node.enrollment)?;
            self.retire(tx, &record)?;
            let reason = "revoked before this seed was restored from an old copy";
            if record.state.after(EnrollmentEvent::Revoked).is_ok() {
                tx.advance(&record, EnrollmentEvent::Revoked, Some(reason), now())?;
            }
            let text = format!("{}: {reason}; it is not in the list that {who} holds", node.hostname);
            tx.event(now_ms(), &event_of(&record, EventKind::NodeRevoked, &text, None))?;
            revoked.push(node.hostname);
        }
        let unknown: Vec<Hostname> = found.nodes.keys().filter(|n| !known.contains(*n)).cloned().collect();
        tx.set(setting::PEERS, &serde_json::to_string(list).map_err(unexpected)?)?;
        let had = own.map_or(0, |o| o.version);
        let (off, again) = (some_of(&revoked), some_of(&unknown));
        let mut text = format!(
            "{who} holds version {} of the peer list, but this seed had {had}: this seed was restored from an old copy",
            found.version
        );
        for (nodes, what) in [(off, "revoked here too"), (again, "unknown here, enroll again")] {
            if !nodes.is_empty() {
                text.push_str(&format!("; {what}: {nodes}"));
            }
        }
        tx.event(now_ms(), &NewEvent::new(EventKind::PeersOvertaken, &text))?;
        let kept = Overtaken { at: now(), had, found: found.version, revoked, unknown };
        Ok(tx.set(setting::OVERTAKEN, &serde_json::to_string(&kept).map_err(unexpected)?)?)
    }

    /// Takes over the keys of a node as a newer list has them. Replacements that this copy had begun are over.
    fn adopt_keys(&self, tx: &Tx<'_>, node: &NodeRecord, listed: &PeerNode) -> Result<(), ApiError> {
        tx.end_rotations(node.id)?;
        for (plane, (_, held)) in &node.planes {
            if let Some(key) = listed.keys.get(plane).filter(|key| *key != held) {
                tx.set_plane_key(node.id, plane, key, now())?;
            }
        }
        Ok(())
    }

    /// Two lists with the same version, both signed by this site. Nothing is changed: the operator has to shut down one seed.
    fn forked(&self, tx: &Tx<'_>, who: &str, found: &PeersFile) -> Result<(), ApiError> {
        let text = format!(
            "{who} holds a different peer list than this seed, although both are version {} of epoch {} and signed by this site: two \
             seeds are signing for this site, or this one was restored from an old copy",
            found.version, found.epoch
        );
        if tx.setting(setting::FORKED)?.as_deref() != Some(&text) {
            tx.event(now_ms(), &NewEvent::new(EventKind::PeersForked, &text))?;
            tx.set(setting::FORKED, &text)?;
        }
        Ok(())
    }

    /// Signs the next version even if the nodes are the same. A sealed seed serves the list that it received.
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
