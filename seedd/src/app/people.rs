//! Users, sessions and API tokens: the use cases of the pages, the API and `seedd user`.

use std::net::IpAddr;

use cluster_seed::events::EventKind;
use cluster_seed::people::{
    ApiTokenId, MAX_TOKEN_DAYS, MAX_TOKEN_NAME, Permission, Permissions, Rights, TOKEN_DAYS, TOKEN_RANDOM, api_token,
};
use host::clock::{now, now_ms, steady};
use host::random;
use site::store::Tx;
use site::store::api_tokens::{ApiTokenRecord, MAX_API_TOKENS};
use site::store::events::NewEvent;
use site::store::people::{UserRecord, session_id};
use web::api::{
    Actor, ApiError, ApiTokenView, ChangePassword, CreatedToken, NewToken, NewUser, PeopleView, SessionView, SetUser, UserView,
};
use zeroize::Zeroizing;

use super::auth::{LIMITS, api_token_hash, check_password, check_user, hash_password, token_hash};
use super::{App, unexpected};

/// Most users of a seed.
const MAX_USERS: usize = 256;
/// What is typed wrong when the own password is asked for.
const WRONG: &str = "the password is wrong";

fn told(tx: &Tx<'_>, actor: &str, kind: EventKind, text: &str) -> Result<(), ApiError> {
    tx.event(now_ms(), &NewEvent { actor: Some(actor), ..NewEvent::new(kind, text) })?;
    Ok(())
}

fn no_user(user: &str) -> ApiError {
    ApiError::bad(format!("there is no user {:?}", cluster_seed::machine::tame(user)), "names are listed on the page People")
}

/// The user, or a refusal.
pub fn known(tx: &Tx<'_>, user: &str) -> Result<UserRecord, ApiError> {
    tx.user(user)?.ok_or_else(|| no_user(user))
}

/// Adds a user; `hash` is the password's.
pub fn add(tx: &Tx<'_>, actor: &str, user: &str, hash: &str, rights: Rights) -> Result<UserRecord, ApiError> {
    if tx.user(user)?.is_some() {
        return Err(ApiError::conflict(format!("there is a user {user} already"), "choose another name"));
    }
    if tx.users()?.len() >= MAX_USERS {
        return Err(ApiError::conflict(format!("there are {MAX_USERS} users already"), "remove one that is not needed"));
    }
    tx.add_user(user, hash, rights, now())?;
    told(tx, actor, EventKind::UserSet, &format!("user {user} added, rights {rights}"))?;
    known(tx, user)
}

/// Changes rights, or disables or enables a user; the last administrator stays one.
pub fn set(tx: &Tx<'_>, actor: &str, user: &str, set: &SetUser) -> Result<UserRecord, ApiError> {
    let held = known(tx, user)?;
    let rights = set.rights.unwrap_or(held.rights);
    let disabled = match set.disabled {
        Some(true) => held.disabled.or(Some(now())),
        Some(false) => None,
        None => held.disabled,
    };
    if rights != Rights::Administrator || disabled.is_some() {
        others_remain(tx, &held)?;
    }
    tx.set_user(user, rights, disabled)?;
    if rights != held.rights {
        told(tx, actor, EventKind::UserSet, &format!("rights of user {user} changed from {} to {rights}", held.rights))?;
    }
    if disabled.is_some() && held.disabled.is_none() {
        let (ended, revoked) = (tx.end_sessions_of(user, None)?, tx.revoke_api_tokens_of(user)?);
        let passkeys = tx.remove_passkeys_of(user)?;
        let text =
            format!("user {user} disabled: {ended} sessions ended, {revoked} API tokens revoked, {passkeys} passkeys removed");
        told(tx, actor, EventKind::UserSet, &text)?;
    }
    if disabled.is_none() && held.disabled.is_some() {
        told(tx, actor, EventKind::UserSet, &format!("user {user} enabled"))?;
    }
    known(tx, user)
}

/// Removes a user with sessions and API tokens, but not the last administrator.
pub fn remove(tx: &Tx<'_>, actor: &str, user: &str) -> Result<(), ApiError> {
    others_remain(tx, &known(tx, user)?)?;
    tx.remove_user(user)?;
    told(tx, actor, EventKind::UserRemoved, &format!("user {user} removed"))
}

