//! The shape of the table of all routes, and the rows of people.

use cluster_seed::people::Permission;

use crate::auth::csrf;
use crate::testing::data::pending_id;
use crate::testing::{PASSWORD, TOKEN};

use Guard::{Change, Enter, Fresh, Read, See};
use Permission::{Account, Administer, Approve, Audit};

/// What a route requires of its visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// Nothing. With the status for a visitor without a session.
    Open(u16),
    /// That no other site sent the request, which changes nothing here: the browser keeps it. With the status for a visitor without a
    /// session.
    Own(u16),
    /// That no other site sent the request, which begins a session. With the status for a visitor without one.
    Enter(u16),
    /// A session that may read.
    Read,
    /// One with another permission.
    See(Permission),
    /// A session with the permission, its token, and that no other site sent the request.
    Change(Permission),
    /// The same, and that the password was typed within the last minutes.
    Fresh(Permission),
}

impl Guard {
    /// Something changes.
    pub(super) fn changes(self) -> bool {
        matches!(self, Guard::Change(_) | Guard::Fresh(_))
    }

    pub(super) fn needs(self) -> Option<Permission> {
        match self {
            Guard::Open(_) | Guard::Own(_) | Guard::Enter(_) => None,
            Guard::Read => Some(Permission::Read),
            Guard::See(p) | Guard::Change(p) | Guard::Fresh(p) => Some(p),
        }
    }
}

/// (guard, method, path as the router has it, body, status with a session, the same while the seed is sealed)
pub(super) type Row = (Guard, &'static str, &'static str, String, u16, u16);

pub(super) fn form(fields: &str) -> String {
    format!("csrf={}&{fields}", csrf(TOKEN))
}

pub(super) fn none() -> String {
    String::new()
}

pub(super) fn people_rows() -> Vec<Row> {
    let s = String::from;
    let agree = format!("enrollment={}&decision={}", pending_id(), "07".repeat(32));
    let agree_json = format!(r#"{{"decision":"{}"}}"#, "07".repeat(32));
    let user = r#"{"user":"eve","password":"a long password","rights":"viewer"}"#;
    vec![
        (See(Account), "GET", "/people", none(), 200, 200),
        (Change(Account), "POST", "/people/password", form(&format!("old={PASSWORD}&password=a&password2=a")), 200, 200),
        (Change(Account), "POST", "/people/sessions/end", form("name=00"), 303, 303),
        (Fresh(Account), "POST", "/people/tokens/create", form("name=t&days=9&read=1"), 200, 200),
        (Change(Account), "POST", "/people/tokens/revoke", form("name=0a1b2c3d"), 303, 303),
        (Fresh(Administer), "POST", "/people/users/add", form("user=eve&password=a&password2=a&rights=viewer"), 303, 303),
        (Fresh(Administer), "POST", "/people/users/set", form("user=bob&what=disable"), 303, 303),
        (Fresh(Administer), "POST", "/people/users/remove", form("user=bob&word=bob"), 303, 303),
        (Fresh(Account), "POST", "/people/passkeys/create", form("name=laptop"), 200, 200),
        (Change(Account), "POST", "/people/passkeys/remove", form("name=00"), 303, 303),
        (Fresh(Account), "POST", "/api/v1/passkeys/begin", s("{}"), 200, 200),
        (Change(Account), "POST", "/api/v1/passkeys", s(r#"{"name":"t","answer":{}}"#), 200, 200),
        (Change(Account), "DELETE", "/api/v1/passkeys/{name}", none(), 200, 200),
        (Enter(200), "POST", "/api/v1/login/passkey/begin", s("{}"), 200, 200),
        (Enter(403), "POST", "/api/v1/login/passkey", s(r#"{"id":"wrong"}"#), 403, 403),
        (Change(Approve), "POST", "/machines/{id}/agree", form(&agree), 409, 423),
        (Read, "GET", "/api/v1/me", none(), 200, 200),
        (Change(Account), "POST", "/api/v1/me/password", format!(r#"{{"old":"{PASSWORD}","new":"a"}}"#), 200, 200),
        (Change(Account), "POST", "/api/v1/login/again", format!(r#"{{"password":"{PASSWORD}"}}"#), 200, 200),
        (See(Audit), "GET", "/api/v1/users", none(), 200, 200),
        (Fresh(Administer), "POST", "/api/v1/users", s(user), 200, 200),
        (Fresh(Administer), "PUT", "/api/v1/users/{name}", s(r#"{"rights":"operator"}"#), 200, 200),
        (Fresh(Administer), "DELETE", "/api/v1/users/{name}", none(), 200, 200),
        (Fresh(Administer), "PUT", "/api/v1/users/{name}/password", s(r#"{"password":"x"}"#), 200, 200),
        (See(Account), "GET", "/api/v1/sessions", none(), 200, 200),
        (Change(Account), "DELETE", "/api/v1/sessions", none(), 200, 200),
        (Change(Account), "DELETE", "/api/v1/sessions/{name}", none(), 200, 200),
        (See(Account), "GET", "/api/v1/api-tokens", none(), 200, 200),
        (Fresh(Account), "POST", "/api/v1/api-tokens", s(r#"{"name":"t","scopes":["read"]}"#), 200, 200),
        (Change(Account), "DELETE", "/api/v1/api-tokens/{token}", none(), 200, 200),
        (Change(Approve), "POST", "/api/v1/enrollments/{id}/agree", agree_json, 409, 423),
    ]
}

pub(super) fn inventory_rows() -> Vec<Row> {
    let paths =
        ["/api/v1/nodes", "/api/v1/enrollments", "/api/v1/planes", "/api/v1/ssh", "/api/v1/events/last", "/api/v1/webhooks"];
    let mut rows = paths.map(|path| (Read, "GET", path, none(), 200, 200)).to_vec();
    rows.push((Read, "GET", "/planes", none(), 200, 200));
    rows.push((Fresh(Approve), "POST", "/planes/rotate", form("node=n-1&plane=wg1"), 303, 423));
    rows.push((Read, "GET", "/api/v1/rotations", none(), 200, 200));
    rows.push((Fresh(Approve), "POST", "/api/v1/rotations", r#"{"plane":"wg1"}"#.to_owned(), 200, 423));
    rows.push((See(Audit), "GET", "/api/v1/webhooks/dead", none(), 200, 200));
    let wish = format!(r#"{{"url":"{}"}}"#, crate::testing::webhooks::RECEIVER);
    rows.push((Change(Administer), "POST", "/api/v1/webhooks/test", wish, 200, 200));
    rows
}
