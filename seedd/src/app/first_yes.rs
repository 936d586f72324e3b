//! The first of two approvals, as it is kept and as it is shown.

use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::ids::Digest;
use site::store::enrollments::{Decided, EnrollmentRecord};
use web::api::FirstYes;

/// Names a decision, without the parts of the pairing that are secret.
pub(super) fn digest(decided: &Decided) -> Digest {
    let Decided { actor, hostname, role, replace, order, message, .. } = decided;
    let words = serde_json::json!([actor, hostname, role, replace, order, message]);
    Digest::of(words.to_string().as_bytes())
}

/// The first person's decision about an enrollment that still waits for the second one.
pub(super) fn waiting(record: &EnrollmentRecord) -> Option<&Decided> {
    record.decision.as_ref().filter(|d| record.state == EnrollmentState::Pending && d.agreed.is_none())
}

/// The decision as the pages and the API show it.
pub(super) fn first_yes(record: &EnrollmentRecord) -> Option<FirstYes> {
    waiting(record).map(|d| FirstYes {
        user: d.actor.clone(),
        hostname: d.hostname.to_string(),
        role: d.role.clone(),
        disk: d.order.disk.clone(),
        replace: d.replace,
        decision: digest(d),
    })
}
