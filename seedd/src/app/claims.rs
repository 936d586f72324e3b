//! What follows from a row of the plan: the place and labels of its machine, and the event of several machines that claim it.

use cluster_seed::events::EventKind;
use cluster_seed::fleet::Label;
use cluster_seed::ids::EnrollmentId;
use cluster_seed::pairing::Number;
use host::clock::now_ms;
use site::store::Tx;
use site::store::enrollments::{Decided, EnrollmentRecord};
use web::api::ApiError;

use super::App;
use super::records::event_of;
use crate::claims::{self, Claim};

/// Most claimants of a row that an event names, and on whose timelines it is written.
const MAX_NAMED: usize = 4;

impl App {
    /// Notes on the timelines of all claimants that this machine is not the only one of its row, within the budget of machines
    /// without an identity.
    pub(super) fn note_rivals(&self, id: EnrollmentId) -> Result<(), ApiError> {
        let gone = self.gone();
        let found = self.store.read(|tx| {
            let (plan, record) = (self.told.plan(tx)?, tx.enrollment(id)?);
            let mac = tx.machine(record.machine)?.mac;
            let row = record.revealed.as_ref().and_then(|r| plan.find(&r.facts, mac)).map(|f| f.row.name.clone());
            let Some(name) = row.filter(|_| record.token.is_none()) else { return Ok::<_, ApiError>(None) };
            Ok(claims::of_all(tx, &plan, &gone)?.remove(&name).map(|claims| (name, claims)))
        })?;
        let Some((name, claims)) = found.filter(|(_, claims)| claims.len() > 1) else { return Ok(()) };
        let named: Vec<String> = claims.iter().take(MAX_NAMED).map(words).collect();
        let (count, list) = (claims.len(), named.join("; "));
        let text = format!("conflict: {count} machines claim the planned name {name} ({list}); a click approves none of them");
        // The newest ones: the machine that has just asked is among them.
        for claim in claims.iter().rev().take(MAX_NAMED) {
            self.note(claim.record.ip, EventKind::EnrollmentConflict, &text, Some(&claim.record));
        }
        Ok(())
    }

    /// A machine became the node of its row: the place and labels of the row are noted of the machine. Other labels stay; of one with
    /// the same key, the plan's counts.
    pub(super) fn note_as_planned(&self, tx: &Tx<'_>, record: &EnrollmentRecord, decided: &Decided) -> Result<(), ApiError> {
        let Some(revealed) = record.revealed.as_ref().filter(|_| record.token.is_none()) else { return Ok(()) };
        let (plan, mac) = (self.told.plan(tx)?, tx.machine(record.machine)?.mac);
        let found = plan.find(&revealed.facts, mac).filter(|f| f.row.name == decided.hostname.label());
        let Some(row) = found.map(|f| f.row) else { return Ok(()) };
        let (place, labels) = (row.machine_place(), row.machine_labels());
        let mut said = Vec::new();
        if !place.is_empty() {
            tx.set_place(record.machine, &place)?;
            said.push(format!("place: {place}"));
        }
        if !labels.is_empty() {
            let key = |text: &str| text.split('=').next().unwrap_or_default().to_owned();
            let known = tx.note_of(record.machine)?.labels;
            let replaced =
                known.iter().filter(|old| row.labels.contains_key(&key(old)) && !labels.iter().any(|l| l.as_str() == *old));
            let replaced: Vec<Label> = replaced.filter_map(|old| old.parse().ok()).collect();
            let words = labels.iter().map(Label::as_str).collect::<Vec<_>>().join(", ");
            let kept = tx.set_labels(record.machine, &labels, &replaced)?;
            said.push(if kept { format!("labels: {words}") } else { format!("no room for the labels {words}") });
        }
        if !said.is_empty() {
            let text = format!("from the plan: {}", said.join("; "));
            tx.event(now_ms(), &event_of(record, EventKind::MachineLabelled, &text, Some(&decided.actor)))?;
        }
        Ok(())
    }
}

fn words(claim: &Claim) -> String {
    let facts = claim.record.revealed.as_ref().map(|r| r.facts.serial.as_str()).filter(|s| !s.is_empty());
    let serial = facts.map(|s| format!(", serial number {s}")).unwrap_or_default();
    let code = claim.record.number.map(|n: Number| format!(", code {n}-")).unwrap_or_default();
    format!("{} at {}{serial}{code}", claim.mac, claim.record.ip)
}