fn others_remain(tx: &Tx<'_>, held: &UserRecord) -> Result<(), ApiError> {
    let able = held.rights == Rights::Administrator && held.disabled.is_none();
    if able && tx.other_administrators(&held.user)? == 0 {
        let why = format!("{} is the only administrator who can log in", held.user);
        return Err(ApiError::conflict(why, "give another user the rights of an administrator first"));
    }
    Ok(())
}

/// Sets somebody's password; ends the sessions except the one with the hash `keep`. Whoever has another person's password reset
/// wants nobody else to get in: API tokens and passkeys go too.
pub fn set_password(tx: &Tx<'_>, actor: &str, user: &str, hash: &str, keep: Option<&str>) -> Result<(), ApiError> {
    if !tx.set_password(user, hash, keep)? {
        return Err(no_user(user));
    }
    if actor == user {
        return told(tx, actor, EventKind::UserSet, &format!("password of user {user} changed"));
    }
    let (revoked, passkeys) = (tx.revoke_api_tokens_of(user)?, tx.remove_passkeys_of(user)?);
    let text = format!("password of user {user} reset: {revoked} API tokens revoked, {passkeys} passkeys removed");
    told(tx, actor, EventKind::UserSet, &text)
}

/// Makes an API token of `user` with some of `may`; the text is shown once.
pub fn create(
    tx: &Tx<'_>,
    actor: &str,
    user: &str,
    may: Permissions,
    new: &NewToken,
) -> Result<(ApiTokenRecord, Zeroizing<String>), ApiError> {
    let name = cluster_seed::machine::tame(new.name.trim());
    if name.is_empty() || name.chars().count() > MAX_TOKEN_NAME {
        return Err(ApiError::bad(format!("the name of a token has 1 to {MAX_TOKEN_NAME} characters"), "for example: backup"));
    }
    let scopes: Permissions = new.scopes.iter().copied().collect();
    let possible: Permissions = Permission::scopes().filter(|p| may.contain(*p)).collect();
    if scopes.is_empty() || !possible.cover(scopes) {
        let words = possible.to_string().replace(' ', ", ");
        return Err(ApiError::bad(
            "a token has at least one scope, and none that its user does not have",
            &format!("possible: {words}"),
        ));
    }
    let days = new.days.unwrap_or(TOKEN_DAYS);
    if !(1..=MAX_TOKEN_DAYS).contains(&days) {
        return Err(ApiError::bad(format!("a token is valid for 1 to {MAX_TOKEN_DAYS} days"), ""));
    }
    let random = random::bytes::<TOKEN_RANDOM>().map_err(unexpected)?;
    let (id, text) = api_token(&random);
    let expires = now() + u64::from(days) * 86_400;
    let token = ApiTokenRecord { id, user: user.to_owned(), name, scopes, created: now(), expires, used: None };
    if !tx.add_api_token(&token, &api_token_hash(&text), now())? {
        return Err(ApiError::conflict(
            format!("{user} has {MAX_API_TOKENS} API tokens already"),
            "revoke one that is not needed",
        ));
    }
    let said = format!("API token {id} ({}) of user {user} created, scopes {scopes}, for {days} days", token.name);
    told(tx, actor, EventKind::ApiTokenCreated, &said)?;
    Ok((token, text))
}

/// Revokes an API token of `user`, or of anyone.
pub fn revoke(tx: &Tx<'_>, actor: &str, id: ApiTokenId, user: Option<&str>) -> Result<ApiTokenRecord, ApiError> {
    let gone = tx.revoke_api_token(id, user)?.ok_or(ApiError::NotFound { what: "API token" })?;
    told(tx, actor, EventKind::ApiTokenRevoked, &format!("API token {id} ({}) of user {} revoked", gone.name, gone.user))?;
    Ok(gone)
}

pub(super) fn user_view(user: UserRecord) -> UserView {
    let UserRecord { user, rights, created, disabled } = user;
    UserView { user, rights, created, disabled }
}

fn token_view(token: &ApiTokenRecord) -> ApiTokenView {
    ApiTokenView {
        id: token.id,
        user: token.user.clone(),
        name: token.name.clone(),
        scopes: token.scopes.iter().collect(),
        created: token.created,
        expires: token.expires,
        used: token.used,
    }
}

