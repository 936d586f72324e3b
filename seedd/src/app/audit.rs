//! The event log for those who audit it: search, export, verification, checkpoints.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use cluster_seed::events::EventKind;
use cluster_seed::ids::Mac;
use cluster_seed::log::LogCheckpoint;
use cluster_seed::people::Permission;
use cluster_seed::progress::Progress as _;
use cluster_seed::seal::Sealed;
use host::clock::now_ms;
use serde_json::json;
use site::hint::Hint as _;
use site::store::StoreError;
use site::store::audit::{AuditFilter, MAX_WORD, MAX_WORDS};
use site::store::events::{EventRow, NewEvent};
use site::syslog;
use web::api::{
    Actor, ApiError, AuditApi, AuditEvent, AuditPage, AuditQuery, AuditState, CheckpointView, ExportFormat, ExportPart, JobKind,
    JobView,
};

use super::jobs::Job;
use super::views::event;
use super::{App, Seed, unexpected};

/// Rows that are checked before other requests may use the database.
const SLICE: u32 = 10_000;
/// Rows in one part of an export.
const PART: u32 = 1_000;

impl AuditApi for Seed {
    fn audit(&self, actor: &Actor, query: &AuditQuery, before: Option<i64>, limit: u32) -> Result<AuditPage, ApiError> {
        actor.must(Permission::Audit)?;
        self.0.search_log(query, before, limit)
    }

    fn audit_event(&self, actor: &Actor, id: i64) -> Result<AuditEvent, ApiError> {
        actor.must(Permission::Audit)?;
        self.0.event_in_chain(id)
    }

    fn audit_state(&self, actor: &Actor) -> Result<AuditState, ApiError> {
        actor.must(Permission::Audit)?;
        self.0.state_of_log()
    }

    fn audit_export(&self, actor: &Actor, query: &AuditQuery, format: ExportFormat, after: i64) -> Result<ExportPart, ApiError> {
        actor.must(Permission::Audit)?;
        self.0.export_log(query, format, after)
    }

    fn verify_log(&self, actor: &Actor) -> Result<JobView, ApiError> {
        self.0.verify_log_by(actor.must(Permission::Audit)?)
    }

    fn checkpoint_log(&self, actor: &Actor) -> Result<CheckpointView, ApiError> {
        self.0.checkpoint_by(&actor.must(Permission::Administer)?.user)
    }
}

fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

impl App {
    fn filter(&self, query: &AuditQuery) -> Result<AuditFilter, ApiError> {
        let words = query.words.split_whitespace().take(MAX_WORDS);
        Ok(AuditFilter {
            kind: given(&query.kind),
            actor: given(&query.actor),
            machine: given(&query.machine).map(|m| self.machine_named(&m)).transpose()?,
            words: words.map(|w| w.chars().take(MAX_WORD).collect::<String>().to_lowercase()).collect(),
            since: query.since,
            until: query.until,
        })
    }

    /// A machine by its number, its MAC address, or the name of the node that it is or was last.
    fn machine_named(&self, text: &str) -> Result<i64, ApiError> {
        if let Ok(number) = text.parse() {
            return Ok(number);
        }
        let found = self.store.read(|tx| match text.parse::<Mac>() {
            Ok(mac) => Ok::<_, StoreError>(tx.machine_by_mac(mac)?.map(|m| m.id)),
            Err(_) => match tx.machine_of_host(text)? {
                Some(id) => Ok(Some(id)),
                None => tx.machine_of_host(&format!("{text}.{}", self.spec.spec.networking.domain)),
            },
        })?;
        let known = "use its host name, its MAC address, or its number on the page Machines";
        found.ok_or_else(|| ApiError::bad(format!("no machine is known as {text}"), known))
    }

    fn search_log(&self, query: &AuditQuery, before: Option<i64>, limit: u32) -> Result<AuditPage, ApiError> {
        let filter = self.filter(query)?;
        let (found, machines) = self.store.read(|tx| {
            let found = tx.audit_page(&filter, before, limit)?;
            let names = tx.names_of(found.rows.iter().filter_map(|r| r.machine))?;
            Ok::<_, StoreError>((found, names))
        })?;
        Ok(AuditPage { events: found.rows.into_iter().map(event).collect(), next: found.next, read: found.read, machines })
    }

