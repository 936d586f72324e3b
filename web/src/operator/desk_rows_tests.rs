//! The rows of `operator/desk.rs`.

use cluster_seed::people::Permission::{Administer, Audit};

use super::Guard::{Change, Fresh, Read, See};
use super::{Row, form, none};
use crate::testing::desk::TAG;

pub(super) fn rows() -> Vec<Row> {
    let text = r#"{"text":"kind: Cluster"}"#.to_owned();
    vec![
        (See(Audit), "GET", "/audit", none(), 200, 200),
        (See(Audit), "GET", "/audit/{id}", none(), 200, 200),
        (See(Audit), "GET", "/audit/export", none(), 200, 200),
        (Change(Audit), "POST", "/audit/verify", form(""), 303, 303),
        (Change(Administer), "POST", "/audit/checkpoint", form(""), 303, 423),
        (Change(Audit), "POST", "/audit/stop", form(""), 303, 303),
        (Read, "GET", "/jobs", none(), 200, 200),
        (Change(Administer), "POST", "/jobs/{id}/stop", form(""), 303, 303),
        (Read, "GET", "/dhcp", none(), 200, 200),
        (Read, "GET", "/settings", none(), 200, 200),
        (Change(Administer), "POST", "/settings", form(&format!("text=kind&tag={TAG}")), 200, 200),
        (Fresh(Administer), "POST", "/settings/apply", form(&format!("text=kind&tag={TAG}")), 303, 303),
        (Read, "GET", "/about", none(), 200, 200),
        (Change(Administer), "POST", "/about/support", form(""), 200, 200),
        (Read, "GET", "/docs", none(), 200, 200),
        (Read, "GET", "/docs/{*chapter}", none(), 200, 200),
        (See(Audit), "GET", "/api/v1/audit", none(), 200, 200),
        (See(Audit), "GET", "/api/v1/audit/{id}", none(), 200, 200),
        (See(Audit), "GET", "/api/v1/audit/state", none(), 200, 200),
        (See(Audit), "GET", "/api/v1/audit/export", none(), 200, 200),
        (Change(Audit), "POST", "/api/v1/audit/verify", none(), 200, 200),
        (Change(Administer), "POST", "/api/v1/audit/checkpoint", none(), 200, 423),
        (Read, "GET", "/api/v1/jobs", none(), 200, 200),
        (Read, "GET", "/api/v1/jobs/{id}", none(), 200, 200),
        (Change(Administer), "POST", "/api/v1/jobs/{id}/stop", none(), 200, 200),
        (Read, "GET", "/api/v1/dhcp", none(), 200, 200),
        (Read, "GET", "/api/v1/settings", none(), 200, 200),
        (Fresh(Administer), "PUT", "/api/v1/settings", text.clone(), 200, 200),
        (Change(Administer), "POST", "/api/v1/settings/check", text, 200, 200),
        (Read, "GET", "/api/v1/about", none(), 200, 200),
        (Change(Administer), "POST", "/api/v1/about/support", none(), 200, 200),
        (Read, "GET", "/api/v1/events/stream", none(), 200, 200),
        (Read, "GET", "/api/v1/openapi.json", none(), 200, 200),
    ]
}