impl App {
    pub(super) fn view_people(&self, actor: &Actor, token: &str) -> Result<PeopleView, ApiError> {
        let (all, account) = (actor.may.contain(Permission::Audit), actor.may.contain(Permission::Account));
        let of = (!all).then_some(actor.user.as_str());
        let own = token_hash(token);
        let (users, sessions, tokens, passkeys) = self.store.read(|tx| {
            let users = if all { tx.users()? } else { tx.user(&actor.user)?.into_iter().collect() };
            if !all && !account {
                return Ok::<_, ApiError>((users, Vec::new(), Vec::new(), Vec::new()));
            }
            Ok((users, tx.sessions(of, steady(), LIMITS)?, tx.api_tokens(of)?, tx.passkeys(of)?))
        })?;
        let sessions = sessions.into_iter().map(|s| SessionView {
            own: s.id == session_id(&own),
            id: s.id,
            user: s.user,
            begun: s.begun,
            used: s.used,
            expires: s.expires.min(s.used.saturating_add(LIMITS.idle)),
            address: s.address,
            browser: s.browser,
        });
        Ok(PeopleView {
            user: actor.user.clone(),
            rights: actor.rights,
            may: actor.may.iter().collect(),
            fresh: actor.fresh,
            users: users.into_iter().map(user_view).collect(),
            sessions: sessions.collect(),
            tokens: tokens.iter().map(token_view).collect(),
            passkeys: passkeys.into_iter().map(super::passkeys::view).collect(),
        })
    }

    /// The password again, for an act that cannot be undone.
    pub(super) fn prove_again(&self, from: IpAddr, actor: &Actor, token: &str, password: &str) -> Result<(), ApiError> {
        let proved = self.check_login(from, &actor.user, password, WRONG)?;
        self.write(|tx| {
            proved.must_hold(tx)?;
            Ok(tx.renew_session(&token_hash(token), steady())?)
        })
    }

    pub(super) fn change_own_password(
        &self,
        from: IpAddr,
        actor: &Actor,
        token: &str,
        change: &ChangePassword,
    ) -> Result<(), ApiError> {
        let proved = self.check_login(from, &actor.user, &change.old, WRONG)?;
        check_password(&change.new)?;
        let hash = hash_password(&change.new)?;
        self.write(|tx| {
            proved.must_hold(tx)?;
            set_password(tx, &actor.user, &actor.user, &hash, Some(&token_hash(token)))
        })
    }

    pub(super) fn add_user_by(&self, actor: &Actor, new: &NewUser) -> Result<UserView, ApiError> {
        check_user(&new.user)?;
        check_password(&new.password)?;
        let hash = hash_password(&new.password)?;
        self.write(|tx| add(tx, &actor.user, &new.user, &hash, new.rights)).map(user_view)
    }

    pub(super) fn reset_password_by(&self, actor: &Actor, user: &str, password: &str) -> Result<(), ApiError> {
        check_password(password)?;
        let hash = hash_password(password)?;
        self.write(|tx| set_password(tx, &actor.user, user, &hash, None))
    }

    pub(super) fn end_session_by(&self, actor: &Actor, id: &str) -> Result<(), ApiError> {
        let of = (!actor.may.contain(Permission::Administer)).then_some(actor.user.as_str());
        self.write(|tx| {
            let user = tx.end_session_named(id, of)?.ok_or(ApiError::NotFound { what: "session" })?;
            told(tx, &actor.user, EventKind::SessionEnded, &format!("a session of user {user} ended"))
        })
    }

    pub(super) fn end_others_of(&self, actor: &Actor, token: &str) -> Result<usize, ApiError> {
        self.write(|tx| {
            let ended = tx.end_sessions_of(&actor.user, Some(&token_hash(token)))?;
            if ended > 0 {
                let text = format!("{ended} other sessions of user {} ended", actor.user);
                told(tx, &actor.user, EventKind::SessionEnded, &text)?;
            }
            Ok(ended)
        })
    }

    pub(super) fn create_token_by(&self, actor: &Actor, new: &NewToken) -> Result<CreatedToken, ApiError> {
        if !actor.is_user() {
            return Err(ApiError::conflict("the command line of the seed is not a user", "use `seedd user token create`"));
        }
        let (token, text) = self.write(|tx| create(tx, &actor.user, &actor.user, actor.may, new))?;
        Ok(CreatedToken { token: text.to_string(), view: token_view(&token) })
    }

    pub(super) fn revoke_token_by(&self, actor: &Actor, id: ApiTokenId) -> Result<(), ApiError> {
        let of = (!actor.may.contain(Permission::Administer)).then_some(actor.user.as_str());
        self.write(|tx| revoke(tx, &actor.user, id, of)).map(|_| ())
    }
}
