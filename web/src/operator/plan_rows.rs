//! The rows of the plan's routes, for the table of all routes.

use super::routes_table::Guard::{Change, Fresh, Read};
use super::routes_table::{Row, form, none};
use cluster_seed::people::Permission::{Administer, Approve};

use crate::testing::CODE;
use crate::testing::data::pending_id;
use crate::testing::join_tokens::WAITING;

pub(super) fn rows() -> Vec<Row> {
    let text = r#"{"text":"serial,name,role\nSN1,a,base\n"}"#.to_owned();
    let json = |text: &str| text.to_owned();
    vec![
        (Read, "GET", "/plan", none(), 200, 200),
        (Change(Approve), "POST", "/plan", form("act=check&text=serial"), 200, 200),
        (Change(Approve), "POST", "/plan/remove", form("name=half"), 303, 303),
        (Change(Approve), "POST", "/plan/window", form("seconds=3600"), 303, 303),
        (Change(Approve), "POST", "/plan/click", form(&format!("enrollment={}", pending_id())), 303, 423),
        (Change(Approve), "POST", "/machines/{id}/say", form("say=3600"), 303, 303),
        (Read, "GET", "/api/v1/plan", none(), 200, 200),
        (Change(Approve), "PUT", "/api/v1/plan", text.clone(), 200, 200),
        (Change(Approve), "POST", "/api/v1/plan", text.clone(), 200, 200),
        (Change(Approve), "DELETE", "/api/v1/plan", none(), 200, 200),
        (Change(Approve), "POST", "/api/v1/plan/check", text, 200, 200),
        (Change(Approve), "DELETE", "/api/v1/plan/rows/{name}", none(), 200, 200),
        (Change(Approve), "POST", "/api/v1/approve-planned", json(&format!(r#"{{"code":"{CODE}"}}"#)), 409, 409),
        (Change(Approve), "POST", "/api/v1/enrollments/{id}/approve-planned", none(), 200, 423),
        (Change(Approve), "PUT", "/api/v1/enrollment-window", json(r#"{"seconds":3600}"#), 200, 200),
        (Change(Approve), "DELETE", "/api/v1/enrollment-window", none(), 200, 200),
        (Change(Approve), "POST", "/api/v1/machines/{id}/say", json(r#"{"what":"not-now","seconds":3600}"#), 200, 200),
        (Change(Approve), "POST", "/api/v1/allow", json(r#"{"mac":"52:54:00:ab:00:05"}"#), 200, 200),
        (Read, "GET", "/join-tokens", none(), 200, 200),
        (Change(Approve), "POST", "/join-tokens/agree", form(&format!("token={WAITING}")), 303, 303),
        (Read, "GET", "/api/v1/join-tokens", none(), 200, 200),
        (Fresh(Administer), "POST", "/api/v1/join-tokens", json(r#"{"role":"base","name":"web-{n}"}"#), 200, 200),
        (Change(Approve), "DELETE", "/api/v1/join-tokens/{token}", none(), 200, 200),
        (Change(Approve), "POST", "/api/v1/join-tokens/{token}/agree", none(), 200, 200),
    ]
}
