//! Limits on what a machine without an identity can make the seed store: in number, time and disk space.
//!
//! A hello is an unproven claim. It opens an enrollment and changes nothing about a node with the same MAC address: not its
//! state, its address, its facts or the operator's controls.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use cluster_seed::enrollment::{EnrollmentEvent, EnrollmentState};
use cluster_seed::events::EventKind;
use cluster_seed::ids::{EnrollmentId, Mac};
use cluster_seed::trouble::Trouble;
use flight::recorder::WireEvent;
use host::clock::{now, now_ms, steady};
use host::files::free_space;
use site::store::admission::Whose;
use site::store::enrollments::EnrollmentRecord;
use site::store::events::NewEvent;
use site::store::machines::MachineRecord;
use site::store::{StoreError, Tx};
use web::api::{Actor, ApiError};

use super::App;

/// Open enrollments per machine and per address; a further one evicts the oldest.
const PER_MACHINE: u32 = 3;
const PER_ADDRESS: u32 = 8;
/// Seconds from hello to reveal.
pub const REVEAL_SECONDS: u64 = 120;
/// Seconds without a poll after which a Pending machine counts as gone; it polls every two seconds.
pub const SILENT_SECONDS: u64 = 600;
/// Seconds without a poll after which a Pending machine does not claim its row of the plan any more, so that a machine that was
/// restarted has no conflict with itself for longer.
const CLAIM_SECONDS: u64 = 60;
/// Seconds for which an enrollment that ended without approval is kept, so that its machine can read the reason.
const ENDED_SECONDS: u64 = 600;
/// Most of these that are kept, besides the newest of each machine; and machines that nobody approved whose hardware facts are kept.
const MAX_ENDED: u32 = 1_000;
const MAX_FACTS: u32 = 1_000;
/// Free space of the data directory, in bytes, below which only events of operators and nodes are recorded: the rest is
/// reserved for leases and for deleting data.
const MIN_FREE: u64 = 128 << 20;

impl App {
    /// True while the disk is nearly full. Updated by the watchdog.
    pub fn is_short_of_space(&self) -> bool {
        self.short_of_space.load(Ordering::Relaxed)
    }

    /// Measures the free space of the data directory.
    pub fn measure_space(&self) {
        let short = free_space(&self.site.data).is_ok_and(|free| free < MIN_FREE);
        if short && !self.short_of_space.swap(short, Ordering::Relaxed) {
            tracing::warn!("the disk is nearly full: only events of operators and nodes are recorded");
        }
        self.short_of_space.store(short, Ordering::Relaxed);
    }

    /// Finds or creates the machine of a hello, and makes room for one more enrollment of it.
    pub(super) fn admit(&self, tx: &Tx<'_>, mac: Mac, from: IpAddr) -> Result<i64, ApiError> {
        if self.is_short_of_space() {
            return Err(ApiError::unavailable("the seed's disk is nearly full"));
        }
        let known = tx.machine_by_mac(mac)?;
        let member = known.as_ref().map(|m| tx.member_of(m.id)).transpose()?.flatten();
        let machine = match (known, member) {
            (Some(machine), Some(_)) => machine.id,
            // The DHCP lease determines a machine's address; the hello does only if there is no lease.
            (Some(MachineRecord { id, ip: Some(_), .. }), None) => {
                tx.touch_machine(id, now())?;
                id
            }
            _ => tx.see_machine(mac, Some(from), now())?.ok_or_else(|| ApiError::unavailable("too many machines are known"))?,
        };
        let most = self.spec.spec.enrollment.max_pending;
        for (whose, most) in [(Whose::Machine(machine), PER_MACHINE), (Whose::Address(from), PER_ADDRESS), (Whose::Anybody, most)]
        {
            while tx.count_open(whose)? >= most.max(1) {
                let Some(oldest) = tx.to_push_out(whose)? else { return Err(ApiError::TooMany { seconds: 60 }) };
                let record = tx.enrollment(oldest)?;
                tx.advance(&record, EnrollmentEvent::Expired, Some("replaced by newer requests"), now())?;
                // They are the largest part of what a flood leaves behind.
                tx.drop_facts_of(oldest, record.machine)?;
            }
        }
        Ok(machine)
    }

