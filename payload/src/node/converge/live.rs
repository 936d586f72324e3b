//! The state of the run that is under way, shared between the thread of the run and the one that asks the seed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cluster_seed::agent::StepResult;
use cluster_seed::converge::orders::{MAX_WOULD, Run, RunMode, RunReport, RunResult};

/// Where a run is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    pub play: String,
    pub task: String,
    /// Tasks that succeeded, those included that changed something.
    pub ok: u32,
    pub changed: u32,
    /// Bytes of payload downloaded.
    pub fetched: u64,
    /// Tasks that changed something, or would.
    pub changes: Vec<String>,
    /// Why the task failed that failed last.
    pub why: String,
}

#[derive(Debug, Default)]
pub struct Live {
    progress: Mutex<Progress>,
    superseded: AtomicBool,
}

impl Live {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> Progress {
        self.lock().clone()
    }

    /// The next attempt begins: counts start again.
    pub fn begin(&self) {
        let mut progress = self.lock();
        *progress = Progress { fetched: progress.fetched, ..Progress::default() };
    }

    pub fn fetched(&self, bytes: u64) {
        self.lock().fetched = bytes;
    }

    pub fn at(&self, play: &str, task: &str) {
        let mut progress = self.lock();
        (progress.play, progress.task) = (play.to_owned(), task.to_owned());
    }

    pub fn play(&self, play: &str) {
        self.at(play, "");
    }

    pub fn task(&self, task: &str) {
        task.clone_into(&mut self.lock().task);
    }

    /// A task has ended.
    pub fn done(&self, task: &str, result: StepResult, detail: &str) {
        let mut progress = self.lock();
        match result {
            StepResult::Ok => progress.ok += 1,
            StepResult::Changed => {
                progress.ok += 1;
                progress.changed += 1;
                if progress.changes.len() < MAX_WOULD {
                    let name = format!("{}: {task}", progress.play);
                    progress.changes.push(name);
                }
            }
            StepResult::Skipped => {}
            StepResult::Failed | StepResult::Unreachable => {
                task.clone_into(&mut progress.task);
                detail.clone_into(&mut progress.why);
            }
        }
    }

    /// The seed wants another run: one that waits for its payload ends.
    pub fn supersede(&self) {
        self.superseded.store(true, Ordering::Relaxed);
    }

    pub fn is_superseded(&self) -> bool {
        self.superseded.load(Ordering::Relaxed)
    }

    /// The report of `run` as it is now.
    pub fn report(&self, run: &Run, result: RunResult, why: &str, seconds: u64) -> RunReport {
        let progress = self.now();
        let would = if run.mode == RunMode::Check { progress.changes } else { Vec::new() };
        RunReport {
            revision: run.revision,
            attempt: run.attempt,
            mode: run.mode,
            result,
            play: progress.play,
            task: progress.task,
            ok: progress.ok,
            changed: progress.changed,
            why: why.to_owned(),
            seconds,
            fetched: progress.fetched,
            would,
        }
    }
}

#[cfg(test)]
mod tests {
    use cluster_seed::ids::Digest;

    use super::*;

    #[test]
    fn changes_are_named_in_a_check_run_only_and_within_limits() {
        let live = Live::default();
        live.play("p");
        for n in 0..=MAX_WOULD {
            live.done(&format!("t{n}"), StepResult::Changed, "");
        }
        live.done("t", StepResult::Ok, "");
        live.done("t", StepResult::Skipped, "");
        live.done("last", StepResult::Failed, "reason");
        let run = |mode| Run {
            revision: Digest([1; 32]),
            attempt: 2,
            mode,
            payload: Digest([2; 32]),
            payload_size: 0,
            role: "r".into(),
            plays: vec![],
            vars: [].into(),
            groups: [].into(),
        };
        let check = live.report(&run(RunMode::Check), RunResult::Failed, "w", 3);
        assert_eq!((check.would.len(), check.would[0].as_str()), (MAX_WOULD, "p: t0"));
        let count = MAX_WOULD as u32 + 1;
        assert_eq!((check.ok, check.changed, check.task.as_str()), (count + 1, count, "last"));
        assert!(live.report(&run(RunMode::Apply), RunResult::Ok, "", 3).would.is_empty());
        live.fetched(9);
        live.begin();
        assert_eq!(live.now(), Progress { fetched: 9, ..Progress::default() });
    }
}
