//! An external inventory is asked about machines that wait for approval (`enrollment.inventory` of cluster.yaml). Its answer fills in
//! the form; it approves nothing, and an operator with the whole form never waits for it.

mod question;
pub mod standing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cluster_seed::asked::{Answer, AskSpec, OnFailure};
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::events::EventKind;
use cluster_seed::ids::EnrollmentId;
use cluster_seed::webhooks::shown;
use host::clock::{now_ms, steady};
use site::mode::Mode;
use site::store::StoreError;
use site::store::enrollments::EnrollmentRecord;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use web::api::ApiError;

use self::question::Question;
use self::standing::Standing;
use super::App;
use super::records::event_of;
use super::webhooks::delivery::Receiver;
use crate::planning::Asked;

/// Most questions at the same time.
const MAX_AT_ONCE: usize = 4;
/// Most questions in a minute: machines that prove nothing cause them.
const MAX_PER_MINUTE: usize = 60;
const MINUTE: u64 = 60;
/// Shortest time between two looks at the machines that wait, and longest while a question is open.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Longest time between two looks.
const IDLE: Duration = Duration::from_secs(5);
/// Pause after an error of this seed itself.
const TROUBLE: Duration = Duration::from_secs(30);
/// Seconds between attempts with `onFailure: wait`; the last one again and again.
const PAUSES: [u64; 5] = [1, 5, 30, 120, 600];

/// Questions of the last minute.
#[derive(Default)]
struct Budget(VecDeque<u64>);

impl Budget {
    /// How many more may be sent at `now`, in seconds of the steady clock.
    fn left(&mut self, now: u64) -> usize {
        while self.0.front().is_some_and(|at| at.saturating_add(MINUTE) <= now) {
            self.0.pop_front();
        }
        MAX_PER_MINUTE.saturating_sub(self.0.len())
    }

    fn spend(&mut self, now: u64, count: usize) {
        self.0.extend(std::iter::repeat_n(now, count));
    }
}

/// Asks about every machine that waits, until it is dropped.
pub async fn keep(app: Arc<App>, spec: AskSpec) {
    let mut newest = app.newest.subscribe();
    let (mut running, mut budget) = (JoinSet::new(), Budget::default());
    loop {
        while running.try_join_next().is_some() {}
        let now = steady();
        let room = MAX_AT_ONCE.saturating_sub(running.len()).min(budget.left(now));
        let looker = app.clone();
        let looked = tokio::task::spawn_blocking(move || looker.to_ask(now, room)).await;
        let (due, open) = match looked.context("looking for machines to ask about").and_then(|r| r.map_err(Into::into)) {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "inventory");
                sleep(TROUBLE).await;
                continue;
            }
        };
        budget.spend(now, due.len());
        for (record, attempts) in due {
            running.spawn(ask(app.clone(), spec.clone(), record, attempts));
        }
        sleep(LOOK_EVERY).await;
        // The sender lives as long as the app. While a question is open, its next attempt comes without an event.
        let _ = timeout(if open { LOOK_EVERY } else { IDLE }, newest.changed()).await;
    }
}

/// One attempt, and what follows from it.
async fn ask(app: Arc<App>, spec: AskSpec, record: EnrollmentRecord, attempts: u32) {
    let answer = one_attempt(&app, &spec, &record).await;
    let ended = tokio::task::spawn_blocking(move || app.heard_of(&spec, &record, attempts, answer)).await;
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(error = %error, "inventory"),
        Err(error) => tracing::error!(%error, "inventory"),
    }
}

async fn one_attempt(app: &Arc<App>, spec: &AskSpec, record: &EnrollmentRecord) -> Result<Answer> {
    let facts = &record.revealed.as_ref().context("the machine has not sent its hardware facts")?.facts;
    let (reader, machine) = (app.clone(), record.machine);
    let mac = tokio::task::spawn_blocking(move || reader.store.read(|tx| Ok::<_, StoreError>(tx.machine(machine)?.mac)));
    let mac = mac.await.context("looking for a machine")??;
    let site = app.spec.metadata.name.as_str();
    let body = serde_json::to_vec(&Question::of(site, now_ms(), (record.id, machine, mac), facts))?;
    let id = format!("{site}-ask-{}", record.id);
    let (_, body) = Receiver::of_inventory(spec).deliver(&id, body).await?;
    Ok(Answer::read(&body)?)
}

impl App {
    /// A standby approves nobody, and asks nobody.
    pub(crate) fn start_asking(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        let active = self.mode().is_ok_and(|mode| mode == Mode::Active);
        if let Some(spec) = self.spec.spec.enrollment.inventory.as_ref().filter(|_| active) {
            tasks.spawn(keep(self.clone(), spec.clone()));
        }
    }

