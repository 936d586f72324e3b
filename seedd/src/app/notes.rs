//! Events about what a command did itself: exports, drills, replaced nodes.

use appliance::control::Note;
use cluster_seed::events::EventKind;
use host::clock::now_ms;
use site::store::Tx;
use site::store::events::NewEvent;
use web::api::ApiError;

use crate::drill::Report;

pub(crate) fn write(tx: &Tx<'_>, actor: &str, note: &Note) -> Result<(), ApiError> {
    let (kind, text) = words(note);
    tx.event(now_ms(), &NewEvent { actor: Some(actor), ..NewEvent::new(kind, &text) })?;
    Ok(())
}

/// The event of a note.
pub(crate) fn words(note: &Note) -> (EventKind, String) {
    match note {
        Note::Exporting { recipient } => (EventKind::SiteExported, format!("export of a capsule for {recipient} started")),
        Note::Drilled { node, seconds, target_seconds, passed } => {
            let (node, seconds, target_seconds, passed) = (node.clone(), *seconds, *target_seconds, *passed);
            let report = Report { node, seconds, target_seconds, passed };
            (report.kind(), report.sentence())
        }
        Note::DrillFailed { why } => (EventKind::DrillFailed, format!("the drill failed: {why}")),
        Note::NodeReplaced { hostname, approved, installed, fabric_ready, healthy } => {
            let text = format!(
                "{hostname} was replaced: approved after {approved} s, installed after {installed} s, fabric after {fabric_ready} s, \
                 healthy after {healthy} s"
            );
            (EventKind::NodeReplaced, text)
        }
    }
}
