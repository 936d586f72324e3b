//! Who may open an enrollment: machines that were denied may not, and where the join window is manual, unknown ones only while it
//! is open. And what an operator says about machines that are not nodes.

use std::net::IpAddr;

use cluster_seed::agent::Hello;
use cluster_seed::events::EventKind;
use cluster_seed::ids::Mac;
use cluster_seed::machine::tame;
use cluster_seed::policy::WindowRule;
use cluster_seed::trouble::Trouble;
use flight::recorder::WireEvent;
use host::clock::{now, now_ms, steady};
use site::store::Tx;
use site::store::admission::Whose;
use site::store::enrollments::EnrollmentRecord;
use site::store::events::NewEvent;
use site::verdicts::{self, MAX_ASIDE, Said, Verdict};
use site::window;
use web::api::{ApiError, Say, VerdictView, WindowView};

use super::App;
use super::records::endpoint_of;
use super::verdict_view::view;

/// A refused machine that asks again and again is seen this often at most, in seconds.
const SEEN_EVERY: u64 = 60;
/// Shortest time for which a machine is set aside, or the window is opened, in seconds.
const MIN_SECONDS: u64 = 60;

/// Lets a machine that was denied or set aside ask again. By its address: what was said outlives the row of a machine that made room
/// for others.
pub(crate) fn allow(tx: &Tx<'_>, actor: &str, mac: Mac) -> Result<(), ApiError> {
    if !verdicts::lift(tx, mac)? {
        let why = format!("machine {mac} was neither denied nor set aside");
        return Err(ApiError::conflict(why, "`seedd enrollment status` lists those that were"));
    }
    let machine = tx.machine_by_mac(mac)?.map(|m| m.id);
    let text = format!("machine {mac} may ask to enroll again");
    let event = NewEvent { machine, actor: Some(actor), ..NewEvent::new(EventKind::MachineAllowed, &text) };
    tx.event(now_ms(), &event)?;
    Ok(())
}

fn denied(verdict: &Verdict) -> ApiError {
    let reason = if verdict.reason.is_empty() { String::new() } else { format!(": {}", verdict.reason) };
    ApiError::forbidden(format!("an operator denied this machine{reason}"))
}

impl App {
    /// The MAC address of a hello, if its machine may ask to enroll. A refused machine is seen all the same.
    pub(super) fn knock(&self, from: IpAddr, hello: &Hello) -> Result<Mac, ApiError> {
        let (mac, refused, seen) = self.store.read(|tx| {
            let mac = match hello.boot_mac {
                Some(mac) => mac,
                None => self.mac_of(tx, from)?,
            };
            let refused = self.refusal_of(tx, mac, hello.token.is_some())?;
            Ok::<_, ApiError>((mac, refused, tx.machine_by_mac(mac)?.map(|m| m.last_seen)))
        })?;
        let Some(refused) = refused else { return Ok(mac) };
        self.flight.count_refused();
        // On the machine's timeline, within the flight recorder's budget.
        let kind =
            if matches!(refused, ApiError::Forbidden { .. }) { EventKind::EnrollmentDenied } else { EventKind::EnrollmentClosed };
        let (text, ip) = (format!("it asked to enroll and was refused: {refused}"), endpoint_of(from));
        self.record(WireEvent { text, ip, mac: Some(mac), ..WireEvent::new(now_ms(), kind) });
        let is_news = seen.is_none_or(|at| now().abs_diff(at) >= SEEN_EVERY);
        if is_news && !self.is_short_of_space() && self.strangers.take(steady()) {
            self.store.write(|tx| match tx.machine_by_mac(mac)? {
                Some(machine) => tx.touch_machine(machine.id, now()),
                None => tx.see_machine(mac, Some(from), now()).map(drop),
            })?;
        }
        Err(refused)
    }

    /// Why a machine may not open an enrollment. A node may, whoever else claims its address.
    fn refusal_of(&self, tx: &Tx<'_>, mac: Mac, has_token: bool) -> Result<Option<ApiError>, ApiError> {
        let machine = tx.machine_by_mac(mac)?;
        if let Some(machine) = &machine
            && tx.member_of(machine.id)?.is_some()
        {
            return Ok(None);
        }
        if let Some(verdict) = verdicts::of(tx, mac, now())?.filter(Verdict::is_denial) {
            return Ok(Some(denied(&verdict)));
        }
        let is_free = self.spec.spec.enrollment.window == WindowRule::Always || has_token;
        if is_free || self.told.plan(tx)?.by_mac(mac).is_some() || window::open_now(tx, now())?.is_some() {
            return Ok(None);
        }
        let why = "the enrollment of this site is closed for unknown machines; an operator opens it with seedd enrollment open";
        Ok(Some(ApiError::unavailable(why)))
    }

