//! One exchange with the seed: the node's message, and what may be taken from the answer.

use std::sync::atomic::{AtomicBool, Ordering};

use cluster_seed::agent::{GateCheck, knows};
use cluster_seed::converge::orders::{
    Answer, Ask, HeldBundle, IssuedBundle, MAX_CHECKS, MAX_TEXT, MAX_WOULD, Orders, POLL_IDLE, Run, RunReport,
};
use cluster_seed::converge::payload::{MAX_ARCHIVE, is_play_name};
use cluster_seed::converge::role::MAX_PLAYS;
use cluster_seed::identity::NodeIdentity;
use cluster_seed::seal::{SealError, Sealed, SigningKey, VerifyingKey};
use cluster_seed::secret::AgeKey;

use super::held::{HeldError, Store};
use super::hostkey;
use super::pki::{self, PkiError};
use super::places::Places;
use crate::epoch;
use crate::http::{Http, HttpError, MAX_JSON, chain};
use crate::state::{Sequence, StateError};

/// Limits of the pause that the seed asks for, in seconds.
const POLL: std::ops::RangeInclusive<u64> = 1..=600;

#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    #[error("numbering a message")]
    Number(#[from] StateError),
    #[error("signing a message")]
    Seal(#[from] SealError),
    #[error("asking the seed for orders")]
    Http(#[from] HttpError),
}

/// Why orders are not obeyed.
#[derive(Debug, thiserror::Error)]
pub enum OrdersError {
    #[error("the orders are not signed by this site")]
    Seal(#[from] SealError),
    #[error("the orders are for another node")]
    OtherNode,
    #[error("the orders are of epoch {epoch}, but this site has reached epoch {seen}: another seed was promoted")]
    OldEpoch { epoch: u64, seen: u64 },
    #[error("the orders (epoch {epoch}, number {serial}) are not newer than the stored ones ({held_epoch}, {held_serial})")]
    Older { epoch: u64, serial: u64, held_epoch: u64, held_serial: u64 },
    #[error("the orders are invalid: {0}")]
    Invalid(&'static str),
    #[error("storing the orders")]
    Store(#[from] HeldError),
}

/// What a message says besides what is stored.
pub struct Words<'w> {
    pub orders: Option<&'w Orders>,
    pub run: Option<RunReport>,
    pub checks: &'w [GateCheck],
    pub bundle: Option<HeldBundle>,
}

/// What came of a message.
#[derive(Debug)]
pub struct Heard {
    /// New orders.
    pub orders: Option<Orders>,
    /// New certificates; they are written already.
    pub bundle: Option<HeldBundle>,
    /// Seconds until the next message.
    pub poll: u64,
}

pub struct Exchange<'a> {
    pub places: Places<'a>,
    pub store: Store<'a>,
    pub identity: &'a NodeIdentity,
    pub key: &'a SigningKey,
    pub site: &'a VerifyingKey,
    /// The seed said that it understands the SSH host key in a message: one of 0.1 refuses the whole message.
    pub knows_ssh: AtomicBool,
}

impl Exchange<'_> {
    /// Sends one message. Orders and certificates that must not be taken are logged; the stored ones stay.
    ///
    /// # Errors
    /// If the seed does not answer or refuses this node.
    pub fn ask(&self, http: &Http, numbers: &mut Sequence, words: Words<'_>) -> Result<Heard, ExchangeError> {
        let (enrollment, key) = (self.identity.info.enrollment, AgeKey::generate());
        let held = words.orders;
        let ask = Ask {
            enrollment,
            seq: numbers.take()?,
            epoch: held.map_or(0, |o| o.epoch),
            serial: held.map_or(0, |o| o.serial),
            run: words.run.map(tamed),
            checks: words.checks.iter().take(MAX_CHECKS).cloned().collect(),
            bundle: words.bundle,
            recipient: key.recipient(),
            ssh: if self.knows_ssh.load(Ordering::Relaxed) { hostkey::told(self.places, self.store) } else { None },
        };
        let path = format!("/api/v1/agent/{enrollment}/converge");
        let answer: Answer = http.post_json_within(&path, &Sealed::sign(&ask, self.key)?, MAX_JSON)?;
        // Another seed may have answered than the last time.
        self.knows_ssh.store(answer.knows.iter().any(|word| word == knows::ASK_SSH), Ordering::Relaxed);
        let orders = answer.orders.and_then(|sealed| {
            let taken = self.accept(held, &sealed);
            taken.inspect_err(|e| tracing::warn!(error = %chain(e), "orders refused")).ok().flatten()
        });
        let bundle = answer.certificates.and_then(|issued| {
            let taken = self.take_bundle(&issued, &key);
            taken.inspect_err(|e| tracing::warn!(error = %chain(e), "certificates refused")).ok()
        });
        if let Some(made) = &answer.ssh
            && let Err(e) = hostkey::keep(self.places, self.store, made, &hostkey::reload)
        {
            tracing::warn!(error = %chain(&e), "the certificate of the SSH host key is not used");
        }
        let poll = if POLL.contains(&answer.poll) { answer.poll } else { POLL_IDLE };
        Ok(Heard { orders, bundle, poll })
    }

    /// Verifies orders and stores them if they are newer; `None` if they are the stored ones.
    ///
    /// # Errors
    /// If they must not be obeyed, or cannot be stored.
    pub fn accept(&self, held: Option<&Orders>, sealed: &Sealed<Orders>) -> Result<Option<Orders>, OrdersError> {
        let offered = sealed.open(self.site)?;
        if offered.enrollment != self.identity.info.enrollment {
            return Err(OrdersError::OtherNode);
        }
        if let Some((seen, _)) = epoch::seen(self.store.dir, self.site)
            && offered.epoch < seen
        {
            return Err(OrdersError::OldEpoch { epoch: offered.epoch, seen });
        }
        if held == Some(&offered) {
            return Ok(None);
        }
        if let Some(held) = held.filter(|held| !offered.supersedes(held)) {
            let (epoch, serial) = (offered.epoch, offered.serial);
            return Err(OrdersError::Older { epoch, serial, held_epoch: held.epoch, held_serial: held.serial });
        }
        offered.run.as_ref().map_or(Ok(()), sound).map_err(OrdersError::Invalid)?;
        self.store.keep_orders(sealed)?;
        Ok(Some(offered))
    }

    fn take_bundle(&self, sealed: &Sealed<IssuedBundle>, key: &AgeKey) -> Result<HeldBundle, PkiError> {
        let issued = sealed.open(self.site)?;
        if issued.enrollment != self.identity.info.enrollment {
            return Err(PkiError::OtherNode);
        }
        let bundle = issued.open(key)?;
        pki::write(&self.places.pki(), &bundle)?;
        let held = HeldBundle { id: bundle.id, issued: bundle.issued };
        self.store.keep_bundle(&held)?;
        Ok(held)
    }
}

/// Names in a run become paths and words of Ansible.
fn sound(run: &Run) -> Result<(), &'static str> {
    if run.plays.len() > MAX_PLAYS {
        return Err("too many plays");
    }
    if !run.plays.iter().chain([&run.role]).all(|name| is_play_name(name)) {
        return Err("the name of a play or of the role is not valid");
    }
    if run.payload_size > MAX_ARCHIVE {
        return Err("the payload is too large");
    }
    Ok(())
}

/// Longest name of a change, in characters.
const MAX_NAME: usize = 160;

/// Within the limits of the message.
fn tamed(report: RunReport) -> RunReport {
    let cut = |text: &str, limit: usize| text.chars().take(limit).collect::<String>();
    let would = report.would.iter().take(MAX_WOULD).map(|w| cut(w, MAX_NAME)).collect();
    let (play, task) = (cut(&report.play, MAX_NAME), cut(&report.task, MAX_NAME));
    RunReport { play, task, why: cut(&report.why, MAX_TEXT), would, ..report }
}
