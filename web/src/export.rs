//! The event log as a download: part by part, as fast as the client reads, and only as long as the session lasts.

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{Stream, unfold};

use crate::api::{ApiError, AuditQuery, ExportFormat, ExportPart};
use crate::auth::Session;
use crate::call::App;
use crate::error::Failure;
use crate::streams::OpenStream;

struct Export {
    app: App,
    session: Session,
    query: AuditQuery,
    format: ExportFormat,
    /// Text that was read and not sent yet.
    ready: String,
    /// Where the next part begins.
    next: Option<i64>,
    _slot: OpenStream,
}

/// # Errors
/// 503 while too many live pages and exports are open; whatever the first part fails with. A later failure ends the connection,
/// so that half a log cannot be mistaken for the whole.
pub(crate) async fn export(app: App, session: Session, query: AuditQuery, format: ExportFormat) -> Result<Response, Failure> {
    let full = || ApiError::unavailable("too many exports and live pages are open");
    let slot = app.streams.open(session.user()).ok_or_else(full)?;
    let mut export = Export { app, session, query, format, ready: String::new(), next: Some(0), _slot: slot };
    export.fill().await?;
    let (kind, name) = match format {
        ExportFormat::Jsonl => ("application/x-ndjson", "events.jsonl"),
        ExportFormat::Syslog => ("text/plain; charset=utf-8", "events.log"),
    };
    let headers = [
        (CONTENT_TYPE, kind.to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, Body::from_stream(stream(export))).into_response())
}

fn stream(export: Export) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    unfold(export, |mut export| async move {
        if export.ready.is_empty()
            && let Err(failure) = export.fill().await
        {
            tracing::warn!(error = failure.error, "an export of the event log ended early");
            export.next = None;
            return Some((Err(std::io::Error::other(failure.error)), export));
        }
        let text = std::mem::take(&mut export.ready);
        (!text.is_empty()).then(|| (Ok(Bytes::from(text)), export))
    })
}

impl Export {
    /// Reads on until there is text, or to the end.
    async fn fill(&mut self) -> Result<(), Failure> {
        while let (true, Some(after)) = (self.ready.is_empty(), self.next) {
            let (query, format) = (self.query.clone(), self.format);
            let ExportPart { text, next } =
                self.session.while_valid(&self.app, move |api, actor| api.audit_export(actor, &query, format, after)).await?;
            (self.ready, self.next) = (text, next);
        }
        Ok(())
    }
}
