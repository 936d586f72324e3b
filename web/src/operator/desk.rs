//! Routes of the audit log, jobs, DHCP, settings, the documents and the description of the API.

use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, get, post, put};

use crate::call::App;
use crate::limits::MAX_SETTINGS;
use crate::{json, pages};

type Route = (&'static str, MethodRouter<App>);

pub(super) fn routes() -> Vec<Route> {
    // cluster.yaml may be larger than any other form.
    let large = || DefaultBodyLimit::max(MAX_SETTINGS);
    vec![
        ("/audit", get(pages::audit::show)),
        ("/audit/{id}", get(pages::audit::event)),
        ("/audit/export", get(pages::audit::download)),
        ("/audit/verify", post(pages::audit::verify)),
        ("/audit/checkpoint", post(pages::audit::checkpoint)),
        ("/audit/stop", post(pages::audit::stop)),
        ("/jobs", get(pages::jobs::show)),
        ("/jobs/{id}/stop", post(pages::jobs::stop)),
        ("/dhcp", get(pages::dhcp::show)),
        ("/settings", get(pages::settings::show).post(pages::settings::check).layer(large())),
        ("/settings/apply", post(pages::settings::apply).layer(large())),
        ("/about", get(pages::about::show)),
        ("/about/support", post(pages::about::support)),
        ("/docs", get(pages::docs::index)),
        ("/docs/{*chapter}", get(pages::docs::chapter)),
        ("/api/v1/audit", get(json::audit::page)),
        ("/api/v1/audit/{id}", get(json::audit::event)),
        ("/api/v1/audit/state", get(json::audit::state)),
        ("/api/v1/audit/export", get(json::audit::download)),
        ("/api/v1/audit/verify", post(json::audit::verify)),
        ("/api/v1/audit/checkpoint", post(json::audit::checkpoint)),
        ("/api/v1/jobs", get(json::jobs::list)),
        ("/api/v1/jobs/{id}", get(json::jobs::show)),
        ("/api/v1/jobs/{id}/stop", post(json::jobs::stop)),
        ("/api/v1/dhcp", get(json::dhcp::view)),
        ("/api/v1/settings", get(json::settings::show).merge(put(json::settings::apply)).layer(large())),
        ("/api/v1/settings/check", post(json::settings::check).layer(large())),
        ("/api/v1/about", get(json::about::view)),
        ("/api/v1/about/support", post(json::about::support)),
        ("/api/v1/events/stream", get(super::sse::events)),
        ("/api/v1/openapi.json", get(json::openapi::document)),
    ]
}
