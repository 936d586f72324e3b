//! A job on a page.

use super::view::{bytes, clean};
use crate::api::{JobKind, JobState, JobView};
use crate::dates::ago;

/// The job that is running, or ran last.
pub(crate) struct Work {
    pub(crate) title: &'static str,
    pub(crate) running: bool,
    pub(crate) tone: &'static str,
    pub(crate) word: &'static str,
    pub(crate) step: String,
    pub(crate) percent: Option<u64>,
    pub(crate) amount: String,
    pub(crate) text: Option<String>,
    pub(crate) hint: Option<String>,
    pub(crate) actor: String,
    pub(crate) began: String,
    pub(crate) stop: &'static str,
}

pub(super) fn title(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Export => "Exporting a capsule",
        JobKind::Verify => "Verifying a capsule",
        JobKind::Import => "Importing a capsule",
        JobKind::Drill => "Recovery drill",
        JobKind::Build => "Building an image",
        JobKind::VerifyOutput => "Verifying an image",
        JobKind::VerifyLog => "Verifying the event log",
    }
}

/// Colour and word.
pub(super) fn state(state: JobState) -> (&'static str, &'static str) {
    match state {
        JobState::Running => ("busy", "Running"),
        JobState::Done => ("good", "Done"),
        JobState::Failed => ("bad", "Failed"),
        JobState::Stopped => ("idle", "Stopped"),
    }
}

impl Work {
    /// `stop` is where the form with its button is sent.
    pub(super) fn of(job: &JobView, now: u64, stop: &'static str) -> Self {
        let title = title(job.kind);
        let (tone, word) = state(job.state);
        let percent = job.total.filter(|t| *t > 0).map(|t| (u128::from(job.done.min(t)) * 100 / u128::from(t)) as u64);
        let amount = match job.total {
            Some(total) if total > 0 && job.kind == JobKind::VerifyLog => format!("{} of {total} events", job.done.min(total)),
            Some(total) if total > 0 => format!("{} of {}", bytes(job.done.min(total)), bytes(total)),
            _ => String::new(),
        };
        Work {
            title,
            running: job.is_running(),
            tone,
            word,
            step: clean(&job.step),
            percent,
            amount,
            text: job.text.as_deref().map(clean),
            hint: job.hint.as_deref().map(clean),
            actor: clean(&job.actor),
            began: ago(now, job.began),
            stop,
        }
    }
}
