//! Passkeys: a user logs in with an authenticator instead of the password. They need the seed's name and a certificate that the browser
//! trusts; the password stays.

mod ceremony;

use std::net::IpAddr;

use cluster_seed::events::EventKind;
use cluster_seed::ids::Digest;
use cluster_seed::people::{MAX_TOKEN_NAME, Permission};
use host::clock::{now, now_ms, steady};
use host::random;
use serde_json::Value;
use site::store::events::NewEvent;
use site::store::passkeys::{MAX_PASSKEYS, PasskeyRecord};
use web::api::{Actor, ApiError, Origin, PasskeyApi, PasskeyView};

use super::auth::new_session;
use super::throttle::{Attempt, Purpose, whole};
use super::{App, Seed, unexpected};

pub use ceremony::Ceremonies;
use ceremony::HANDLE;

pub(super) fn view(p: PasskeyRecord) -> PasskeyView {
    PasskeyView { id: p.id, user: p.user, name: p.name, created: p.created, used: p.used }
}

impl App {
    fn begin_passkey(&self, actor: &Actor) -> Result<Value, ApiError> {
        let known = self.store.read(|tx| tx.passkeys(Some(&actor.user)))?;
        if known.len() >= MAX_PASSKEYS {
            return Err(ApiError::conflict(format!("you have {MAX_PASSKEYS} passkeys already"), "remove one that is not needed"));
        }
        let handle = match known.first().and_then(|k| k.handle.as_slice().try_into().ok()) {
            Some(handle) => handle,
            None => random::bytes::<HANDLE>().map_err(unexpected)?,
        };
        self.passkeys.begin_registration(&actor.user, handle, &known)
    }

    fn finish_passkey(&self, actor: &Actor, name: &str, answer: &Value) -> Result<PasskeyView, ApiError> {
        let name = cluster_seed::machine::tame(name.trim());
        if name.is_empty() || name.chars().count() > MAX_TOKEN_NAME {
            return Err(ApiError::bad(
                format!("the name of a passkey has 1 to {MAX_TOKEN_NAME} characters"),
                "for example: laptop",
            ));
        }
        let made = self.passkeys.finish_registration(&actor.user, answer)?;
        let id = Digest::of(&made.credential).to_string().chars().take(16).collect();
        let passkey = PasskeyRecord {
            id,
            user: actor.user.clone(),
            name,
            credential: made.credential,
            handle: made.handle,
            fixed: made.fixed,
            changing: made.changing,
            transports: made.transports,
            created: now(),
            used: None,
        };
        self.write(|tx| {
            if !tx.add_passkey(&passkey)? {
                return Err(ApiError::conflict("this passkey is known already, or there are too many", "remove one first"));
            }
            let text = format!("passkey {} of user {} added", passkey.name, actor.user);
            tx.event(now_ms(), &NewEvent { actor: Some(&actor.user), ..NewEvent::new(EventKind::UserSet, &text) })?;
            Ok(())
        })?;
        Ok(view(passkey))
    }

    fn log_in_with_passkey(&self, origin: &Origin, answer: &Value) -> Result<String, ApiError> {
        let from = origin.address;
        let attempt = Attempt { purpose: Purpose::Passkey, from, account: "" };
        self.may_try(&attempt)?;
        let verified = self.passkeys.finish_login(answer, |credential| Ok(self.store.read(|tx| tx.passkey(credential))?));
        let (held, user) = match verified {
            Ok(found) => found,
            // One that took too long is not an attempt of somebody else.
            Err(error @ ApiError::Conflict { .. }) => return Err(error),
            Err(error) => {
                self.throttle.failed(&attempt, steady());
                self.note(from, EventKind::LoginFailed, &format!("failed login with a passkey from {from}"), None);
                return Err(error);
            }
        };
        self.throttle.succeeded(&attempt, steady());
        self.write(|tx| {
            // Removed, or its user disabled, while the answer was verified.
            let still = tx.passkey(&held.credential)?.filter(|(now, of)| now.id == held.id && of.user == user.user);
            still.ok_or(ApiError::Unauthorized)?;
            tx.touch_passkey(&held.id, &held.changing, now())?;
            let text = format!("{} logged in from {from} with passkey {}", user.user, held.name);
            tx.event(now_ms(), &NewEvent { actor: Some(&user.user), ..NewEvent::new(EventKind::Login, &text) })?;
            new_session(tx, &user.user, origin)
        })
    }

    fn remove_passkey(&self, actor: &Actor, id: &str) -> Result<(), ApiError> {
        let of = (!actor.may.contain(Permission::Administer)).then_some(actor.user.as_str());
        self.write(|tx| {
            let (user, name) = tx.remove_passkey(id, of)?.ok_or(ApiError::NotFound { what: "passkey" })?;
            let text = format!("passkey {name} of user {user} removed");
            tx.event(now_ms(), &NewEvent { actor: Some(&actor.user), ..NewEvent::new(EventKind::UserSet, &text) })?;
            Ok(())
        })
    }
}

impl PasskeyApi for Seed {
    fn begin_passkey(&self, actor: &Actor) -> Result<Value, ApiError> {
        self.0.begin_passkey(actor.must(Permission::Account)?)
    }

    fn finish_passkey(&self, actor: &Actor, name: &str, answer: &Value) -> Result<PasskeyView, ApiError> {
        self.0.finish_passkey(actor.must(Permission::Account)?, name, answer)
    }

    fn remove_passkey(&self, actor: &Actor, id: &str) -> Result<(), ApiError> {
        self.0.remove_passkey(actor.must(Permission::Account)?, id)
    }

    fn begin_passkey_login(&self, from: IpAddr) -> Result<Value, ApiError> {
        self.0.may_try(&Attempt { purpose: Purpose::Passkey, from, account: "" })?;
        self.0.passkeys.begin_login(whole(from))
    }

    fn passkey_login(&self, origin: &Origin, answer: &Value) -> Result<String, ApiError> {
        self.0.log_in_with_passkey(origin, answer)
    }
}