    /// For the form of an approval. With `onFailure: ask` a question that is open keeps planned machines waiting for its one attempt.
    pub(super) fn asked_about(&self) -> BTreeMap<EnrollmentId, Asked> {
        let view = |standing: Standing| match standing {
            Standing::Asking { .. } => Some(Asked::Waits),
            Standing::Answered(answer) => Some(Asked::Said(answer)),
            Standing::GaveUp => None,
        };
        self.asked.all().into_iter().filter_map(|(id, standing)| Some((id, view(standing)?))).collect()
    }

    /// Machines whose question is due, at most `room`, and whether any is open. One with a join token is not asked about: the token
    /// has decided.
    fn to_ask(&self, now: u64, room: usize) -> Result<(Vec<(EnrollmentRecord, u32)>, bool), StoreError> {
        let mut waiting = self.store.read(|tx| tx.enrollments_waiting())?;
        waiting.retain(|r| r.state == EnrollmentState::Pending && r.token.is_none() && r.revealed.is_some());
        let ids: BTreeSet<EnrollmentId> = waiting.iter().map(|r| r.id).collect();
        let (due, open) = self.asked.take_due(&ids, now, room);
        let attempts = |id: EnrollmentId| due.iter().find(|(other, _)| *other == id).map(|(_, n)| *n);
        Ok((waiting.into_iter().filter_map(|r| Some((attempts(r.id)?, r))).map(|(n, r)| (r, n)).collect(), open))
    }

    /// Keeps the answer or the failure, and records what is new.
    fn heard_of(&self, spec: &AskSpec, record: &EnrollmentRecord, attempts: u32, answer: Result<Answer>) -> Result<(), ApiError> {
        let (standing, event) = match answer {
            Ok(answer) => {
                let event = said(&answer);
                (Standing::Answered(answer), Some(event))
            }
            Err(error) => {
                let why = format!("{error:#}");
                tracing::warn!(url = shown(&spec.url.value), enrollment = %record.id, attempts, error = why, "the inventory did not answer");
                let event = (attempts == 0).then(|| (EventKind::InventoryFailed, format!("the inventory did not answer: {why}")));
                (after_failure(spec.on_failure, attempts, steady()), event)
            }
        };
        self.asked.set(record.id, standing);
        if let Some((kind, text)) = event {
            self.write(|tx| Ok(tx.event(now_ms(), &event_of(record, kind, &text, None)).map(drop)?))?;
        }
        Ok(())
    }
}

fn after_failure(how: OnFailure, attempts: u32, now: u64) -> Standing {
    let pause = PAUSES.get(usize::try_from(attempts).unwrap_or(usize::MAX)).or(PAUSES.last()).copied().unwrap_or(MINUTE);
    match how {
        OnFailure::Ask => Standing::GaveUp,
        OnFailure::Wait => {
            Standing::Asking { attempts: attempts.saturating_add(1), due: now.saturating_add(pause), running: false }
        }
    }
}

fn said(answer: &Answer) -> (EventKind, String) {
    if !answer.allow {
        let reason = if answer.reason.is_empty() { "no reason was given" } else { &answer.reason };
        return (EventKind::InventoryRefused, format!("the inventory refuses this machine: {reason}"));
    }
    let named = |what: &str, value: Option<String>| value.map(|v| format!("{what} {v}"));
    let disk = answer.disk.as_ref().map(ToString::to_string);
    let all = [named("name", answer.name.clone()), named("role", answer.role.clone()), named("disk", disk)];
    let values: Vec<String> = all.into_iter().flatten().collect();
    let values = if values.is_empty() { String::new() } else { format!(": {}", values.join(", ")) };
    (EventKind::InventoryAnswered, format!("the inventory knows this machine{values}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_so_many_questions() {
        let mut budget = Budget::default();
        assert_eq!(budget.left(100), MAX_PER_MINUTE);
        budget.spend(100, MAX_PER_MINUTE - 1);
        assert_eq!(budget.left(101), 1);
        budget.spend(101, 1);
        assert_eq!((budget.left(159), budget.left(160), budget.left(161)), (0, MAX_PER_MINUTE - 1, MAX_PER_MINUTE));
    }

    #[test]
    fn after_a_failure_the_operator_decides_or_the_question_is_asked_again() {
        assert_eq!(after_failure(OnFailure::Ask, 0, 100), Standing::GaveUp);
        let due = |attempts| match after_failure(OnFailure::Wait, attempts, 100) {
            Standing::Asking { due, running: false, .. } => due,
            other => panic!("{other:?}"),
        };
        assert_eq!([0, 1, 4, 5, u32::MAX].map(due), [101, 105, 700, 700, 700]);
    }
}
