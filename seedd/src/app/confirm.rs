//! The end of the pairing: the machine has verified the seed's confirmation and sends its own. Only now is the code known to
//! be right, and only now is the decision carried out.

use cluster_seed::agent::{Confirm, ConfirmReply, Mismatch};
use cluster_seed::enrollment::{EnrollmentEvent, EnrollmentState};
use cluster_seed::events::EventKind;
use cluster_seed::ids::EnrollmentId;
use cluster_seed::seal::{Sealable, Sealed};
use host::clock::{now, now_ms, steady};
use site::store::Tx;
use site::store::enrollments::{Decided, EnrollmentRecord};
use web::api::ApiError;

use super::App;
use super::issue::Minted;
use super::records::{conflict, endpoint_of, event_of, node_key};
use super::throttle::Attempt;

/// Seconds after the code was entered within which the machine, which polls every two seconds, has to confirm it.
pub const CONFIRM_SECONDS: u64 = 120;
/// Shown to the operator and to the machine.
const WRONG: &str = "wrong code; the machine now shows a new one";

impl App {
    /// Verifies the machine's confirmation and makes the machine a node, in one transaction. A sealed seed answers 423 and the
    /// machine retries. A wrong confirmation invalidates the code, just as a wrong one from the seed does.
    pub fn confirm(&self, id: EnrollmentId, confirm: &Sealed<Confirm>) -> Result<ConfirmReply, ApiError> {
        let record = self.store.read(|tx| tx.enrollment(id))?;
        let confirm = open(&record, confirm, |c| c.enrollment)?;
        let decided = awaited(&record)?;
        if !confirm.confirmation.matches(&decided.expected) {
            self.wrong_code(&record, decided)?;
            return Err(ApiError::forbidden("the confirmation is wrong"));
        }
        if self.is_sealed() {
            // The machine has proved that it knows the code, so it does not expire while the seed is sealed.
            self.store.write(|tx| tx.touch_enrollment(id, now()))?;
            return Err(ApiError::Sealed);
        }
        self.with_keys(|keys| {
            self.write(|tx| {
                self.may_issue(tx)?;
                if tx.live_node(&decided.hostname)?.is_some() && !decided.replace {
                    return self.name_is_taken(tx, &record, decided);
                }
                if let Some(refused) = self.token_ended(tx, &record)? {
                    tx.advance(&record, EnrollmentEvent::Denied, Some(&refused), now())?;
                    tx.event(now_ms(), &event_of(&record, EventKind::EnrollmentDenied, &refused, Some(&decided.actor)))?;
                    return Ok(());
                }
                self.make_room(tx, &decided.actor, &decided.hostname, decided.replace)?;
                let host = self.host_for(tx, &decided.hostname)?;
                let (hostname, role, endpoint) = (&decided.hostname, &decided.role, endpoint_of(record.ip));
                tx.advance(&record, EnrollmentEvent::Confirmed, None, now())?;
                self.mint(tx, keys, &record, &Minted { hostname, role, host, endpoint, order: &decided.order })?;
                if let Some(revealed) = &record.revealed {
                    tx.set_facts(record.machine, &revealed.facts)?;
                }
                let waits = if self.is_unsigned(tx, hostname)? { "; it waits for its countersignature" } else { "" };
                let text = format!("the machine confirmed the code: approved as {hostname}, role {role}{waits}");
                tx.event(now_ms(), &event_of(&record, EventKind::EnrollmentApproved, &text, Some(&decided.actor)))?;
                self.note_as_planned(tx, &record, decided)?;
                Ok(())
            })
        })?;
        if record.token.is_none() {
            self.throttle.succeeded(&Attempt::pairing_code(&decided.actor), steady());
        }
        self.planes_changed.send_modify(|v| *v += 1);
        let state = self.store.read(|tx| tx.enrollment(id))?.state;
        Ok(ConfirmReply { state })
    }

    /// The name was given to another machine between the code and its confirmation.
    fn name_is_taken(&self, tx: &Tx<'_>, record: &EnrollmentRecord, decided: &Decided) -> Result<(), ApiError> {
        let why = format!("a node named {} was approved in the meantime", decided.hostname);
        tx.advance(record, EnrollmentEvent::Denied, Some(&why), now())?;
        tx.event(now_ms(), &event_of(record, EventKind::EnrollmentDenied, &why, Some(&decided.actor)))?;
        Ok(())
    }

    /// The machine rejected the seed's confirmation: the entered code is not the one that it shows.
    pub fn mismatch(&self, id: EnrollmentId, mismatch: &Sealed<Mismatch>) -> Result<ConfirmReply, ApiError> {
        let record = self.store.read(|tx| tx.enrollment(id))?;
        open(&record, mismatch, |m| m.enrollment)?;
        self.wrong_code(&record, awaited(&record)?)?;
        Ok(ConfirmReply { state: EnrollmentState::Denied })
    }

    /// The attempt is over, here and on the machine.
    fn wrong_code(&self, record: &EnrollmentRecord, decided: &Decided) -> Result<(), ApiError> {
        if let Some(token) = record.token {
            return self.refuse_token(record, token, &format!("the machine does not have the secret of join token {token}"));
        }
        self.write(|tx| {
            tx.add_wrong_code(record.id)?;
            tx.advance(record, EnrollmentEvent::Denied, Some(WRONG), now())?;
            tx.event(now_ms(), &event_of(record, EventKind::EnrollmentWrongCode, WRONG, Some(&decided.actor)))?;
            Ok(())
        })?;
        // A code that the machine sent itself is not an operator's mistake.
        if !self.told.has(record.id) {
            self.throttle.failed(&Attempt::pairing_code(&decided.actor), steady());
        }
        Ok(())
    }
}

/// The message, if it is signed with this enrollment's node key.
pub(super) fn open<T: Sealable>(
    record: &EnrollmentRecord,
    sealed: &Sealed<T>,
    about: impl Fn(&T) -> EnrollmentId,
) -> Result<T, ApiError> {
    let refused = || ApiError::forbidden("the message is not signed by the machine that enrolled");
    let message = sealed.open(&node_key(record)?).map_err(|_| refused())?;
    if about(&message) == record.id { Ok(message) } else { Err(refused()) }
}

/// The stored decision of a Confirming enrollment; nothing else can be confirmed, and nothing twice.
fn awaited(record: &EnrollmentRecord) -> Result<&Decided, ApiError> {
    let decided = record.decision.as_ref().filter(|_| record.state == EnrollmentState::Confirming);
    decided.ok_or_else(|| conflict(&format!("this enrollment is {}, not Confirming", record.state.as_str())))
}
