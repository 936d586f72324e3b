//! A job on a page.

use super::view::{bytes, clean};
use crate::api::{JobKind, JobState, JobView};
use crate::dates::ago;
use crate::words::Lang;

/// The job that is running, or ran last.
pub(crate) struct Work {
    pub(crate) title: String,
    pub(crate) running: bool,
    pub(crate) tone: &'static str,
    pub(crate) word: String,
    pub(crate) step: String,
    pub(crate) percent: Option<u64>,
    pub(crate) amount: String,
    pub(crate) text: Option<String>,
    pub(crate) hint: Option<String>,
    pub(crate) actor: String,
    pub(crate) began: String,
    pub(crate) stop: &'static str,
}

pub(super) fn title(lang: Lang, kind: JobKind) -> String {
    lang.t(match kind {
        JobKind::Export => "job-export",
        JobKind::Verify => "job-verify",
        JobKind::Import => "job-import",
        JobKind::Drill => "job-drill",
        JobKind::Build => "job-build",
        JobKind::VerifyOutput => "job-verify-output",
        JobKind::VerifyLog => "job-verify-log",
    })
}

/// Colour and word.
pub(super) fn state(lang: Lang, state: JobState) -> (&'static str, String) {
    let (tone, key) = match state {
        JobState::Running => ("busy", "job-running"),
        JobState::Done => ("good", "job-done"),
        JobState::Failed => ("bad", "job-failed"),
        JobState::Stopped => ("idle", "job-stopped"),
    };
    (tone, lang.t(key))
}

impl Work {
    /// `stop` is where the form with its button is sent.
    pub(super) fn of(lang: Lang, job: &JobView, now: u64, stop: &'static str) -> Self {
        let title = title(lang, job.kind);
        let (tone, word) = state(lang, job.state);
        let percent = job.total.filter(|t| *t > 0).map(|t| (u128::from(job.done.min(t)) * 100 / u128::from(t)) as u64);
        let amount = match job.total {
            Some(total) if total > 0 && job.kind == JobKind::VerifyLog => {
                lang.with("job-events", &[("n", job.done.min(total).into()), ("x", (&total.to_string()).into())])
            }
            Some(total) if total > 0 => {
                let (done, total) = (bytes(job.done.min(total)), bytes(total));
                lang.with("progress-of", &[("x", (&done).into()), ("y", (&total).into())])
            }
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
            began: ago(lang, now, job.began),
            stop,
        }
    }
}
