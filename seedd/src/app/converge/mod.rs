//! Convergence of nodes: their reports, their orders, their certificates, and what Prometheus scrapes.

mod orders;
mod report;
mod ssh;

pub mod act;
pub mod scenes;
pub mod targets;
pub mod view;

use std::net::IpAddr;
use std::sync::Arc;

use cluster_seed::cluster::CONTROL_PLANE;
use cluster_seed::converge::orders::{Answer, Ask};
use cluster_seed::ids::{Digest, EnrollmentId};
use cluster_seed::seal::Sealed;
use converge::fleet::Scene;
use host::clock::now;
use site::store::Tx;
use site::store::nodes::NodeRecord;
use web::api::ApiError;

use super::records::{endpoint_of, node_key};
use super::{App, unexpected};

/// Seconds after its last run or check run until a node is checked for drift.
const CHECK_EVERY: u64 = 86_400;

impl App {
    /// A node's message on the control plane: its report is stored, and it gets its orders.
    pub fn hear_converge(&self, from: IpAddr, id: EnrollmentId, sealed: &Sealed<Ask>) -> Result<Answer, ApiError> {
        let (record, node) = self.member(id)?;
        let ask = sealed.open(&node_key(&record)?).map_err(|_| self.stranger())?;
        if ask.enrollment != id {
            return Err(self.stranger());
        }
        let plane = node.planes.get(CONTROL_PLANE).map(|(ip, _)| *ip);
        if endpoint_of(from) != plane {
            return Err(ApiError::forbidden("orders are given on the control plane only"));
        }
        if [ask.seq, ask.epoch, ask.serial].iter().any(|n| i64::try_from(*n).is_err()) {
            return Err(ApiError::bad("a number in the message is too large", ""));
        }
        let stale = || ApiError::conflict("a newer message of this node was already processed", "");
        let note = |tx: &Tx<'_>| -> Result<Result<(), ApiError>, ApiError> {
            self.may_issue(tx)?;
            if !tx.take_converge_seq(node.id, ask.seq, now())? {
                return Ok(Err(stale()));
            }
            // Its number counts nevertheless: the same message shall not come again and again.
            if let Err(too_many) = self.may_say(id) {
                return Ok(Err(too_many));
            }
            self.note_converge(tx, &record, &node, &ask).map(Ok)
        };
        // What others see, as an event or a state, survives a power failure of the seed.
        let held = self.store.read(|tx| tx.converge_of(node.id))?;
        let noted = if report::says_nothing_new(&held, &ask) { self.write_often(note) } else { self.write_quietly(note) };
        noted??;
        match self.with_keys(|keys| self.write_quietly(|tx| self.order(tx, keys, &node, &ask))) {
            // The node goes on with what it has.
            Err(ApiError::Sealed) => self.held_orders(&node, &ask),
            other => other,
        }
    }

    /// The site as its nodes converge.
    pub fn scene(&self, tx: &Tx<'_>) -> Result<Scene, ApiError> {
        let payload = self.payload_in_use(tx)?;
        Ok(Scene::read(tx, &self.spec, payload, now())?)
    }

    /// The scene in which a node that has sent a message is decided for: the kept one, unless the node may begin to run something,
    /// or is another than it was. What a node begins is always decided by what is in the database at that moment.
    pub fn scene_for(&self, tx: &Tx<'_>, node: &NodeRecord) -> Result<Arc<Scene>, ApiError> {
        let generation = self.store.generation(tx)?;
        let record = tx.converge_of(node.id)?;
        if let Some(scene) = self.scenes.held(generation).filter(|scene| scene.still_decides(node.enrollment, &record)) {
            return Ok(scene);
        }
        let scene = Arc::new(self.scene(tx)?);
        self.scenes.keep(&scene, generation);
        Ok(scene)
    }

    /// Id and size of the payload in use, if its archive is there.
    fn payload_in_use(&self, tx: &Tx<'_>) -> Result<Option<(Digest, u64)>, ApiError> {
        let Some(id) = tx.payload()? else { return Ok(None) };
        match std::fs::metadata(self.site.payload_archive(id)) {
            Ok(meta) => Ok(Some((id, meta.len()))),
            Err(e) => Err(unexpected(anyhow::Error::from(e).context(format!("looking for payload {id}")))),
        }
    }

    /// The archive of a payload that nodes may fetch: the one in use, or of orders that were given.
    pub fn payload_file(&self, id: Digest) -> Option<camino::Utf8PathBuf> {
        let path = self.site.payload_archive(id);
        path.is_file().then_some(path)
    }
}
