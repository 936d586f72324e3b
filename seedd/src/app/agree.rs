//! Two people who approve a machine (`approvals: 2` of cluster.yaml): the first one enters the code and decides, which is kept with
//! the Pending enrollment; the second one agrees to exactly that, or enters the code and the same decision.

use cluster_seed::enrollment::{EnrollmentEvent, EnrollmentState};
use cluster_seed::events::EventKind;
use cluster_seed::ids::EnrollmentId;
use cluster_seed::people::{Approvals, Permission};
use host::clock::{now, now_ms};
use site::store::Tx;
use site::store::enrollments::{Decided, EnrollmentRecord};
use site::store::people::UserRecord;
use web::api::{Actor, ApiError, EnrollmentView};

use super::App;
use super::first_yes::{digest, waiting};
use super::records::event_of;

/// A yes counts only of a user who logged in: a token may be in other hands than those of its user.
pub(super) fn person(actor: &Actor) -> Result<(), ApiError> {
    if actor.is_session() {
        return Ok(());
    }
    let why = "two users have to approve this, each logged in: neither an API token nor the command line of the seed counts";
    Err(ApiError::conflict(why, "approve it in the web interface"))
}

/// The user, if it may approve machines now.
pub(super) fn able(tx: &Tx<'_>, name: &str) -> Result<Option<UserRecord>, ApiError> {
    Ok(tx.user(name)?.filter(|u| u.disabled.is_none() && u.rights.permissions().contain(Permission::Approve)))
}

impl App {
    /// How many people have to approve a machine of this role.
    pub(super) fn approvals_of(&self, role: &str) -> Approvals {
        self.spec.approvals_of(role)
    }

    /// Keeps what the first person decided; or goes on, if another one decided the same before.
    pub(super) fn one_of_two(
        &self,
        actor: &Actor,
        id: EnrollmentId,
        decided: Decided,
        text: &str,
    ) -> Result<EnrollmentView, ApiError> {
        person(actor)?;
        self.write(|tx| {
            self.may_issue(tx)?;
            self.has_room(tx, &decided.hostname, decided.replace)?;
            let record = tx.enrollment(id)?;
            if record.state != EnrollmentState::Pending {
                return Err(ApiError::conflict("this enrollment is no longer pending", "reload the machine's page"));
            }
            let same = |d: &&Decided| {
                d.actor != actor.user
                    && (&d.hostname, &d.role, d.replace, &d.order)
                        == (&decided.hostname, &decided.role, decided.replace, &decided.order)
            };
            if let Some(first) = waiting(&record).filter(same) {
                let agreed = Some(first.actor.clone());
                return self.both_agree(tx, &record, &Decided { agreed, ..decided.clone() }, actor);
            }
            tx.set_decision(id, &decided)?;
            let text = format!("{text}; a second user has to agree");
            tx.event(now_ms(), &event_of(&record, EventKind::EnrollmentFirstYes, &text, Some(&actor.user)))?;
            Ok(())
        })?;
        self.view_of(id)
    }

    /// The second person agrees to the decision that was shown.
    pub fn agree_by(&self, actor: &Actor, id: EnrollmentId, decision: &str) -> Result<EnrollmentView, ApiError> {
        if self.is_sealed() {
            return Err(ApiError::Sealed);
        }
        super::mode::may_issue(self.mode()?)?;
        person(actor)?;
        self.write(|tx| {
            let record = tx.enrollment(id)?;
            let none =
                || ApiError::conflict("no decision about this machine waits for a second user", "reload the machine's page");
            let first = waiting(&record).ok_or_else(none)?;
            if first.actor == actor.user {
                return Err(ApiError::conflict("you approved this machine yourself", "another user has to agree"));
            }
            if digest(first).to_string() != decision {
                return Err(ApiError::conflict("the decision was changed in the meantime", "reload the machine's page"));
            }
            let decided = Decided { agreed: Some(actor.user.clone()), ..first.clone() };
            self.both_agree(tx, &record, &decided, actor)
        })?;
        self.view_of(id)
    }

    /// Both have said yes: the machine may confirm the code.
    fn both_agree(&self, tx: &Tx<'_>, record: &EnrollmentRecord, decided: &Decided, second: &Actor) -> Result<(), ApiError> {
        self.may_issue(tx)?;
        self.has_room(tx, &decided.hostname, decided.replace)?;
        let first = if decided.actor == second.user { decided.agreed.as_deref() } else { Some(decided.actor.as_str()) };
        let Some(first) = first.map(|name| able(tx, name)).transpose()?.flatten() else {
            let hint = "enter the code again; then another user has to agree";
            return Err(ApiError::conflict("the user who approved this machine first may not approve machines now", hint));
        };
        tx.advance(record, EnrollmentEvent::CodeTyped, None, now())?;
        tx.set_decision(record.id, decided)?;
        self.lift_verdict(tx, record.machine)?;
        let text =
            format!("agreed with {}: {}, role {}, disk {}", first.user, decided.hostname, decided.role, decided.order.disk);
        tx.event(now_ms(), &event_of(record, EventKind::EnrollmentSecondYes, &text, Some(&second.user)))?;
        Ok(())
    }
}
