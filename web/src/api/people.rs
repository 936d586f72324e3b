//! Who acts, and the interface to users, sessions and API tokens.

use std::net::IpAddr;

use cluster_seed::ids::EnrollmentId;
use cluster_seed::people::{ApiTokenId, Permission, Permissions, Rights};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::ApiError;
use super::fleet::EnrollmentView;
use super::flight::EventView;
use crate::limits::MAX_BROWSER;
use crate::text::clean;

/// Who acts. In this crate a handler gets one only with the proof that it may change something (`auth/`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    pub user: String,
    pub rights: Rights,
    /// All that the rights include; with an API token its scopes among them.
    pub may: Permissions,
    /// The password was typed within the last minutes.
    pub fresh: bool,
    via: Via,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Via {
    Session,
    Token,
    /// The command line on the seed itself.
    Local,
}

impl Actor {
    /// With a password.
    pub fn session(user: &str, rights: Rights, fresh: bool) -> Self {
        Actor { user: user.to_owned(), rights, may: rights.permissions(), fresh, via: Via::Session }
    }

    /// With an API token. `Account` is never among its scopes.
    pub fn token(user: &str, rights: Rights, scopes: Permissions) -> Self {
        let scopes: Permissions = Permission::scopes().filter(|p| scopes.contain(*p)).collect();
        Actor { user: user.to_owned(), rights, may: rights.permissions().and(scopes), fresh: false, via: Via::Token }
    }

    /// By the control socket, which whoever reaches it controls the seed anyway; `name` is for the log.
    pub fn local(name: &str) -> Self {
        let rights = Rights::Administrator;
        Actor { user: name.to_owned(), rights, may: rights.permissions(), fresh: true, via: Via::Local }
    }

    /// It logged in with a password.
    pub fn is_session(&self) -> bool {
        self.via == Via::Session
    }

    /// It is a user of this seed, in person or by an API token, and not the command line.
    pub fn is_user(&self) -> bool {
        self.via != Via::Local
    }

    /// Whether an event is shown to it: those of people are for who may read the audit log.
    pub fn sees(&self, event: &EventView) -> bool {
        self.may.contain(Permission::Audit) || !event.is_of_people()
    }

    /// Itself, or 403 without the permission.
    pub fn must(&self, permission: Permission) -> Result<&Self, ApiError> {
        if self.may.contain(permission) {
            return Ok(self);
        }
        Err(ApiError::forbidden(if self.via == Via::Token && permission == Permission::Account {
            "an API token cannot do this; log in with a password".to_owned()
        } else if self.via == Via::Token {
            format!("this API token does not have the scope {permission}")
        } else {
            format!(
                "this needs the rights of {} {}; you have those of {} {}",
                article(permission.least()),
                permission.least(),
                article(self.rights),
                self.rights
            )
        }))
    }
}

fn article(rights: Rights) -> &'static str {
    if matches!(rights, Rights::Viewer) { "a" } else { "an" }
}

/// Where a login comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub address: IpAddr,
    /// What it says of itself, at most [`MAX_BROWSER`] characters.
    pub browser: String,
}

impl Origin {
    pub fn new(address: IpAddr, browser: &str) -> Self {
        Origin { address, browser: clean(browser).chars().take(MAX_BROWSER).collect() }
    }
}

/// HTTP shape of a user.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct UserView {
    pub user: String,
    #[cfg_attr(test, schemars(with = "crate::schema::Rights"))]
    pub rights: Rights,
    /// Unix seconds.
    pub created: u64,
    pub disabled: Option<u64>,
}

/// HTTP shape of a session. Times in seconds by the seed's clock.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    pub id: String,
    pub user: String,
    pub begun: u64,
    pub used: u64,
    pub expires: u64,
    pub address: String,
    pub browser: String,
    /// It sent this request.
    pub own: bool,
}

/// HTTP shape of an API token, without its secret. Times in Unix seconds.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ApiTokenView {
    #[cfg_attr(test, schemars(with = "crate::schema::TokenName"))]
    pub id: ApiTokenId,
    pub user: String,
    pub name: String,
    #[cfg_attr(test, schemars(with = "Vec<crate::schema::Permission>"))]
    pub scopes: Vec<Permission>,
    pub created: u64,
    pub expires: u64,
    pub used: Option<u64>,
}

/// HTTP shape of `GET /api/v1/me`, and what the page of users is made of. Lists have what the caller may see: one's own, or
/// everybody's with the permission `audit`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PeopleView {
    pub user: String,
    #[cfg_attr(test, schemars(with = "crate::schema::Rights"))]
    pub rights: Rights,
    #[cfg_attr(test, schemars(with = "Vec<crate::schema::Permission>"))]
    pub may: Vec<Permission>,
    /// The password was typed within the last minutes.
    pub fresh: bool,
    pub users: Vec<UserView>,
    pub sessions: Vec<SessionView>,
    pub tokens: Vec<ApiTokenView>,
    pub passkeys: Vec<PasskeyView>,
}

/// HTTP shape of a passkey. Times in Unix seconds.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PasskeyView {
    pub id: String,
    pub user: String,
    pub name: String,
    pub created: u64,
    pub used: Option<u64>,
}

/// HTTP shape of a new user. No `Debug`: it holds a secret.
#[derive(Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    pub user: String,
    pub password: String,
    #[cfg_attr(test, schemars(with = "crate::schema::Rights"))]
    pub rights: Rights,
}