    /// What a checkpoint says, if this site signed it.
    fn shown(&self, sealed: Option<Sealed<LogCheckpoint>>) -> Option<CheckpointView> {
        let LogCheckpoint { event, hash, at } = sealed?.open(&self.site_key).ok()?;
        Some(CheckpointView { event, hash: hash.to_string(), at })
    }

    fn event_in_chain(&self, id: i64) -> Result<AuditEvent, ApiError> {
        let (found, over) = self.store.read(|tx| Ok::<_, StoreError>((tx.audit_event(id)?, tx.checkpoint_over(id)?)))?;
        let row = found.row;
        let facts = row.facts.as_deref().and_then(|f| serde_json::from_str(f).ok());
        let shown = EventRow { id, at: row.at, kind: row.kind, text: row.text, machine: row.machine, actor: row.actor, facts };
        Ok(AuditEvent {
            event: event(shown),
            enrollment: row.enrollment,
            facts_text: row.facts,
            hash: row.hash,
            previous_hash: found.previous_hash,
            previous: found.previous,
            next: found.next,
            checkpoint: self.shown(over),
        })
    }

    fn state_of_log(&self) -> Result<AuditState, ApiError> {
        let (newest, oldest, (checkpoint, count)) =
            self.store.read(|tx| Ok::<_, StoreError>((tx.last_event()?, tx.oldest_event()?, tx.newest_checkpoint()?)))?;
        Ok(AuditState {
            newest,
            oldest,
            checkpoint: self.shown(checkpoint),
            checkpoints: u32::try_from(count).unwrap_or(u32::MAX),
            verification: self.jobs.last_of(JobKind::VerifyLog),
        })
    }

    fn export_log(&self, query: &AuditQuery, format: ExportFormat, after: i64) -> Result<ExportPart, ApiError> {
        let filter = self.filter(query)?;
        let found = self.store.read(|tx| tx.audit_rows(&filter, after, PART))?;
        let mut text = String::new();
        for row in &found.rows {
            match format {
                ExportFormat::Jsonl => text.push_str(&serde_json::to_string(row).map_err(unexpected)?),
                ExportFormat::Syslog => text.push_str(&syslog::line(row, self.seed_name.as_str())),
            }
            text.push('\n');
        }
        // A log without gaps is followed by what proves it.
        if found.next.is_none() && format == ExportFormat::Jsonl && filter == AuditFilter::default() {
            for sealed in self.store.read(|tx| tx.checkpoints())? {
                text.push_str(&format!("{}\n", json!({ "checkpoint": sealed })));
            }
        }
        Ok(ExportPart { text, next: found.next })
    }

    fn verify_log_by(self: &Arc<Self>, actor: &Actor) -> Result<JobView, ApiError> {
        let (app, who) = (self.clone(), actor.user.clone());
        self.jobs.start(JobKind::VerifyLog, &actor.user, move |job| {
            let done = app.verify(job);
            let (kind, text) = match &done {
                Ok(text) => (EventKind::LogVerified, text.clone()),
                Err(_) if job.cancelled() => return done,
                Err(error) => (EventKind::LogDamaged, format!("the event log is damaged: {error:#}")),
            };
            app.say(&NewEvent { actor: Some(&who), ..NewEvent::new(kind, &text) });
            done
        })
    }

    fn verify(&self, job: &Job) -> Result<String> {
        let (mut link, rows) = self.store.read(|tx| Ok::<_, StoreError>((tx.first_link()?, tx.log_rows()?)))?;
        let first = link.event + 1;
        job.begin("checking the chain of hashes", Some(u64::try_from(rows).unwrap_or(0)));
        loop {
            if job.cancelled() {
                return Err(anyhow!("stopped on request"));
            }
            let part = self.store.read(|tx| {
                // Rows behind a checkpoint may have been deleted since the last part.
                let start = tx.first_link()?;
                tx.check_chain(if start.event > link.event { &start } else { &link }, SLICE)
            });
            let part = part.context("reading the event log")?;
            if let Some(event) = part.broken {
                return Err(anyhow!("event {event} does not fit the hash chain"))
                    .hint("the database was modified; compare it with the last capsule or export");
            }
            if part.rows == 0 {
                break;
            }
            job.advance(part.rows.into());
            link = part.link;
        }
        job.begin("checking the signed checkpoints", None);
        let (broken, (newest, count)) =
            self.store.read(|tx| Ok::<_, StoreError>((tx.broken_checkpoint(&self.site_key)?, tx.newest_checkpoint()?)))?;
        if let Some(event) = broken {
            return Err(anyhow!("the log does not match the signed checkpoint at event {event}"))
                .hint("the database was modified; compare it with the last capsule or export");
        }
        let covered = match self.shown(newest) {
            Some(c) => format!("the newest of {count} signed checkpoints covers event {}", c.event),
            None => "there is no signed checkpoint yet".to_owned(),
        };
        Ok(format!("events {first} to {} are unchanged; {covered}", link.event))
    }

