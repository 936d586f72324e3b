//! The forms of `/people`.

use axum::response::{IntoResponse, Redirect, Response};
use cluster_seed::people::{ApiTokenId, Permission, Rights};
use serde::Deserialize;

use super::{Form, Said, Typed, show_page};
use crate::api::{Actor, ApiError, ChangePassword, NewToken, NewUser, OperatorApi, SetUser};
use crate::auth::{Change, ChangeForm, may};
use crate::error::Failure;
use crate::headers::From;
use crate::pages::shell::Refusal;
use crate::pages::site::Sent;
use crate::pages::view::clean;

/// Does `work` and returns to the page, or shows the refusal at the form with what was typed.
async fn done<P, T: Send + 'static>(
    Sent { app, id }: Sent,
    change: Change<P>,
    form: Form,
    typed: Typed,
    work: impl FnOnce(&dyn OperatorApi, &Actor) -> Result<T, ApiError> + Send + 'static,
) -> Result<Response, Failure> {
    let actor = change.actor().clone();
    let work = move |api: &dyn OperatorApi| work(api, &actor);
    // A password is hashed.
    let done = if matches!(form, Form::Password | Form::User) { app.costly(work).await } else { app.call(work).await };
    match done {
        Ok(_) => Ok(Redirect::to("/people").into_response()),
        Err(failure) => {
            let (status, refusal) = Refusal::of(failure)?;
            let said = Said { refused: Some((form, status, refusal)), typed, ..Said::default() };
            show_page(&app, &id, change.session(), said).await
        }
    }
}

fn same(first: &str, second: &str) -> Result<(), ApiError> {
    if first == second {
        Ok(())
    } else {
        Err(ApiError::bad("the passwords do not match", "type the new password in both fields"))
    }
}

/// No `Debug` here and below: they hold secrets.
#[derive(Deserialize)]
pub(crate) struct PasswordForm {
    old: String,
    password: String,
    password2: String,
}

pub(crate) async fn password(
    Sent { app, id }: Sent,
    From(from): From,
    ChangeForm(change, form): ChangeForm<may::Account, PasswordForm>,
) -> Result<Response, Failure> {
    let (actor, token) = (change.actor().clone(), change.token().to_owned());
    let changed = app.costly(move |api| {
        same(&form.password, &form.password2)?;
        api.change_password(from, &actor, &token, &ChangePassword { old: form.old, new: form.password })
    });
    let said = match changed.await {
        Ok(()) => Said { done: Some("people-password-changed"), ..Said::default() },
        Err(failure) => {
            let (status, refusal) = Refusal::of(failure)?;
            Said { refused: Some((Form::Password, status, refusal)), ..Said::default() }
        }
    };
    show_page(&app, &id, change.session(), said).await
}

/// A form with a single name, or none: all other sessions.
#[derive(Deserialize)]
pub(crate) struct NameForm {
    #[serde(default)]
    name: String,
}

pub(crate) async fn end_session(
    sent: Sent,
    ChangeForm(change, form): ChangeForm<may::Account, NameForm>,
) -> Result<Response, Failure> {
    let token = change.token().to_owned();
    done(sent, change, Form::Lists, Typed::default(), move |api, actor| {
        if form.name.is_empty() {
            return api.end_other_sessions(actor, &token).map(|_| ());
        }
        api.end_session(actor, &form.name)
    })
    .await
}

#[derive(Deserialize)]
pub(crate) struct TokenForm {
    #[serde(default)]
    name: String,
    #[serde(default)]
    days: String,
    // One checkbox each: present or not.
    read: Option<String>,
    audit: Option<String>,
    approve: Option<String>,
    power: Option<String>,
    converge: Option<String>,
    build: Option<String>,
    administer: Option<String>,
}

impl TokenForm {
    fn scopes(&self) -> Vec<Permission> {
        let ticked = [
            (Permission::Read, &self.read),
            (Permission::Audit, &self.audit),
            (Permission::Approve, &self.approve),
            (Permission::Power, &self.power),
            (Permission::Converge, &self.converge),
            (Permission::Build, &self.build),
            (Permission::Administer, &self.administer),
        ];
        ticked.into_iter().filter(|(_, ticked)| ticked.is_some()).map(|(p, _)| p).collect()
    }
}

