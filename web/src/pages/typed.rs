//! The field for codes, and what became of those that were typed one after the other.

use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::ids::EnrollmentId;

use super::shell::Refusal;
use super::view::{bytes, clean};
use crate::api::TypedView;
use crate::words::Lang;

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
    pub(super) fn of(lang: Lang, typed: &TypedView) -> Self {
        use EnrollmentState as S;
        let TypedView { hostname, role, disk, disk_size, disk_serial, state, reason, .. } = typed;
        let label = hostname.split('.').next().unwrap_or(hostname);
        let serial = if disk_serial.is_empty() { String::new() } else { format!(", {disk_serial}") };
        let order = format!("{role}, {disk} {}{serial}", bytes(*disk_size));
        let (tone, key) = match state {
            S::Confirming => ("busy", "typed-checking"),
            S::Approved | S::Issued | S::Installing => ("good", "typed-installs"),
            S::Installed | S::FabricReady | S::Converged => ("good", "typed-installed"),
            S::Pending if typed.second => ("wait", "typed-second"),
            S::Discovered | S::Pending => ("wait", "typed-again"),
            S::Denied | S::Revoked | S::Failed | S::Expired if reason.is_none() => ("bad", "typed-not-approved"),
            S::Denied | S::Revoked | S::Failed | S::Expired => ("bad", "typed-ended"),
        };
        let order = if key == "typed-ended" { reason.clone().unwrap_or_default() } else { order };
        let text = lang.with(key, &[("x", label.into()), ("order", (&order).into())]);
        TypedLine { machine: typed.machine, tone, text: clean(&text) }
    }
}
