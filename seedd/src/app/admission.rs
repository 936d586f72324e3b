//! What somebody without an identity may make the seed write down: bounded in number, in time and on disk.
//!
//! A hello is a claim. It opens an enrollment and touches nothing of a machine that is a member: neither its state nor
//! its address, its facts or the operator's controls.

use std::net::IpAddr;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use cluster_seed::enrollment::{EnrollmentEvent, EnrollmentState};
use cluster_seed::events::EventKind;
use cluster_seed::ids::{EnrollmentId, Mac};
use flight::recorder::WireEvent;
use host::clock::{now, now_ms, steady};
use host::files::free_space;
use site::store::Tx;
use site::store::admission::Whose;
use site::store::enrollments::EnrollmentRecord;
use site::store::events::NewEvent;
use site::store::machines::MachineRecord;
use web::api::{Actor, ApiError};

use super::App;

/// Open enrollments of one machine and of one address; beyond them the oldest is pushed out.
const PER_MACHINE: u32 = 3;
const PER_ADDRESS: u32 = 8;
/// Seconds from hello to reveal.
pub const REVEAL_SECONDS: u64 = 120;
/// Seconds without a poll after which a Pending machine is gone: it polls every two.
pub const SILENT_SECONDS: u64 = 600;
/// Seconds for which an enrollment that ended without an approval is kept, so that its machine can read why.
const ENDED_SECONDS: u64 = 600;
/// Free space of the data directory below which only operators' and members' rows are written, in bytes: leases and
/// the work that frees space come first.
const MIN_FREE: u64 = 128 << 20;

impl App {
    /// True while the disk is nearly full. Looked at by the watchdog.
    pub fn is_short_of_space(&self) -> bool {
        self.short_of_space.load(Ordering::Relaxed)
    }

    /// Measures the free space of the data directory.
    pub fn measure_space(&self) {
        let short = free_space(&self.site.data).is_ok_and(|free| free < MIN_FREE);
        if short && !self.short_of_space.swap(short, Ordering::Relaxed) {
            tracing::warn!("the disk is nearly full: only events of operators and members are recorded");
        }
        self.short_of_space.store(short, Ordering::Relaxed);
    }

    /// The machine that a hello is about, and room for one more enrollment of it.
    pub(super) fn admit(&self, tx: &Tx<'_>, mac: Mac, from: IpAddr) -> Result<i64, ApiError> {
        if self.is_short_of_space() {
            return Err(ApiError::unavailable("the seed's disk is nearly full"));
        }
        let known = tx.machine_by_mac(mac)?;
        let member = known.as_ref().map(|m| tx.member_of(m.id)).transpose()?.flatten();
        let machine = match (known, member) {
            (Some(machine), Some(_)) => machine.id,
            // Where a machine is, its DHCP lease says; a hello only of one that nothing else is known of.
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
                tx.advance(&tx.enrollment(oldest)?, EnrollmentEvent::Expired, Some("newer requests took its place"), now())?;
            }
        }
        Ok(machine)
    }

    /// Records an event of somebody without an identity, within the budget of the boot flight recorder.
    pub(super) fn note(&self, from: IpAddr, kind: EventKind, text: &str, about: Option<&EnrollmentRecord>) {
        let ip = super::records::endpoint_of(from);
        let (machine, enrollment) = (about.map(|r| r.machine), about.map(|r| r.id));
        self.record(WireEvent { text: text.to_owned(), ip, machine, enrollment, ..WireEvent::new(now_ms(), kind) });
    }

    /// An unapproved machine polled: it is still there.
    pub(super) fn heard(&self, record: &EnrollmentRecord) {
        if record.state == EnrollmentState::Pending {
            self.polls.lock().unwrap_or_else(PoisonError::into_inner).insert(record.id, steady());
        }
    }

    /// Seconds since each Pending machine polled, or since it was first looked for. Forgets the others.
    pub(super) fn unheard(&self, waiting: &[EnrollmentRecord]) -> Vec<(EnrollmentId, u64)> {
        let mut polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
        let now = steady();
        let pending = waiting.iter().filter(|r| r.state == EnrollmentState::Pending);
        let kept = pending.map(|r| (r.id, polls.get(&r.id).copied().unwrap_or(now)));
        *polls = kept.collect();
        polls.iter().map(|(id, at)| (*id, now.saturating_sub(*at))).collect()
    }

    /// Deletes what ended unapproved a while ago.
    pub(super) fn prune_unapproved(&self) -> Result<(), ApiError> {
        let before = now().saturating_sub(ENDED_SECONDS);
        let pruned = self.store.write(|tx| tx.prune_enrollments(before))?;
        if pruned > 0 {
            tracing::debug!(pruned, "unapproved enrollments deleted");
        }
        Ok(())
    }

    /// Denies every machine that waits at one address; returns how many.
    pub fn deny_address(&self, actor: &Actor, ip: IpAddr) -> Result<u32, ApiError> {
        self.write(|tx| {
            let open = tx.open_at(ip)?;
            for id in &open {
                let reason = "denied together with all others of its address";
                tx.advance(&tx.enrollment(*id)?, EnrollmentEvent::Denied, Some(reason), now())?;
            }
            let count = u32::try_from(open.len()).unwrap_or(u32::MAX);
            let text = format!("all {count} waiting at {ip} denied");
            let event = NewEvent { actor: Some(&actor.user), ..NewEvent::new(EventKind::EnrollmentDenied, &text) };
            tx.event(now_ms(), &event)?;
            Ok(count)
        })
    }

    /// Takes a machine that is no member off the list, with everything that was never approved.
    pub fn forget_machine(&self, actor: &Actor, id: i64) -> Result<(), ApiError> {
        self.write(|tx| {
            let MachineRecord { mac, .. } = tx.machine(id)?;
            if tx.member_of(id)?.is_some() {
                return Err(ApiError::conflict("this machine is a node", "revoke the node first"));
            }
            tx.forget_machine(id, now())?;
            let text = format!("machine {mac} forgotten");
            let event = NewEvent { actor: Some(&actor.user), ..NewEvent::new(EventKind::MachineForgotten, &text) };
            tx.event(now_ms(), &event)?;
            Ok(())
        })
    }
}