/// Shows the new token in this answer, and never again.
pub(crate) async fn create_token(
    Sent { app, id }: Sent,
    ChangeForm(change, form): ChangeForm<may::Fresh<may::Account>, TokenForm>,
) -> Result<Response, Failure> {
    let scopes = form.scopes();
    let typed = Typed { name: form.name.clone(), days: form.days.clone(), scopes: scopes.clone(), rights: None };
    let actor = change.actor().clone();
    let created = app.call(move |api| {
        let days = form.days.trim().parse().map_err(|_| ApiError::bad("the validity is not a number of days", "1 to 365"))?;
        api.create_token(&actor, &NewToken { name: form.name.trim().to_owned(), scopes, days: Some(days) })
    });
    let said = match created.await {
        Ok(new) => Said { created: Some((clean(&new.view.name), clean(&new.token))), ..Said::default() },
        Err(failure) => {
            let (status, refusal) = Refusal::of(failure)?;
            Said { refused: Some((Form::Token, status, refusal)), typed, ..Said::default() }
        }
    };
    show_page(&app, &id, change.session(), said).await
}

pub(crate) async fn revoke_token(
    sent: Sent,
    ChangeForm(change, form): ChangeForm<may::Account, NameForm>,
) -> Result<Response, Failure> {
    let id: ApiTokenId = form.name.parse().map_err(|_| Failure::not_found())?;
    done(sent, change, Form::Lists, Typed::default(), move |api, actor| api.revoke_token(actor, id)).await
}

/// The page with the options of a new passkey, with which its script goes on.
pub(crate) async fn create_passkey(
    Sent { app, id }: Sent,
    ChangeForm(change, form): ChangeForm<may::Fresh<may::Account>, NameForm>,
) -> Result<Response, Failure> {
    let actor = change.actor().clone();
    let said = match app.call(move |api| api.begin_passkey(&actor)).await {
        Ok(options) => Said { passkey: Some((clean(&form.name), clean_json(&options))), ..Said::default() },
        Err(failure) => {
            let (status, refusal) = Refusal::of(failure)?;
            Said { refused: Some((Form::Lists, status, refusal)), ..Said::default() }
        }
    };
    show_page(&app, &id, change.session(), said).await
}

/// JSON for an attribute: ASCII only.
fn clean_json(value: &serde_json::Value) -> String {
    let escape = |c: char| {
        let mut units = [0; 2];
        c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
    };
    value.to_string().chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c.to_string() } else { escape(c) }).collect()
}

pub(crate) async fn remove_passkey(
    sent: Sent,
    ChangeForm(change, form): ChangeForm<may::Account, NameForm>,
) -> Result<Response, Failure> {
    done(sent, change, Form::Lists, Typed::default(), move |api, actor| api.remove_passkey(actor, &form.name)).await
}

#[derive(Deserialize)]
pub(crate) struct UserForm {
    user: String,
    password: String,
    password2: String,
    rights: Rights,
}

pub(crate) async fn add_user(
    sent: Sent,
    ChangeForm(change, form): ChangeForm<may::Fresh<may::Administer>, UserForm>,
) -> Result<Response, Failure> {
    let typed = Typed { name: form.user.clone(), rights: Some(form.rights), ..Typed::default() };
    done(sent, change, Form::User, typed, move |api, actor| {
        same(&form.password, &form.password2)?;
        let UserForm { user, password, rights, .. } = form;
        api.add_user(actor, &NewUser { user: user.trim().to_owned(), password, rights })
    })
    .await
}

#[derive(Deserialize)]
pub(crate) struct SetForm {
    user: String,
    rights: Option<Rights>,
    /// The button that was pressed.
    #[serde(default)]
    what: String,
}

pub(crate) async fn set_user(
    sent: Sent,
    ChangeForm(change, form): ChangeForm<may::Fresh<may::Administer>, SetForm>,
) -> Result<Response, Failure> {
    let set = match form.what.as_str() {
        "disable" => SetUser { disabled: Some(true), rights: None },
        "enable" => SetUser { disabled: Some(false), rights: None },
        _ => SetUser { disabled: None, rights: form.rights },
    };
    done(sent, change, Form::Lists, Typed::default(), move |api, actor| api.set_user(actor, &form.user, &set)).await
}

#[derive(Deserialize)]
pub(crate) struct RemoveForm {
    user: String,
    /// The name, typed as a confirmation.
    #[serde(default)]
    word: String,
}

pub(crate) async fn remove_user(
    sent: Sent,
    ChangeForm(change, form): ChangeForm<may::Fresh<may::Administer>, RemoveForm>,
) -> Result<Response, Failure> {
    done(sent, change, Form::Lists, Typed::default(), move |api, actor| {
        if form.word.trim() != form.user {
            return Err(ApiError::bad("the name does not match", "type the name of the user as it is shown"));
        }
        api.remove_user(actor, &form.user)
    })
    .await
}
