//! Long jobs that an operator starts in the web interface: one at a time, on its own thread, with progress and a stop
//! button. The event log records the outcome. This state is lost when the process ends; starting the same job again
//! resumes it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use cluster_seed::progress::Progress;
use host::clock::{Stopwatch, now};
use site::hint;
use web::api::ApiError;
use web::api::{JobDetail, JobKind, JobLine, JobState, JobView};

/// Jobs that are kept, the running one included.
const KEPT: usize = 20;
/// Steps of a job that are kept.
const LINES: usize = 200;
/// Seconds that a step has to run before its end is estimated.
const ESTIMATE_AFTER: u64 = 3;

/// The running job and those before it, newest first.
#[derive(Default)]
pub struct Jobs {
    all: Mutex<VecDeque<Arc<Job>>>,
}

struct Step {
    name: String,
    total: Option<u64>,
    began: Stopwatch,
}

struct End {
    state: JobState,
    text: String,
    hint: Option<String>,
    /// Unix seconds.
    at: u64,
}

/// One job and its progress.
pub struct Job {
    id: u64,
    kind: JobKind,
    actor: String,
    began: u64,
    step: Mutex<Step>,
    lines: Mutex<VecDeque<JobLine>>,
    done: AtomicU64,
    stop: AtomicBool,
    end: Mutex<Option<End>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Jobs {
    /// The running or last job.
    pub fn view(&self) -> Option<JobView> {
        lock(&self.all).front().map(|job| job.view())
    }

    /// The newest job of a kind.
    pub fn last_of(&self, kind: JobKind) -> Option<JobView> {
        lock(&self.all).iter().find(|job| job.kind == kind).map(|job| job.view())
    }

    /// Every job that is kept, newest first.
    pub fn details(&self) -> Vec<JobDetail> {
        let all: Vec<Arc<Job>> = lock(&self.all).iter().cloned().collect();
        all.iter().map(|job| job.detail()).collect()
    }

    /// Starts `work` on its own thread.
    ///
    /// # Errors
    /// [`ApiError::Conflict`] while another job is running.
    pub fn start(
        &self,
        kind: JobKind,
        actor: &str,
        work: impl FnOnce(&Job) -> Result<String> + Send + 'static,
    ) -> Result<JobView, ApiError> {
        let mut all = lock(&self.all);
        if all.front().is_some_and(|job| job.runs()) {
            let hint = Some("wait until it ends, or stop it".to_owned());
            return Err(ApiError::Conflict { why: "another job is running on this seed".to_owned(), hint });
        }
        let job = Arc::new(Job::new(all.front().map_or(1, |job| job.id + 1), kind, actor));
        let runs = job.clone();
        let begun = std::thread::Builder::new().name(format!("job-{}", job.id)).spawn(move || {
            // A panic ends the job, not the seed; otherwise the page would show the job as running for ever.
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&runs)));
            runs.finish(result.unwrap_or_else(|_| Err(anyhow::anyhow!("the job crashed; see the daemon's log"))));
        });
        begun.map_err(|e| ApiError::Unavailable { why: format!("starting a thread for the job: {e}") })?;
        let view = job.view();
        all.push_front(job);
        all.truncate(KEPT);
        Ok(view)
    }

    /// Asks this job, or the one that runs, to stop, if `may` allows it.
    pub fn stop(&self, id: Option<u64>, may: impl FnOnce(JobKind) -> Result<(), ApiError>) -> Result<JobView, ApiError> {
        let all = lock(&self.all);
        let (job, why) = match id {
            Some(id) => {
                (Some(all.iter().find(|job| job.id == id).ok_or(ApiError::NotFound { what: "job" })?), "the job has ended")
            }
            None => (all.front(), "no job is running"),
        };
        let job = job.filter(|job| job.runs()).ok_or_else(|| ApiError::Conflict { why: why.to_owned(), hint: None })?;
        job.end_early(may)
    }
}

impl Job {
    fn end_early(&self, may: impl FnOnce(JobKind) -> Result<(), ApiError>) -> Result<JobView, ApiError> {
        may(self.kind)?;
        self.stop.store(true, Ordering::SeqCst);
        Ok(self.view())
    }

    fn new(id: u64, kind: JobKind, actor: &str) -> Self {
        Job {
            id,
            kind,
            actor: actor.to_owned(),
            began: now(),
            step: Mutex::new(Step { name: "beginning".to_owned(), total: None, began: Stopwatch::start() }),
            lines: Mutex::default(),
            done: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            end: Mutex::default(),
        }
    }

    fn runs(&self) -> bool {
        lock(&self.end).is_none()
    }

    fn view(&self) -> JobView {
        let (step, end) = (lock(&self.step), lock(&self.end));
        JobView {
            id: self.id,
            kind: self.kind,
            state: end.as_ref().map_or(JobState::Running, |e| e.state),
            step: step.name.clone(),
            done: self.done.load(Ordering::Relaxed),
            total: step.total,
            text: end.as_ref().map(|e| e.text.clone()),
            hint: end.as_ref().and_then(|e| e.hint.clone()),
            actor: self.actor.clone(),
            began: self.began,
        }
    }

    fn detail(&self) -> JobDetail {
        let ended = lock(&self.end).as_ref().map(|e| e.at);
        let left = {
            let step = lock(&self.step);
            left(self.done.load(Ordering::Relaxed), step.total, step.began.elapsed().as_secs())
        };
        JobDetail {
            job: self.view(),
            ended,
            left: left.filter(|_| ended.is_none()),
            lines: lock(&self.lines).iter().cloned().collect(),
        }
    }