    /// Records an event of a machine without an identity, within the flight recorder's budget.
    pub(super) fn note(&self, from: IpAddr, kind: EventKind, text: &str, about: Option<&EnrollmentRecord>) {
        let ip = super::records::endpoint_of(from);
        let (machine, enrollment) = (about.map(|r| r.machine), about.map(|r| r.id));
        self.record(WireEvent { text: text.to_owned(), ip, machine, enrollment, ..WireEvent::new(now_ms(), kind) });
    }

    /// An unapproved machine polled: it is still there.
    pub(super) fn heard(&self, record: &EnrollmentRecord) {
        if record.state == EnrollmentState::Pending {
            self.polls.lock().unwrap_or_else(PoisonError::into_inner).insert(record.id, (steady(), true));
        }
    }

    /// Seconds since each Pending machine last polled, or since the first call. Drops the others.
    pub(super) fn unheard(&self, waiting: &[EnrollmentRecord]) -> Vec<(EnrollmentId, u64)> {
        let mut polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
        let now = steady();
        let pending = waiting.iter().filter(|r| r.state == EnrollmentState::Pending);
        let kept = pending.map(|r| (r.id, polls.get(&r.id).copied().unwrap_or((now, false))));
        *polls = kept.collect();
        polls.iter().map(|(id, (at, _))| (*id, now.saturating_sub(*at))).collect()
    }

    /// Pending machines that were heard once and have not polled for [`CLAIM_SECONDS`].
    pub(super) fn gone(&self) -> BTreeSet<EnrollmentId> {
        let (polls, now) = (self.polls.lock().unwrap_or_else(PoisonError::into_inner), steady());
        let gone = polls.iter().filter(|(_, (at, _))| now.saturating_sub(*at) >= CLAIM_SECONDS);
        gone.map(|(id, _)| *id).collect()
    }

    /// When the machines that wait for approval last polled, in Unix seconds.
    pub(super) fn polled(&self) -> HashMap<EnrollmentId, u64> {
        let polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
        let (clock, steady) = (now(), steady());
        let heard = polls.iter().filter(|(_, (_, heard))| *heard);
        heard.map(|(id, (at, _))| (*id, clock.saturating_sub(steady.saturating_sub(*at)))).collect()
    }

    /// Deletes enrollments that ended without approval more than [`ENDED_SECONDS`] ago, and what is too much of younger ones.
    pub(super) fn prune_unapproved(&self) -> Result<(), ApiError> {
        let before = now().saturating_sub(ENDED_SECONDS);
        let (pruned, dropped) = self.store.write(|tx| {
            let pruned = tx.prune_enrollments(before, MAX_ENDED)?;
            Ok::<_, StoreError>((pruned, tx.drop_facts(MAX_FACTS)?))
        })?;
        if pruned > 0 || dropped > 0 {
            tracing::debug!(pruned, dropped, "unapproved enrollments and facts of machines deleted");
        }
        Ok(())
    }

    /// Denies every enrollment that is waiting at one address; returns how many.
    pub fn deny_address(&self, actor: &Actor, ip: IpAddr) -> Result<u32, ApiError> {
        self.write(|tx| {
            let open = tx.open_at(ip)?;
            for id in &open {
                let reason = "denied with all others at its address";
                tx.advance(&tx.enrollment(*id)?, EnrollmentEvent::Denied, Some(reason), now())?;
                // Not remembered: a flood of addresses would push out what was said about others.
                tx.set_trouble(*id, Trouble::Denied)?;
            }
            let count = u32::try_from(open.len()).unwrap_or(u32::MAX);
            let text = format!("all {count} machines waiting at {ip} denied");
            let event = NewEvent { actor: Some(&actor.user), ..NewEvent::new(EventKind::EnrollmentDenied, &text) };
            tx.event(now_ms(), &event)?;
            Ok(count)
        })
    }

    /// Removes a machine that is not a node from the list, with all its unapproved enrollments.
    pub fn forget_machine(&self, actor: &Actor, id: i64) -> Result<(), ApiError> {
        self.write(|tx| {
            let MachineRecord { mac, .. } = tx.machine(id)?;
            if tx.member_of(id)?.is_some() {
                return Err(ApiError::conflict("this machine is a node", "revoke the node first"));
            }
            site::verdicts::lift(tx, mac)?;
            tx.forget_machine(id, now())?;
            let text = format!("machine {mac} forgotten");
            let event = NewEvent { actor: Some(&actor.user), ..NewEvent::new(EventKind::MachineForgotten, &text) };
            tx.event(now_ms(), &event)?;
            Ok(())
        })
    }
}
