//! `/events`: the event log as server-sent events (WHATWG HTML, section 9.2), for pages that update themselves.

use std::collections::VecDeque;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, HeaderName};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{Stream, unfold};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::api::{ApiError, EventView};
use crate::auth::Session;
use crate::call::App;
use crate::error::Failure;
use crate::limits::{KEEPALIVE, STREAM_BATCH};
use crate::safe_json::to_vec;
use crate::streams::OpenStream;

#[derive(Deserialize)]
pub(crate) struct From {
    after: Option<i64>,
}

struct Feed {
    app: App,
    session: Session,
    newest: watch::Receiver<i64>,
    after: i64,
    waiting: VecDeque<EventView>,
    _slot: OpenStream,
}

/// Starts after `Last-Event-ID`, else after `?after=`, else with the next event. Ends when the session ends.
pub(crate) async fn events(
    State(app): State<App>,
    session: Session,
    headers: HeaderMap,
    query: Result<Query<From>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(query) = query?;
    let full = || ApiError::unavailable("too many live pages are open");
    let slot = app.streams.open(session.user()).ok_or_else(full)?;
    let newest = app.newest();
    let last = headers.get("last-event-id").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let after = last.or(query.after).unwrap_or_else(|| *newest.borrow()).max(0);
    let feed = Feed { app, session, newest, after, waiting: VecDeque::new(), _slot: slot };
    let stream = Sse::new(stream(feed)).keep_alive(KeepAlive::new().interval(KEEPALIVE));
    // A proxy that buffers would delay the events.
    Ok(([(CACHE_CONTROL, "no-store"), (HeaderName::from_static("x-accel-buffering"), "no")], stream).into_response())
}

/// Pulled by the connection: a slow page builds up no backlog, it gets the next batch later.
fn stream(feed: Feed) -> impl Stream<Item = Result<Event, axum::Error>> {
    unfold(feed, |mut feed| async move {
        loop {
            if let Some(event) = feed.waiting.pop_front() {
                return Some((message(&event), feed));
            }
            feed.fill().await?;
        }
    })
}

fn message(event: &EventView) -> Result<Event, axum::Error> {
    let json = to_vec(event).map_err(axum::Error::new)?;
    let text = String::from_utf8(json).map_err(axum::Error::new)?;
    Ok(Event::default().id(event.id.to_string()).event("log").data(text))
}

impl Feed {
    /// Waits for new events; `None` ends the stream.
    async fn fill(&mut self) -> Option<()> {
        if *self.newest.borrow_and_update() <= self.after {
            // After a timeout only the session is checked, and the wait continues.
            if let Ok(changed) = timeout(KEEPALIVE, self.newest.changed()).await {
                changed.ok()?;
            }
        }
        let part = self.session.events(&self.app, self.after, STREAM_BATCH).await.ok()?;
        self.after = part.read.max(self.after);
        self.waiting = part.events.into();
        Some(())
    }
}