    /// Signs the log now; the checkpoint covers the event that says so.
    pub fn checkpoint_by(&self, who: &str) -> Result<CheckpointView, ApiError> {
        if self.is_sealed() {
            return Err(ApiError::Sealed);
        }
        self.write(|tx| {
            let event =
                NewEvent { actor: Some(who), ..NewEvent::new(EventKind::LogSigned, "a checkpoint of the event log was signed") };
            Ok(tx.event(now_ms(), &event)?)
        })?;
        self.sign_log()?;
        let (newest, _) = self.store.read(|tx| tx.newest_checkpoint())?;
        self.shown(newest).ok_or_else(|| ApiError::Internal("the checkpoint that was just signed cannot be read".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use cluster_seed::people::Rights;

    use super::super::testing::{PASSPHRASE, app};
    use super::*;

    fn ended(app: &App) -> JobView {
        loop {
            let view = app.jobs.last_of(JobKind::VerifyLog).unwrap();
            if !view.is_running() {
                return view;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    fn ada() -> Actor {
        Actor::session("ada", Rights::Administrator, true)
    }

    #[test]
    fn a_log_is_signed_verified_searched_and_exported() {
        let dir = tempfile::tempdir().unwrap();
        let app = Arc::new(app(camino::Utf8Path::from_path(dir.path()).unwrap()));
        assert!(matches!(app.checkpoint_by("ada"), Err(ApiError::Sealed)), "a sealed seed cannot sign");
        app.unseal_with(PASSPHRASE, "ada").unwrap();
        for n in 0..3 {
            app.say(&NewEvent { actor: Some("eve"), ..NewEvent::new(EventKind::LoginFailed, &format!("attempt {n}")) });
        }
        let signed = app.checkpoint_by("ada").unwrap();
        let state = app.state_of_log().unwrap();
        assert_eq!((state.checkpoint.as_ref(), state.newest), (Some(&signed), signed.event));
        assert_eq!(app.event_in_chain(1).unwrap().checkpoint, Some(signed.clone()));
        app.verify_log_by(&ada()).unwrap();
        let view = ended(&app);
        let text = view.text.unwrap();
        assert!(text.contains(&format!("events 1 to {} are unchanged", signed.event)), "{text}");
        assert!(text.contains(&format!("covers event {}", signed.event)), "{text}");
        let query = AuditQuery { kind: "login".into(), words: "ATTEMPT 1".into(), actor: "eve".into(), ..AuditQuery::default() };
        let page = app.search_log(&query, None, 9).unwrap();
        assert_eq!(page.events.iter().map(|e| e.text.as_str()).collect::<Vec<_>>(), ["attempt 1"]);
        let part = app.export_log(&query, ExportFormat::Syslog, 0).unwrap();
        assert!(part.text.contains(" login.failed [event@32473 ") && part.text.lines().count() == 1, "{}", part.text);
        let all = app.export_log(&AuditQuery::default(), ExportFormat::Jsonl, 0).unwrap();
        let last: serde_json::Value = serde_json::from_str(all.text.lines().last().unwrap()).unwrap();
        assert!(last["checkpoint"].is_object() && all.next.is_none(), "{last}");
        let nowhere = AuditQuery { machine: "nowhere".into(), ..AuditQuery::default() };
        assert!(matches!(app.search_log(&nowhere, None, 9), Err(ApiError::BadRequest { .. })));
    }

    #[test]
    fn a_log_without_a_checkpoint_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let app = Arc::new(app(camino::Utf8Path::from_path(dir.path()).unwrap()));
        app.say(&NewEvent::new(EventKind::SeedStarted, "started"));
        app.verify_log_by(&ada()).unwrap();
        assert!(ended(&app).text.unwrap().ends_with("there is no signed checkpoint yet"));
    }
}