    /// Refuses a reveal with a key that was denied, or of a machine that was denied under the address of another card.
    pub(super) fn not_denied(&self, tx: &Tx<'_>, record: &EnrollmentRecord, key: &str, cards: &[Mac]) -> Result<(), ApiError> {
        if tx.member_of(record.machine)?.is_some() {
            return Ok(());
        }
        let mut found = verdicts::of_key(tx, key, now())?;
        for mac in cards {
            found = match found {
                Some(found) => Some(found),
                None => verdicts::of(tx, *mac, now())?.filter(Verdict::is_denial),
            };
        }
        found.map_or(Ok(()), |verdict| Err(denied(&verdict)))
    }

    /// Remembers that an operator denied the machine of an enrollment. That of a node stays free, and one of which another request
    /// waits: somebody else may have claimed its address.
    pub(super) fn remember_denial(&self, tx: &Tx<'_>, record: &EnrollmentRecord, user: &str, why: &str) -> Result<(), ApiError> {
        tx.set_trouble(record.id, Trouble::Denied)?;
        if tx.member_of(record.machine)?.is_some() || tx.count_open(Whose::Machine(record.machine))? > 0 {
            return Ok(());
        }
        let key = record.revealed.as_ref().map(|r| r.node_key.clone());
        let verdict = Verdict { said: Said::Denied, by: user.to_owned(), at: now(), reason: why.to_owned(), key };
        Ok(verdicts::put(tx, tx.machine(record.machine)?.mac, &verdict)?)
    }

    /// An operator approves the machine: whatever was said before is over.
    pub(super) fn lift_verdict(&self, tx: &Tx<'_>, machine: i64) -> Result<(), ApiError> {
        verdicts::lift(tx, tx.machine(machine)?.mac)?;
        Ok(())
    }

    pub(super) fn say_of(&self, user: &str, machine: i64, say: Say) -> Result<(), ApiError> {
        self.write(|tx| {
            let mac = tx.machine(machine)?.mac;
            if tx.member_of(machine)?.is_some() {
                return Err(ApiError::conflict("this machine is a node", "revoke the node first"));
            }
            let (kind, text) = match say {
                Say::NotNow { seconds } => {
                    if verdicts::of(tx, mac, now())?.is_some_and(|v| v.is_denial()) {
                        return Err(ApiError::conflict("this machine was denied", "allow it first"));
                    }
                    let seconds = seconds.clamp(MIN_SECONDS, MAX_ASIDE);
                    let (at, said) = (now(), Said::NotNow { until: now().saturating_add(seconds) });
                    verdicts::put(tx, mac, &Verdict { said, by: user.to_owned(), at, reason: String::new(), key: None })?;
                    (EventKind::MachineSetAside, format!("machine {mac} set aside for {} min", seconds.div_ceil(60)))
                }
                Say::Allow => {
                    if !verdicts::lift(tx, mac)? {
                        return Err(ApiError::conflict("this machine was neither denied nor set aside", ""));
                    }
                    (EventKind::MachineAllowed, format!("machine {mac} may ask to enroll again"))
                }
            };
            let event = NewEvent { machine: Some(machine), actor: Some(user), ..NewEvent::new(kind, &text) };
            tx.event(now_ms(), &event)?;
            Ok(())
        })
    }

    pub(super) fn view_verdicts(&self) -> Result<Vec<VerdictView>, ApiError> {
        self.store.read(|tx| {
            let mut all = Vec::new();
            for (mac, verdict) in verdicts::all(tx, now())? {
                let machine = tx.machine_by_mac(mac)?.map(|m| m.id);
                all.push(view(mac, verdict, machine));
            }
            // The newest first.
            all.reverse();
            Ok(all)
        })
    }

    pub(super) fn view_window(&self) -> Result<WindowView, ApiError> {
        let rule = self.spec.spec.enrollment.window;
        let window = self.store.read(|tx| window::open_now(tx, now()))?;
        let open = rule == WindowRule::Always || window.is_some();
        let window = window.filter(|_| rule == WindowRule::Manual);
        Ok(WindowView { rule, open, until: window.as_ref().map(|w| w.until), by: window.map(|w| tame(&w.by)) })
    }

    pub(super) fn set_window(&self, user: &str, seconds: Option<u64>) -> Result<WindowView, ApiError> {
        if self.spec.spec.enrollment.window == WindowRule::Always {
            let hint = "set enrollment.window: manual in cluster.yaml to have windows";
            return Err(ApiError::conflict("the enrollment of this site is always open", hint));
        }
        self.write(|tx| {
            let (kind, text) = match seconds {
                Some(seconds) => {
                    let window = window::open(tx, seconds.max(MIN_SECONDS), user, now())?;
                    let minutes = window.until.saturating_sub(window.opened).div_ceil(60);
                    (EventKind::EnrollmentOpened, format!("the enrollment is open for {minutes} min"))
                }
                None => {
                    window::close(tx)?;
                    (EventKind::EnrollmentClosed, "the enrollment is closed for unknown machines".to_owned())
                }
            };
            tx.event(now_ms(), &NewEvent { actor: Some(user), ..NewEvent::new(kind, &text) })?;
            Ok(())
        })?;
        self.view_window()
    }
}
