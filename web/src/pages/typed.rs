//! The field for codes, and what became of those that were typed one after the other.

use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::ids::EnrollmentId;

use super::shell::Refusal;
use super::view::{bytes, clean};
use crate::api::TypedView;

/// Most machines that the page shows of those whose codes were typed.
pub(super) const MAX_TYPED: usize = 12;

/// What is in and under the field for codes.
#[derive(Default)]
pub(super) struct CodeField {
    pub(super) refusal: Option<Refusal>,
    /// As it was typed.
    pub(super) code: String,
    pub(super) typed: Vec<EnrollmentId>,
}

/// A machine whose code was typed, as a line under the field.
pub(super) struct TypedLine {
    pub(super) machine: i64,
    pub(super) tone: &'static str,
    pub(super) text: String,
}

impl TypedLine {
    pub(super) fn of(typed: &TypedView) -> Self {
        use EnrollmentState as S;
        let TypedView { hostname, role, disk, disk_size, disk_serial, state, reason, .. } = typed;
        let label = hostname.split('.').next().unwrap_or(hostname);
        let serial = if disk_serial.is_empty() { String::new() } else { format!(", {disk_serial}") };
        let order = format!("{role}, {disk} {}{serial}", bytes(*disk_size));
        let (tone, text) = match state {
            S::Confirming => ("busy", format!("{label}: the machine checks the code ({order})")),
            S::Approved | S::Issued | S::Installing => ("good", format!("{label} installs ({order})")),
            S::Installed | S::FabricReady | S::Converged => ("good", format!("{label} is installed ({order})")),
            S::Pending if typed.second => ("wait", format!("{label}: a second user has to agree ({order})")),
            S::Discovered | S::Pending => ("wait", format!("{label} waits again")),
            S::Denied | S::Revoked | S::Failed | S::Expired => {
                ("bad", format!("{label}: {}", reason.as_deref().unwrap_or("it was not approved")))
            }
        };
        TypedLine { machine: typed.machine, tone, text: clean(&text) }
    }
}
