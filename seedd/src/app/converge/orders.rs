//! The orders of a node: decided, signed, and given out with its certificates.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use cluster_seed::agent::knows;
use cluster_seed::converge::orders::{
    Answer, Ask, Barrier, IssuedBundle, Orders, POLL_IDLE, POLL_RUNNING, POLL_WAITING, Run, RunMode,
};
use cluster_seed::converge::stage::Decision;
use cluster_seed::events::EventKind;
use cluster_seed::seal::Sealed;
use converge::fleet::Scene;
use converge::pki::{self, Authorities};
use host::clock::{now, now_ms};
use site::keys::Unsealed;
use site::store::Tx;
use site::store::converge::Converging;
use site::store::events::NewEvent;
use site::store::nodes::NodeRecord;
use web::api::ApiError;

use super::super::{App, unexpected};
use super::CHECK_EVERY;

/// What a node gets to know.
struct Wish {
    barriers: Vec<Barrier>,
    run: Option<Run>,
    poll: u64,
}

impl App {
    /// Decides for one node and signs what is new.
    pub(super) fn order(&self, tx: &Tx<'_>, keys: &Unsealed, of: &NodeRecord, ask: &Ask) -> Result<Answer, ApiError> {
        let scene = self.scene_for(tx, of)?;
        let id = of.enrollment;
        let Some(node) = scene.node(id) else { return Err(self.stranger()) };
        let held = tx.orders_of(node.node.id)?;
        let opened = held.as_ref().and_then(|sealed| sealed.open(&self.site_key).ok());
        let wish = self.wish(tx, &scene, node, opened.as_ref())?;
        let certificates = self.certificates(tx, keys, &scene, node, ask)?;
        let epoch = self.epoch(tx)?;
        let same = opened.as_ref().is_some_and(|o| o.epoch == epoch && o.barriers == wish.barriers && o.run == wish.run);
        let nothing = opened.is_none() && wish.run.is_none() && wish.barriers.is_empty();
        let orders = match held.filter(|_| same) {
            Some(sealed) => Some(sealed),
            None if nothing => None,
            None => {
                let serial = opened.filter(|o| o.epoch == epoch).map_or(1, |o| o.serial + 1);
                let orders = Orders { enrollment: id, epoch, serial, barriers: wish.barriers, run: wish.run };
                let sealed = Sealed::sign(&orders, &keys.site).map_err(unexpected)?;
                tx.set_orders(node.node.id, &sealed)?;
                Some(sealed)
            }
        };
        let ssh = self.ssh_certificate(tx, keys, &scene, node, ask)?;
        Ok(Answer { orders: self.unless_held(orders, ask), certificates, poll: wish.poll, ssh, knows: knows::all() })
    }

    /// For a sealed seed: nothing new can be signed.
    pub(super) fn held_orders(&self, node: &NodeRecord, ask: &Ask) -> Result<Answer, ApiError> {
        let held = self.store.read(|tx| tx.orders_of(node.id))?;
        Ok(Answer { orders: self.unless_held(held, ask), certificates: None, poll: POLL_IDLE, ssh: None, knows: knows::all() })
    }

    fn unless_held(&self, orders: Option<Sealed<Orders>>, ask: &Ask) -> Option<Sealed<Orders>> {
        let held =
            |sealed: &Sealed<Orders>| sealed.open(&self.site_key).is_ok_and(|o| (o.epoch, o.serial) == (ask.epoch, ask.serial));
        orders.filter(|sealed| !held(sealed))
    }

    fn wish(&self, tx: &Tx<'_>, scene: &Scene, node: &Converging, held: Option<&Orders>) -> Result<Wish, ApiError> {
        let current = || held.and_then(|o| o.run.clone()).filter(|run| run.mode == RunMode::Apply);
        Ok(match scene.decide(node) {
            Decision::Go => {
                let mut record = node.record.clone();
                record.granted = scene.targets.get(&node.node.role).copied();
                record.granted_at = now();
                tx.set_converge(node.node.id, &record)?;
                self.store.touch();
                Wish { barriers: Vec::new(), run: scene.run(node), poll: POLL_RUNNING }
            }
            Decision::Running => Wish { barriers: Vec::new(), run: scene.run(node), poll: POLL_RUNNING },
            Decision::Done => {
                let check = scene.check_due(node, CHECK_EVERY).zip(scene.run(node));
                let check = check.map(|(attempt, run)| Run { mode: RunMode::Check, attempt, ..run });
                let poll = if check.is_some() { POLL_RUNNING } else { POLL_IDLE };
                Wish { barriers: Vec::new(), run: check.or_else(|| scene.run(node)), poll }
            }
            Decision::Failed => {
                let detail = "the plays failed; run them again with `seedd converge run`".to_owned();
                let barrier = Barrier { name: "failed".to_owned(), open: false, detail };
                Wish { barriers: vec![barrier], run: current(), poll: POLL_WAITING }
            }
            Decision::Wait(barriers) => {
                let barriers = barriers.into_iter().filter(|b| !b.open).collect();
                Wish { barriers, run: current(), poll: POLL_WAITING }
            }
        })
    }

    /// New certificates, where the node has none, others or old ones.
    fn certificates(
        &self,
        tx: &Tx<'_>,
        keys: &Unsealed,
        scene: &Scene,
        node: &Converging,
        ask: &Ask,
    ) -> Result<Option<Sealed<IssuedBundle>>, ApiError> {
        let Some(wanted) = scene.role_of(node).map(|r| r.certificates()).filter(|w| !w.is_empty()) else { return Ok(None) };
        pki::ensure(tx, self.spec.metadata.name.as_str(), &self.public.vault).map_err(unexpected)?;
        let names = scene.names(node);
        let id = pki::bundle_id(&pki::certificates(tx)?, &wanted, &names);
        if ask.bundle.is_some_and(|held| held.id == id && !pki::is_old(held.issued, now())) {
            return Ok(None);
        }
        let bundle = Authorities::open(tx, &keys.vault).and_then(|a| a.issue(&wanted, &names, now())).map_err(unexpected)?;
        let bad = |_| ApiError::bad("the recipient of the message is not an age recipient", "");
        let ciphertext = B64.encode(bundle.seal_to(&ask.recipient).map_err(bad)?);
        let issued = IssuedBundle { enrollment: node.node.enrollment, ciphertext };
        let words: Vec<String> = wanted.iter().map(|c| format!("{}/{}", c.authority.as_str(), c.name)).collect();
        let text = format!("certificates for {}: {}", node.node.hostname, words.join(", "));
        let event = NewEvent { enrollment: Some(node.node.enrollment), ..NewEvent::new(EventKind::ConvergeCertificates, &text) };
        tx.event(now_ms(), &event)?;
        Ok(Some(Sealed::sign(&issued, &keys.site).map_err(unexpected)?))
    }
}
