//! `/people`: one's own account, sessions and API tokens; for administrators and auditors those of all users.

pub(crate) mod forms;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use cluster_seed::people::{MAX_TOKEN_DAYS, Permission, Rights, TOKEN_DAYS};

use super::shell::{Refusal, Shell, overview, page};
use super::view::clean;
use crate::api::{ApiTokenView, PasskeyView, PeopleView, SessionView, UserView};
use crate::auth::{NoPage, PageFor, Session, may};
use crate::call::App;
use crate::dates::{ago, iso};
use crate::error::Failure;
use crate::headers::RequestId;

struct User {
    name: String,
    /// Each of the rights, and whether the user has them.
    rights: Vec<(&'static str, bool)>,
    disabled: bool,
    since: String,
    own: bool,
}

struct Login {
    id: String,
    user: String,
    address: String,
    browser: String,
    begun: String,
    used: String,
    own: bool,
}

struct Token {
    id: String,
    user: String,
    name: String,
    scopes: String,
    expires: String,
    expired: bool,
    used: String,
}

struct Passkey {
    id: String,
    user: String,
    name: String,
    created: String,
    used: String,
}

/// Which form was refused: its message is shown there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Password,
    Token,
    User,
    Lists,
}

/// What was typed into the form for a token or a user.
#[derive(Default)]
struct Typed {
    name: String,
    days: String,
    scopes: Vec<Permission>,
    rights: Option<Rights>,
}

#[derive(Default)]
struct Said {
    refused: Option<(Form, StatusCode, Refusal)>,
    typed: Typed,
    /// Name and text of a new token.
    created: Option<(String, String)>,
    /// Name and options of a new passkey, for the page's script.
    passkey: Option<(String, String)>,
    done: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "people.html")]
struct Page {
    shell: Shell,
    rights: &'static str,
    /// It may see the others.
    all: bool,
    of_password: Option<Refusal>,
    of_token: Option<Refusal>,
    of_user: Option<Refusal>,
    of_lists: Option<Refusal>,
    done: Option<&'static str>,
    created: Option<(String, String)>,
    passkey: Option<(String, String)>,
    typed_token: String,
    typed_days: String,
    typed_user: String,
    /// Word, and whether it is ticked.
    scopes: Vec<(&'static str, bool)>,
    max_days: u32,
    new_rights: Vec<(&'static str, bool)>,
    users: Vec<User>,
    sessions: Vec<Login>,
    tokens: Vec<Token>,
    passkeys: Vec<Passkey>,
}

fn rights(chosen: Rights) -> Vec<(&'static str, bool)> {
    Rights::ALL.iter().map(|r| (r.as_str(), *r == chosen)).collect()
}

impl User {
    fn of(user: &UserView, own: &str) -> Self {
        User {
            name: clean(&user.user),
            rights: rights(user.rights),
            disabled: user.disabled.is_some(),
            since: iso(user.created),
            own: user.user == own,
        }
    }
}

impl Login {
    fn of(session: &SessionView, now: u64) -> Self {
        Login {
            id: clean(&session.id),
            user: clean(&session.user),
            address: clean(&session.address),
            browser: clean(&session.browser),
            begun: ago(now, session.begun),
            used: ago(now, session.used),
            own: session.own,
        }
    }
}

impl Token {
    fn of(token: &ApiTokenView, now: u64) -> Self {
        let scopes: Vec<&str> = token.scopes.iter().copied().map(Permission::as_str).collect();
        Token {
            id: token.id.to_string(),
            user: clean(&token.user),
            name: clean(&token.name),
            scopes: scopes.join(", "),
            expires: iso(token.expires),
            expired: token.expires <= now,
            used: used(token.used, now),
        }
    }
}

impl Passkey {
    fn of(passkey: &PasskeyView, now: u64) -> Self {
        Passkey {
            id: clean(&passkey.id),
            user: clean(&passkey.user),
            name: clean(&passkey.name),
            created: ago(now, passkey.created),
            used: used(passkey.used, now),
        }
    }
}

fn used(at: Option<u64>, now: u64) -> String {
    at.map_or_else(|| "never".to_owned(), |at| ago(now, at))
}

fn template(shell: Shell, people: &PeopleView, now: u64, said: Said) -> (StatusCode, Page) {
    let Said { refused, typed, created, passkey, done } = said;
    let status = refused.as_ref().map_or(StatusCode::OK, |(_, status, _)| *status);
    let (mut of_password, mut of_token, mut of_user, mut of_lists) = (None, None, None, None);
    let (mut typed_token, mut typed_user) = (String::new(), String::new());
    match refused {
        Some((Form::Password, _, refusal)) => of_password = Some(refusal),
        Some((Form::Token, _, refusal)) => (of_token, typed_token) = (Some(refusal), clean(&typed.name)),
        Some((Form::User, _, refusal)) => (of_user, typed_user) = (Some(refusal), clean(&typed.name)),
        Some((Form::Lists, _, refusal)) => of_lists = Some(refusal),
        None => {}
    }
    let possible = Permission::scopes().filter(|p| people.may.contains(p));
    let ticked = |p: Permission| if of_token.is_some() { typed.scopes.contains(&p) } else { p == Permission::Read };
    let scopes = possible.map(|p| (p.as_str(), ticked(p))).collect();
    let page = Page {
        rights: people.rights.as_str(),
        all: people.may.contains(&Permission::Audit),
        typed_days: if typed.days.is_empty() { TOKEN_DAYS.to_string() } else { clean(&typed.days) },
        typed_token,
        typed_user,
        scopes,
        max_days: MAX_TOKEN_DAYS,
        new_rights: rights(typed.rights.unwrap_or(Rights::Viewer)),
        users: people.users.iter().map(|u| User::of(u, &people.user)).collect(),
        sessions: people.sessions.iter().map(|s| Login::of(s, now)).collect(),
        tokens: people.tokens.iter().map(|t| Token::of(t, now)).collect(),
        passkeys: people.passkeys.iter().map(|p| Passkey::of(p, now)).collect(),
        shell,
        of_password,
        of_token,
        of_user,
        of_lists,
        done,
        created,
        passkey,
    };
    (status, page)
}

async fn show_page(app: &App, id: &RequestId, session: &Session, said: Said) -> Result<Response, Failure> {
    let overview = overview(app).await?;
    let (actor, token) = (session.actor().clone(), session.token().to_owned());
    let people = app.call(move |api| api.people(&actor, &token)).await?;
    let (status, template) = template(Shell::new("People", &overview, id, Some(session)), &people, overview.clock, said);
    page(status, &template)
}

pub(crate) async fn show(
    State(app): State<App>,
    PageFor(session, _): PageFor<may::Account>,
    id: RequestId,
) -> Result<Response, NoPage> {
    Ok(show_page(&app, &id, &session, Said::default()).await?)
}