    fn finish(&self, result: Result<String>) {
        let at = now();
        let end = match result {
            Ok(text) => End { state: JobState::Done, text, hint: None, at },
            Err(error) => {
                let stopped = self.stop.load(Ordering::SeqCst);
                tracing::warn!(job = self.id, error = format!("{error:#}"), stopped, "job ended");
                let state = if stopped { JobState::Stopped } else { JobState::Failed };
                End { state, text: format!("{error:#}"), hint: hint::of(&error), at }
            }
        };
        *lock(&self.end) = Some(end);
    }

    /// True once a stop was requested.
    pub fn stop_asked(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

impl Progress for Job {
    fn begin(&self, step: &str, total: Option<u64>) {
        let mut held = lock(&self.step);
        self.done.store(0, Ordering::Relaxed);
        *held = Step { name: step.to_owned(), total, began: Stopwatch::start() };
        let mut lines = lock(&self.lines);
        lines.push_back(JobLine { at: now(), text: step.to_owned() });
        if lines.len() > LINES {
            lines.pop_front();
        }
    }

    fn advance(&self, n: u64) {
        self.done.fetch_add(n, Ordering::Relaxed);
    }

    fn end(&self) {}

    fn say(&self, line: &str) {
        self.begin(line, None);
    }

    fn cancelled(&self) -> bool {
        self.stop_asked()
    }
}

/// Seconds that a step still needs at its present speed.
fn left(done: u64, total: Option<u64>, seconds: u64) -> Option<u64> {
    let total = total.filter(|t| seconds >= ESTIMATE_AFTER && done > 0 && *t >= done)?;
    u64::try_from(u128::from(total - done) * u128::from(seconds) / u128::from(done)).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn ended(jobs: &Jobs) -> JobView {
        loop {
            let view = jobs.view().unwrap();
            if view.state != JobState::Running {
                return view;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    #[test]
    fn one_job_runs_at_a_time_and_reports_its_progress() {
        let jobs = Jobs::default();
        assert!(jobs.view().is_none() && jobs.stop(None, |_| Ok(())).is_err());
        let (go, wait) = channel::<()>();
        let (said, told) = channel::<()>();
        let work = move |job: &Job| {
            job.begin("copying", Some(10));
            job.advance(4);
            said.send(()).unwrap();
            wait.recv().unwrap();
            Ok("copied".to_owned())
        };
        assert_eq!(jobs.start(JobKind::Export, "ada", work).unwrap().id, 1);
        told.recv().unwrap();
        let view = jobs.view().unwrap();
        assert_eq!((view.state, view.step.as_str(), view.done, view.total), (JobState::Running, "copying", 4, Some(10)));
        assert!(matches!(jobs.start(JobKind::Drill, "ada", |_| Ok(String::new())), Err(ApiError::Conflict { .. })));
        go.send(()).unwrap();
        let view = ended(&jobs);
        assert_eq!((view.state, view.text.as_deref()), (JobState::Done, Some("copied")));
        assert_eq!(jobs.start(JobKind::Drill, "ada", |_| Ok(String::new())).unwrap().id, 2);
    }

    #[test]
    fn jobs_are_kept_with_their_steps_and_the_oldest_is_dropped() {
        let jobs = Jobs::default();
        for n in 0..KEPT + 2 {
            let work = move |job: &Job| {
                (0..LINES + n).for_each(|step| job.say(&format!("step {step}")));
                Ok("done".to_owned())
            };
            jobs.start(JobKind::Verify, "ada", work).unwrap();
            ended(&jobs);
        }
        let all = jobs.details();
        assert_eq!((all.len(), all[0].job.id), (KEPT, KEPT as u64 + 2));
        assert!(all.iter().all(|d| d.ended.is_some() && d.lines.len() == LINES && d.left.is_none()));
        assert_eq!(all[0].lines.last().unwrap().text, format!("step {}", LINES + KEPT));
        assert!(jobs.last_of(JobKind::Drill).is_none() && jobs.last_of(JobKind::Verify).is_some());
        assert!(matches!(jobs.stop(Some(1), |_| Ok(())), Err(ApiError::NotFound { .. })), "it was dropped");
        assert!(matches!(jobs.stop(Some(KEPT as u64 + 2), |_| Ok(())), Err(ApiError::Conflict { .. })), "it has ended");
    }

    #[test]
    fn the_time_left_follows_from_the_speed_so_far() {
        for (done, total, seconds, expected) in [
            (50, Some(100), 10, Some(10)),
            (50, Some(100), ESTIMATE_AFTER - 1, None),
            (0, Some(100), 10, None),
            (50, None, 10, None),
            (100, Some(100), 10, Some(0)),
            (101, Some(100), 10, None),
            (1, Some(u64::MAX), u64::MAX, None),
        ] {
            assert_eq!(left(done, total, seconds), expected, "{done} of {total:?} in {seconds} s");
        }
    }

    #[test]
    fn a_job_stops_on_request_fails_with_its_hint_and_a_panic_is_contained() {
        use site::hint::Hint as _;
        let jobs = Jobs::default();
        let until_stopped = |job: &Job| {
            while !job.cancelled() {
                std::thread::yield_now();
            }
            anyhow::bail!("stopped; run the same command again to resume")
        };
        jobs.start(JobKind::Import, "ada", until_stopped).unwrap();
        jobs.stop(None, |_| Ok(())).unwrap();
        assert_eq!(ended(&jobs).state, JobState::Stopped);
        jobs.start(JobKind::Import, "ada", |_| Err(anyhow::anyhow!("no room")).hint("remove something")).unwrap();
        let view = ended(&jobs);
        assert_eq!((view.state, view.hint.as_deref()), (JobState::Failed, Some("remove something")));
        jobs.start(JobKind::Import, "ada", |_| panic!("on purpose")).unwrap();
        assert_eq!(ended(&jobs).state, JobState::Failed);
    }
}
