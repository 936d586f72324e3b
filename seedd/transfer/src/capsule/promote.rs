//! Promotes a standby: the epoch increases, and enrollments in progress on the lost seed end.

use anyhow::{Result, anyhow};
use cluster_seed::enrollment::{EnrollmentEvent as E, EnrollmentState as S};
use cluster_seed::events::EventKind;
use site::hint::Hint as _;
use site::mode::Mode;
use site::setting;
use site::store::events::NewEvent;
use site::store::{Store, Tx};

/// The reason of enrollments that a promotion ends, on the page and in the event log.
const MOVED: &str = "the site moved to another seed; the machine will enroll again";

/// Promotes a standby; returns the new epoch. `now_ms` in Unix milliseconds. In a `drill`, what this copy of the site signs from then on
/// fences no other seed.
///
/// The peer list is signed again at the next unseal, like every change of it.
pub fn promote(store: &Store, now_ms: u64, actor: Option<&str>, drill: bool) -> Result<u64> {
    store.write(|tx| {
        if Mode::of(tx)? != Mode::Standby {
            return Err(anyhow!("this seed is not a standby")).hint("`seedd import` turns a new site into a standby");
        }
        let epoch = tx.epoch()?;
        let epoch = epoch.checked_add(1).ok_or_else(|| anyhow!("{epoch} is the highest possible epoch"))?;
        if drill {
            tx.set(setting::DRILL, "1")?;
        }
        tx.set_epoch(epoch)?;
        Mode::Active.set(tx)?;
        let ended = end_what_is_under_way(tx, now_ms)?;
        let text = format!("promoted: this seed issues identities from epoch {epoch}; {ended} unfinished enrollments were ended");
        tx.event(now_ms, &NewEvent { actor, ..NewEvent::new(EventKind::SitePromoted, &text) })?;
        Ok(epoch)
    })
}

/// These enrollments cannot continue: their secrets are not on this seed, and their epoch has ended.
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
