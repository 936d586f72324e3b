//! The rows of countersigning, for the table of all routes.

use super::routes_table::Guard::{Change, Read};
use super::routes_table::{Row, form, none};
use cluster_seed::people::Permission::Approve;

pub(super) fn rows() -> Vec<Row> {
    let text = r#"{"text":"{}"}"#.to_owned();
    vec![
        (Read, "GET", "/countersign", none(), 200, 200),
        (Change(Approve), "POST", "/countersign", form("text=%7B%7D"), 303, 303),
        (Read, "GET", "/countersign/request.json", none(), 200, 200),
        (Read, "GET", "/api/v1/countersign", none(), 200, 200),
        (Change(Approve), "POST", "/api/v1/countersign", text, 200, 200),
        (Read, "GET", "/api/v1/countersign/request", none(), 200, 200),
    ]
}
