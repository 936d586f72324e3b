//! From standby to issuer: the epoch grows, and what was under way at the lost site ends.

use anyhow::{Context as _, Result, anyhow};
use cluster_seed::enrollment::{EnrollmentEvent as E, EnrollmentState as S};
use cluster_seed::events::EventKind;
use site::hint::Hint as _;
use site::mode::Mode;
use site::setting;
use site::store::events::NewEvent;
use site::store::{Store, Tx};

/// What the page and the event log say of an enrollment that the move ended.
const MOVED: &str = "the site moved to another seed; the machine enrolls anew";

/// Makes a standby the issuer; gives the new epoch. `now_ms` in Unix milliseconds.
///
/// The list of peers is signed anew at the next unseal, as every change of it.
pub fn promote(store: &Store, now_ms: u64, actor: Option<&str>) -> Result<u64> {
    store.write(|tx| {
        if Mode::of(tx)? != Mode::Standby {
            return Err(anyhow!("this seed is not in standby")).hint("`seedd import` makes a standby of a new site");
        }
        let epoch: u64 = tx.setting(setting::EPOCH)?.map_or(Ok(1), |t| t.parse()).context("reading the epoch")?;
        let epoch = epoch.checked_add(1).ok_or_else(|| anyhow!("there is no epoch after {epoch}"))?;
        tx.set(setting::EPOCH, &epoch.to_string())?;
        Mode::Active.set(tx)?;
        let ended = end_what_is_under_way(tx, now_ms)?;
        let text = format!("promoted: this seed issues from epoch {epoch} on; {ended} unfinished enrollments ended");
        tx.event(now_ms, &NewEvent { actor, ..NewEvent::new(EventKind::SitePromoted, &text) })?;
        Ok(epoch)
    })
}

/// Nobody here holds what a machine at the other site would need to go on, and its epoch is over.
fn end_what_is_under_way(tx: &Tx<'_>, now_ms: u64) -> Result<u32> {
    let mut ended = 0;
    for record in tx.enrollments_waiting()? {
        let event = match record.state {
            S::Issued | S::Installing => E::Failed,
            S::Confirming => E::Denied,
            _ => E::Expired,
        };
        tx.advance(&record, event, Some(MOVED), now_ms / 1000)?;
        tx.drop_issued(record.id)?;
        if let Some(node) = tx.node_of(record.id)?.filter(|n| !n.revoked) {
            tx.revoke_node(node.id, now_ms / 1000)?;
        }
        let said = NewEvent {
            machine: Some(record.machine),
            enrollment: Some(record.id),
            ..NewEvent::new(EventKind::EnrollmentEnded, MOVED)
        };
        tx.event(now_ms, &said)?;
        ended += 1;
    }
    Ok(ended)
}
