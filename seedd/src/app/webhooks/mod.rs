//! Webhooks: events are sent to other systems. The event log is the queue: each receiver has a number up to which it was told,
//! and events are sent one after the other. One that is not taken is tried again with growing pauses, then it is a dead letter.

pub mod dead;
pub mod delivery;
pub mod message;
pub(super) mod standing;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cluster_seed::events::EventKind;
use cluster_seed::ids::{Digest, Mac};
use cluster_seed::people::Permission;
use cluster_seed::webhooks::{WebhookSpec, shown};
use host::clock::{now, now_ms};
use host::random;
use site::mode::Mode;
use site::setting;
use site::store::events::{EventRow, NewEvent};
use site::store::{StoreError, Tx};
use tokio::task::JoinSet;
use web::api::{Actor, ApiError, DeadLetterView, WebhookApi, WebhookTest, WebhookView};

use self::dead::Dead;
use self::delivery::Receiver;
use self::message::Message;
use self::standing::Standing;
use super::{App, Seed, unexpected};

/// Pauses after an attempt that failed, in seconds. After the last one comes the last attempt.
pub const PAUSES: [u64; 6] = [1, 5, 30, 120, 600, 1_800];
/// Events read at a time, and most events that a receiver may be behind: what is older is left out, as one dead letter.
const BATCH: u32 = 200;
const MAX_BEHIND: i64 = 10_000;
/// Pause after an error of this seed itself.
const TROUBLE: Duration = Duration::from_secs(30);

/// The setting with the number of the last event that a receiver was told.
fn cursor_name(url: &str) -> String {
    format!("{}{}", setting::WEBHOOK, Digest::of(url.as_bytes()))
}

fn cursor(tx: &Tx<'_>, url: &str) -> Result<Option<i64>, StoreError> {
    let text = tx.setting(&cursor_name(url))?;
    text.map(|t| t.parse()).transpose().map_err(|_| StoreError::Corrupt { what: "setting.webhook" })
}

/// What comes next for a receiver.
enum Next {
    Nothing,
    /// Its machine's MAC address beside it.
    Event(Box<EventRow>, Option<Mac>),
}

/// Tells one receiver of events, until it is dropped. `pauses`: see [`PAUSES`].
pub async fn keep(app: Arc<App>, spec: WebhookSpec, pauses: &'static [u64]) {
    let mut newest = app.newest.subscribe();
    loop {
        match step(&app, &spec, pauses).await {
            Ok(true) => {}
            // The sender lives as long as the app.
            Ok(false) => drop(newest.changed().await),
            Err(error) => {
                tracing::error!(url = shown(&spec.url.value), error = format!("{error:#}"), "webhook");
                tokio::time::sleep(TROUBLE).await;
            }
        }
    }
}

/// True if there was an event to tell.
async fn step(app: &Arc<App>, spec: &WebhookSpec, pauses: &[u64]) -> Result<bool> {
    let (reader, of) = (app.clone(), spec.clone());
    let next = tokio::task::spawn_blocking(move || reader.next_for(&of)).await.context("looking for events")??;
    let Next::Event(event, mac) = next else { return Ok(false) };
    let given_up = tell(app, spec, &event, mac, pauses).await;
    let (writer, of) = (app.clone(), spec.clone());
    let done = move || writer.told(&of.url.value, &event, given_up.as_deref());
    tokio::task::spawn_blocking(done).await.context("noting an event")??;
    Ok(true)
}

/// `None` once the receiver has taken it, else why it did not.
async fn tell(app: &App, spec: &WebhookSpec, event: &EventRow, mac: Option<Mac>, pauses: &[u64]) -> Option<String> {
    let site = app.spec.metadata.name.as_str();
    let id = format!("{site}-{}", event.id);
    for (attempts, pause) in (1..).zip(pauses.iter().map(Some).chain([None])) {
        let told = match serde_json::to_vec(&Message::of(site, event, mac)) {
            Ok(body) => Receiver::of_webhook(spec).deliver(&id, body).await,
            Err(error) => Err(error.into()),
        };
        let Err(error) = told else {
            app.webhooks.set(&spec.url.value, Standing::default());
            return None;
        };
        let why = format!("{error:#}");
        tracing::warn!(url = shown(&spec.url.value), event = event.id, attempts, error = why, "a webhook was not taken");
        app.webhooks.set(&spec.url.value, Standing { attempts, why: Some(why.clone()) });
        match pause {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(*seconds)).await,
            None => return Some(why),
        }
    }
    None
}

impl App {
    /// Starts a task per receiver. A standby tells nobody: the active seed of the site does.
    pub(crate) fn start_webhooks(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        let active = self.mode().is_ok_and(|mode| mode == Mode::Active);
        for spec in self.spec.spec.webhooks.iter().filter(|_| active) {
            tasks.spawn(keep(self.clone(), spec.clone(), &PAUSES));
        }
    }