/// HTTP shape of a change of a user; what is missing stays.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SetUser {
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Rights>"))]
    pub rights: Option<Rights>,
    #[serde(default)]
    pub disabled: Option<bool>,
}

/// HTTP shape of a change of one's own password. No `Debug`: it holds secrets.
#[derive(Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    pub old: String,
    pub new: String,
}

/// HTTP shape of a wish for an API token.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    pub name: String,
    #[cfg_attr(test, schemars(with = "Vec<crate::schema::Permission>"))]
    pub scopes: Vec<Permission>,
    /// Validity in days; 90 if missing.
    #[serde(default)]
    pub days: Option<u32>,
}

/// HTTP shape of a new API token, with the text that is shown this once. No `Debug`: it holds a secret.
#[derive(Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CreatedToken {
    pub token: String,
    #[serde(flatten)]
    pub view: ApiTokenView,
}

/// Users, sessions and API tokens. `token` is that of the caller's own session.
pub trait PeopleApi: Send + Sync {
    /// The second person's yes to a machine, where two are needed. `decision` names what the first one entered, as it was shown.
    fn agree(&self, actor: &Actor, id: EnrollmentId, decision: &str) -> Result<EnrollmentView, ApiError>;
    fn people(&self, actor: &Actor, token: &str) -> Result<PeopleView, ApiError>;
    /// The caller's password again: for some minutes the session may do what cannot be undone.
    fn authenticate_again(&self, from: IpAddr, actor: &Actor, token: &str, password: &str) -> Result<(), ApiError>;
    /// Changes the caller's password, and ends all other sessions.
    fn change_password(&self, from: IpAddr, actor: &Actor, token: &str, change: &ChangePassword) -> Result<(), ApiError>;
    fn add_user(&self, actor: &Actor, new: &NewUser) -> Result<UserView, ApiError>;
    /// Disabling a user ends the sessions and revokes the API tokens.
    fn set_user(&self, actor: &Actor, user: &str, set: &SetUser) -> Result<UserView, ApiError>;
    /// Sets another user's password, and ends that user's sessions.
    fn reset_password(&self, actor: &Actor, user: &str, password: &str) -> Result<(), ApiError>;
    fn remove_user(&self, actor: &Actor, user: &str) -> Result<(), ApiError>;
    /// Ends a session: one's own, or anyone's with the permission `administer`.
    fn end_session(&self, actor: &Actor, id: &str) -> Result<(), ApiError>;
    /// Ends the caller's other sessions; returns how many.
    fn end_other_sessions(&self, actor: &Actor, token: &str) -> Result<usize, ApiError>;
    fn create_token(&self, actor: &Actor, new: &NewToken) -> Result<CreatedToken, ApiError>;
    /// Revokes an API token: one's own, or anyone's with the permission `administer`.
    fn revoke_token(&self, actor: &Actor, id: ApiTokenId) -> Result<(), ApiError>;
}

/// Passkeys (WebAuthn Level 3). Options and answers are the JSON that browsers read and write.
pub trait PasskeyApi: Send + Sync {
    /// Options of `navigator.credentials.create`.
    fn begin_passkey(&self, actor: &Actor) -> Result<Value, ApiError>;
    fn finish_passkey(&self, actor: &Actor, name: &str, answer: &Value) -> Result<PasskeyView, ApiError>;
    /// Removes a passkey: one's own, or anyone's with the permission `administer`.
    fn remove_passkey(&self, actor: &Actor, id: &str) -> Result<(), ApiError>;
    /// Options of `navigator.credentials.get`.
    fn begin_passkey_login(&self, from: IpAddr) -> Result<Value, ApiError>;
    /// Returns the token of a new session.
    fn passkey_login(&self, origin: &Origin, answer: &Value) -> Result<String, ApiError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_names_what_is_missing() {
        let why = |actor: &Actor, p: Permission| actor.must(p).err().map(|e| e.to_string()).unwrap_or_default();
        let viewer = Actor::session("eve", Rights::Viewer, false);
        assert_eq!(why(&viewer, Permission::Approve), "this needs the rights of an operator; you have those of a viewer");
        assert!(viewer.must(Permission::Read).is_ok() && viewer.must(Permission::Account).is_ok());
        let all: Permissions = Permission::ALL.iter().copied().collect();
        let token = Actor::token("bob", Rights::Operator, all);
        assert_eq!(why(&token, Permission::Administer), "this API token does not have the scope administer");
        assert_eq!(why(&token, Permission::Account), "an API token cannot do this; log in with a password");
        assert!(token.must(Permission::Power).is_ok() && !token.fresh && token.is_user() && !token.is_session());
        let local = Actor::local("command line");
        assert!(Permission::ALL.iter().all(|p| local.must(*p).is_ok()) && local.fresh && !local.is_user());
    }

    #[test]
    fn what_a_browser_says_of_itself_is_bounded_and_straight() {
        let origin = Origin::new(IpAddr::from([10, 0, 0, 9]), &format!("Fox\u{202e}\n{}", "x".repeat(1_000)));
        assert_eq!(origin.browser.chars().count(), MAX_BROWSER);
        assert!(origin.browser.starts_with("Fox\u{fffd}\u{fffd}xxx"));
    }
}
