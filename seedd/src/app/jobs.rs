//! Long jobs that an operator starts in the web interface: one at a time, on its own thread, with progress and a stop
//! button. The event log records the outcome. This state is lost when the process ends; starting the same job again
//! resumes it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use cluster_seed::progress::Progress;
use host::clock::now;
use site::hint;
use web::api::ApiError;
use web::api::{JobKind, JobState, JobView};

/// The running or last job.
#[derive(Default)]
pub struct Jobs {
    current: Mutex<Option<Arc<Job>>>,
}

struct Step {
    name: String,
    total: Option<u64>,
}

struct End {
    state: JobState,
    text: String,
    hint: Option<String>,
}

/// One job and its progress.
pub struct Job {
    id: u64,
    kind: JobKind,
    actor: String,
    began: u64,
    step: Mutex<Step>,
    done: AtomicU64,
    stop: AtomicBool,
    end: Mutex<Option<End>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Jobs {
    pub fn view(&self) -> Option<JobView> {
        lock(&self.current).as_ref().map(|job| job.view())
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
        let mut current = lock(&self.current);
        if current.as_ref().is_some_and(|job| job.runs()) {
            let hint = Some("wait until it ends, or stop it".to_owned());
            return Err(ApiError::Conflict { why: "another job is running on this seed".to_owned(), hint });
        }
        let job = Arc::new(Job {
            id: current.as_ref().map_or(1, |job| job.id + 1),
            kind,
            actor: actor.to_owned(),
            began: now(),
            step: Mutex::new(Step { name: "beginning".to_owned(), total: None }),
            done: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            end: Mutex::default(),
        });
        let runs = job.clone();
        let begun = std::thread::Builder::new().name(format!("job-{}", job.id)).spawn(move || {
            // A panic ends the job, not the seed; otherwise the page would show the job as running for ever.
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&runs)));
            runs.finish(result.unwrap_or_else(|_| Err(anyhow::anyhow!("the job crashed; see the daemon's log"))));
        });
        begun.map_err(|e| ApiError::Unavailable { why: format!("starting a thread for the job: {e}") })?;
        let view = job.view();
        *current = Some(job);
        Ok(view)
    }

    /// Asks the running job to stop.
    pub fn stop(&self) -> Result<JobView, ApiError> {
        let current = lock(&self.current);
        let job = current.as_ref().filter(|job| job.runs());
        let job = job.ok_or_else(|| ApiError::Conflict { why: "no job is running".to_owned(), hint: None })?;
        job.stop.store(true, Ordering::SeqCst);
        Ok(job.view())
    }
}

impl Job {
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

    fn finish(&self, result: Result<String>) {
        let end = match result {
            Ok(text) => End { state: JobState::Done, text, hint: None },
            Err(error) => {
                let stopped = self.stop.load(Ordering::SeqCst);
                tracing::warn!(job = self.id, error = format!("{error:#}"), stopped, "job ended");
                let state = if stopped { JobState::Stopped } else { JobState::Failed };
                End { state, text: format!("{error:#}"), hint: hint::of(&error) }
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
        *held = Step { name: step.to_owned(), total };
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
        assert!(jobs.view().is_none() && jobs.stop().is_err());
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
        jobs.stop().unwrap();
        assert_eq!(ended(&jobs).state, JobState::Stopped);
        jobs.start(JobKind::Import, "ada", |_| Err(anyhow::anyhow!("no room")).hint("remove something")).unwrap();
        let view = ended(&jobs);
        assert_eq!((view.state, view.hint.as_deref()), (JobState::Failed, Some("remove something")));
        jobs.start(JobKind::Import, "ada", |_| panic!("on purpose")).unwrap();
        assert_eq!(ended(&jobs).state, JobState::Failed);
    }
}