    fn next_for(&self, spec: &WebhookSpec) -> Result<Next> {
        let url = spec.url.value.as_str();
        loop {
            let (held, newest) = self.store.read(|tx| Ok::<_, StoreError>((cursor(tx, url)?, tx.last_event()?)))?;
            // A receiver that is new gets what happens from now on; so does one of a longer log, from before an import.
            let Some(after) = held.filter(|after| *after <= newest) else {
                self.store.write(|tx| tx.set(&cursor_name(url), &newest.to_string()))?;
                return Ok(Next::Nothing);
            };
            if newest - after > MAX_BEHIND {
                self.leave_out(url, after, newest - MAX_BEHIND / 2)?;
                continue;
            }
            let rows = self.store.read(|tx| tx.events_after(after, BATCH))?;
            let (count, last) = (rows.len(), rows.last().map_or(after, |row| row.id));
            if let Some(event) = rows.into_iter().find(|row| spec.wants(&row.kind)) {
                let macs = self.store.read(|tx| tx.macs_of(event.machine.into_iter()))?;
                let mac = event.machine.and_then(|m| macs.get(&m)).copied();
                return Ok(Next::Event(Box::new(event), mac));
            }
            // A few that are not for it are looked at again next time: that costs less than a write for each.
            if count < BATCH as usize {
                return Ok(Next::Nothing);
            }
            self.store.write(|tx| tx.set(&cursor_name(url), &last.to_string()))?;
        }
    }

    fn leave_out(&self, url: &str, after: i64, to: i64) -> Result<()> {
        let text = format!("events {} to {to}", after + 1);
        let why = format!("the receiver is more than {MAX_BEHIND} events behind");
        let kind = String::from("many");
        let dead = Dead { url: url.to_owned(), event: to, kind, text, at: now(), attempts: 0, why };
        self.bury(url, to, dead)
    }

    /// The receiver was told of an event, or it was given up.
    fn told(&self, url: &str, event: &EventRow, given_up: Option<&str>) -> Result<()> {
        let Some(why) = given_up else {
            return Ok(self.store.write(|tx| tx.set(&cursor_name(url), &event.id.to_string()))?);
        };
        let attempts = u32::try_from(PAUSES.len() + 1).unwrap_or(u32::MAX);
        let (kind, text) = (event.kind.clone(), event.text.clone());
        let dead = Dead { url: url.to_owned(), event: event.id, kind, text, at: now(), attempts, why: why.to_owned() };
        self.bury(url, event.id, dead)
    }

    fn bury(&self, url: &str, cursor: i64, dead: Dead) -> Result<()> {
        let text = format!("{} did not take event {}: {}", shown(url), dead.event, dead.why);
        self.write(|tx| {
            tx.set(&cursor_name(url), &cursor.to_string())?;
            dead::add(tx, dead.clone())?;
            tx.event(now_ms(), &NewEvent::new(EventKind::WebhookDead, &text))?;
            Ok(())
        })
        .map_err(anyhow::Error::from)
    }
}

/// Whole for those who can read it in cluster.yaml; its path may be a secret.
fn url_for(actor: &Actor, url: String) -> String {
    if actor.may.contain(Permission::Administer) { url } else { shown(&url) }
}

impl WebhookApi for Seed {
    fn webhooks(&self, actor: &Actor) -> Result<Vec<WebhookView>, ApiError> {
        let app = &self.0;
        app.store.read(|tx| {
            let (newest, buried) = (tx.last_event()?, dead::all(tx)?);
            let mut all = Vec::new();
            for spec in &app.spec.spec.webhooks {
                let url = spec.url.value.clone();
                let Standing { attempts, why } = app.webhooks.of(&url);
                let told = cursor(tx, &url)?;
                all.push(WebhookView {
                    events: spec.events.iter().map(|e| e.value.clone()).collect(),
                    told,
                    behind: told.map_or(0, |told| u64::try_from(newest - told).unwrap_or(0)),
                    attempts,
                    why,
                    dead: u32::try_from(buried.iter().filter(|d| d.url == url).count()).unwrap_or(u32::MAX),
                    url: url_for(actor, url),
                });
            }
            Ok(all)
        })
    }

    fn dead_letters(&self, actor: &Actor) -> Result<Vec<DeadLetterView>, ApiError> {
        let actor = actor.must(Permission::Audit)?;
        let all = self.0.store.read(dead::all)?.into_iter();
        Ok(all.map(|d| DeadLetterView::from(Dead { url: url_for(actor, d.url), ..d })).collect())
    }

    fn test_webhook(&self, actor: &Actor, url: &str) -> Result<WebhookTest, ApiError> {
        let user = actor.must(Permission::Administer)?.user.as_str();
        let app = &self.0;
        let spec = app.spec.spec.webhooks.iter().find(|w| w.url.value == url);
        let spec = spec.ok_or_else(|| ApiError::bad("there is no webhook with this URL", "webhooks are in cluster.yaml"))?;
        let event = EventRow {
            id: 0,
            at: now_ms(),
            kind: "webhook.test".to_owned(),
            text: format!("a test by {user}"),
            machine: None,
            actor: Some(user.to_owned()),
            facts: None,
        };
        let id = format!("test-{}", hex::encode(random::bytes::<8>().map_err(unexpected)?));
        let body = serde_json::to_vec(&Message::of(app.spec.metadata.name.as_str(), &event, None)).map_err(unexpected)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(unexpected)?;
        let clock = host::clock::Stopwatch::start();
        let status = runtime.block_on(Receiver::of_webhook(spec).deliver(&id, body));
        let milliseconds = u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX);
        match status {
            Ok((status, _)) => Ok(WebhookTest { status, milliseconds }),
            Err(error) => Err(ApiError::conflict(format!("the receiver did not take it: {error:#}"), "")),
        }
    }
}
