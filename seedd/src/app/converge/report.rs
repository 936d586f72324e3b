//! What a node says: the run, the checks, the certificates.

use cluster_seed::agent::GateCheck;
use cluster_seed::converge::orders::{Ask, MAX_CHECKS, MAX_TEXT, MAX_WOULD, RunMode, RunReport, RunResult};
use cluster_seed::enrollment::{EnrollmentEvent, EnrollmentState};
use cluster_seed::events::EventKind;
use cluster_seed::machine::tame;
use converge::fleet::same_for_decisions;
use host::clock::{now, now_ms};
use site::store::Tx;
use site::store::converge::ConvergeRecord;
use site::store::enrollments::EnrollmentRecord;
use site::store::nodes::NodeRecord;
use web::api::ApiError;

use super::super::App;
use super::super::lists::some_of;
use super::super::records::event_of;

/// Longest text of a check, in characters.
const MAX_DETAIL: usize = 300;

fn short(text: &str, limit: usize) -> String {
    tame(text).chars().take(limit).collect()
}

/// A report with its texts cut to their limits: it is stored and shown.
fn tamed(run: &RunReport) -> RunReport {
    RunReport {
        play: short(&run.play, 100),
        task: short(&run.task, 200),
        why: short(&run.why, MAX_TEXT),
        would: run.would.iter().take(MAX_WOULD).map(|w| short(w, 200)).collect(),
        ..run.clone()
    }
}

fn tamed_checks(checks: &[GateCheck]) -> Vec<GateCheck> {
    let one = |c: &GateCheck| GateCheck { name: short(&c.name, 64), ok: c.ok, detail: short(&c.detail, MAX_DETAIL) };
    checks.iter().take(MAX_CHECKS).map(one).collect()
}

/// Whether a report repeats what is stored, so that only its number is written.
pub(super) fn says_nothing_new(held: &ConvergeRecord, ask: &Ask) -> bool {
    let same_run = ask.run.as_ref().map(tamed).is_none_or(|run| match run.mode {
        RunMode::Apply => held.run.as_ref() == Some(&run),
        RunMode::Check => held.check.as_ref() == Some(&run),
    });
    same_run && held.checks == tamed_checks(&ask.checks) && held.bundle == ask.bundle
}

impl App {
    /// Stores a node's report, with an event for each thing that changed.
    pub(super) fn note_converge(
        &self,
        tx: &Tx<'_>,
        record: &EnrollmentRecord,
        node: &NodeRecord,
        ask: &Ask,
    ) -> Result<(), ApiError> {
        let held = tx.converge_of(node.id)?;
        let mut new = held.clone();
        if let Some(run) = ask.run.as_ref().map(tamed) {
            match run.mode {
                RunMode::Apply => self.note_run(tx, record, &mut new, run)?,
                RunMode::Check => self.note_check_run(tx, record, &mut new, run)?,
            }
        }
        let checks = tamed_checks(&ask.checks);
        if !checks.is_empty() || new.run.as_ref().is_none_or(|r| r.result != RunResult::Running) {
            self.note_checks(tx, record, &held.checks, &checks)?;
            new.checks = checks;
        }
        new.bundle = ask.bundle;
        if !same_for_decisions(&new, &held) {
            self.store.touch();
        }
        if new != held {
            tx.set_converge(node.id, &new)?;
        }
        Ok(())
    }

    fn note_run(&self, tx: &Tx<'_>, record: &EnrollmentRecord, new: &mut ConvergeRecord, run: RunReport) -> Result<(), ApiError> {
        let say = |kind: EventKind, text: &str| tx.event(now_ms(), &event_of(record, kind, text, None));
        let same = |r: &RunReport| (r.revision, r.attempt, r.result) == (run.revision, run.attempt, run.result);
        if new.run.as_ref().is_some_and(same) {
            new.run = Some(run);
            return Ok(());
        }
        let RunReport { revision, ok, changed, seconds, .. } = run;
        match run.result {
            RunResult::Running => {
                say(EventKind::ConvergeStarted, &format!("running the plays of the role (revision {})", revision.short()))?;
            }
            RunResult::Ok => {
                let text = format!("plays of revision {} done: {ok} ok, {changed} changed, {seconds} s", revision.short());
                say(EventKind::ConvergeDone, &text)?;
                new.converged = true;
                new.ended_at = now();
                new.fetched = new.fetched.saturating_add(run.fetched);
                if record.state == EnrollmentState::FabricReady {
                    tx.advance(record, EnrollmentEvent::ApplyDone, None, now())?;
                    say(EventKind::NodeConverged, "converged: the node's configuration matches its role")?;
                }
            }
            RunResult::Failed => {
                let place = if run.task.is_empty() { run.play.clone() } else { format!("{}: {}", run.play, run.task) };
                say(EventKind::ConvergeFailed, &format!("{place}: {}", run.why))?;
                new.ended_at = now();
                new.fetched = new.fetched.saturating_add(run.fetched);
            }
        }
        new.run = Some(run);
        Ok(())
    }

    fn note_check_run(
        &self,
        tx: &Tx<'_>,
        record: &EnrollmentRecord,
        new: &mut ConvergeRecord,
        run: RunReport,
    ) -> Result<(), ApiError> {
        let done =
            |r: &RunReport| (r.revision, r.attempt, r.seconds, r.result) == (run.revision, run.attempt, run.seconds, run.result);
        if run.result == RunResult::Running || (new.check.as_ref().is_some_and(done) && new.check_attempt >= run.attempt) {
            return Ok(());
        }
        let (kind, text) = match (run.result, run.would.as_slice()) {
            (RunResult::Failed, _) => (EventKind::ConvergeDrift, format!("the check run failed: {}: {}", run.task, run.why)),
            (_, []) => (EventKind::ConvergeNoDrift, "the check run found nothing to change".to_owned()),
            (_, would) => (EventKind::ConvergeDrift, format!("a run would change: {}", some_of(would))),
        };
        tx.event(now_ms(), &event_of(record, kind, &text, None))?;
        new.check_attempt = new.check_attempt.max(run.attempt);
        new.checked_at = now();
        new.check = Some(run);
        Ok(())
    }

    /// One event for the checks that began to fail, and one for those that pass again.
    fn note_checks(&self, tx: &Tx<'_>, record: &EnrollmentRecord, held: &[GateCheck], new: &[GateCheck]) -> Result<(), ApiError> {
        let was = |name: &str| held.iter().find(|c| c.name == name).map(|c| c.ok);
        let failing: Vec<String> =
            new.iter().filter(|c| !c.ok && was(&c.name) != Some(false)).map(|c| format!("{} ({})", c.name, c.detail)).collect();
        let passing: Vec<String> = new.iter().filter(|c| c.ok && was(&c.name) == Some(false)).map(|c| c.name.clone()).collect();
        for (names, kind, what) in
            [(failing, EventKind::CheckFailed, "checks fail"), (passing, EventKind::CheckPassed, "checks pass again")]
        {
            if !names.is_empty() {
                tx.event(now_ms(), &event_of(record, kind, &format!("{what}: {}", some_of(&names)), None))?;
            }
        }
        Ok(())
    }
}
