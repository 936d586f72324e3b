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
use crate::words::Lang;

/// One of the rights in a form: its word, its name in the language of the page, and whether it is chosen.
struct Choice {
    word: &'static str,
    text: String,
    chosen: bool,
}

struct User {
    name: String,
    /// All rights; the user's are chosen.
    rights: Vec<Choice>,
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
    /// The name of the button that ends it.
    end: String,
}

struct Token {
    id: String,
    user: String,
    name: String,
    scopes: String,
    expires: String,
    expired: bool,
    used: String,
    /// The name of the button that revokes it.
    revoke: String,
}

struct Passkey {
    id: String,
    user: String,
    name: String,
    created: String,
    used: String,
    /// The name of the button that removes it.
    remove: String,
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
    /// The key of what was done.
    done: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "people.html")]
struct Page {
    shell: Shell,
    rights: Rights,
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
    new_rights: Vec<Choice>,
    users: Vec<User>,
    sessions: Vec<Login>,
    tokens: Vec<Token>,
    passkeys: Vec<Passkey>,
}

impl Page {
    /// Who is logged in, as HTML.
    fn you(&self) -> String {
        let name = self.shell.user.as_ref().map_or("", |u| u.name.as_str());
        let rights = self.shell.t(rights_key(self.rights));
        self.shell.look.lang.html("people-you", &[("x", name.into()), ("rights", (&rights).into())])
    }
}

/// The key of the name of rights.
fn rights_key(rights: Rights) -> &'static str {
    match rights {
        Rights::Viewer => "rights-viewer",
        Rights::Auditor => "rights-auditor",
        Rights::Operator => "rights-operator",
        Rights::Administrator => "rights-administrator",
    }
}

fn rights(lang: Lang, chosen: Rights) -> Vec<Choice> {
    let choice = |r: &Rights| Choice { word: r.as_str(), text: lang.t(rights_key(*r)), chosen: *r == chosen };
    Rights::ALL.iter().map(choice).collect()
}

impl User {
    fn of(lang: Lang, user: &UserView, own: &str) -> Self {
        User {
            name: clean(&user.user),
            rights: rights(lang, user.rights),
            disabled: user.disabled.is_some(),
            since: iso(user.created),
            own: user.user == own,
        }
    }
}

impl Login {
    fn of(lang: Lang, session: &SessionView, now: u64) -> Self {
        let (user, address, used) = (clean(&session.user), clean(&session.address), ago(lang, now, session.used));
        let end = lang.with("people-end-one", &[("x", (&user).into()), ("address", (&address).into()), ("used", (&used).into())]);
        Login {
            id: clean(&session.id),
            end,
            user,
            address,
            browser: clean(&session.browser),
            begun: ago(lang, now, session.begun),
            used,
            own: session.own,
        }
    }
}

impl Token {
    fn of(lang: Lang, token: &ApiTokenView, now: u64) -> Self {
        let scopes: Vec<&str> = token.scopes.iter().copied().map(Permission::as_str).collect();
        let (user, name) = (clean(&token.user), clean(&token.name));
        Token {
            id: token.id.to_string(),
            revoke: lang.with("people-revoke-one", &[("x", (&name).into()), ("user", (&user).into())]),
            user,
            name,
            scopes: scopes.join(", "),
            expires: iso(token.expires),
            expired: token.expires <= now,
            used: used(lang, token.used, now),
        }
    }
}

impl Passkey {
    fn of(lang: Lang, passkey: &PasskeyView, now: u64) -> Self {
        let (user, name) = (clean(&passkey.user), clean(&passkey.name));
        Passkey {
            id: clean(&passkey.id),
            remove: lang.with("people-remove-one", &[("x", (&name).into()), ("user", (&user).into())]),
            user,
            name,
            created: ago(lang, now, passkey.created),
            used: used(lang, passkey.used, now),
        }
    }
}

fn used(lang: Lang, at: Option<u64>, now: u64) -> String {
    at.map_or_else(|| lang.t("people-never"), |at| ago(lang, now, at))
}

fn template(shell: Shell, people: &PeopleView, now: u64, said: Said) -> (StatusCode, Page) {
    let Said { refused, typed, created, passkey, done } = said;
    let lang = shell.lang;
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
        rights: people.rights,
        all: people.may.contains(&Permission::Audit),
        typed_days: if typed.days.is_empty() { TOKEN_DAYS.to_string() } else { clean(&typed.days) },
        typed_token,
        typed_user,
        scopes,
        max_days: MAX_TOKEN_DAYS,
        new_rights: rights(lang, typed.rights.unwrap_or(Rights::Viewer)),
        users: people.users.iter().map(|u| User::of(lang, u, &people.user)).collect(),
        sessions: people.sessions.iter().map(|s| Login::of(lang, s, now)).collect(),
        tokens: people.tokens.iter().map(|t| Token::of(lang, t, now)).collect(),
        passkeys: people.passkeys.iter().map(|p| Passkey::of(lang, p, now)).collect(),
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
    let shell = Shell::new("People", &overview, id, Some(session)).titled("people-title");
    let (status, template) = template(shell, &people, overview.clock, said);
    page(status, &template)
}

pub(crate) async fn show(
    State(app): State<App>,
    PageFor(session, _): PageFor<may::Account>,
    id: RequestId,
) -> Result<Response, NoPage> {
    Ok(show_page(&app, &id, &session, Said::default()).await?)
}
