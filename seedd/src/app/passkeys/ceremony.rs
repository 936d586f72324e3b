//! The two ceremonies of WebAuthn Level 3 (sections 7.1 and 7.2), by webauthn_rp. The authenticator must verify its user (PIN, finger,
//! face), and keeps the passkey: nobody types a name.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use site::store::passkeys::PasskeyRecord;
use web::api::ApiError;
use webauthn_rp::bin::{Decode as _, Encode as _};
use webauthn_rp::request::auth::AuthenticationVerificationOptions;
use webauthn_rp::request::register::{PublicKeyCredentialUserEntity, RegistrationVerificationOptions, UserHandle64, Username};
use webauthn_rp::request::{AsciiDomain, DomainOrigin, PublicKeyCredentialDescriptor, RpId, TimedCeremony as _};
use webauthn_rp::response::register::{CompressedPubKey, DynamicState, StaticState};
use webauthn_rp::response::{AuthTransports, CredentialId};
use webauthn_rp::{
    AuthenticatedCredential, DiscoverableAuthentication64, DiscoverableAuthenticationServerState,
    DiscoverableCredentialRequestOptions, PublicKeyCredentialCreationOptions, Registration, RegistrationServerState,
};

/// Bytes of a user's handle.
pub const HANDLE: usize = 64;
/// Ceremonies of each kind that have begun and not ended; the oldest gives way. Each lasts five minutes at most.
const MAX_BEGUN: usize = 1_024;
/// Logins among them that one address may have.
const MAX_BEGUN_OF_ONE: usize = 16;

type Key = StaticState<CompressedPubKey<[u8; 32], [u8; 32], [u8; 48], Vec<u8>>>;

/// The ceremonies in progress, of a site whose pages have this name.
pub struct Ceremonies {
    name: String,
    registrations: Mutex<VecDeque<(String, RegistrationServerState<HANDLE>)>>,
    logins: Mutex<VecDeque<(IpAddr, DiscoverableAuthenticationServerState)>>,
}

/// What a registration leaves behind.
pub struct Registered {
    pub credential: Vec<u8>,
    pub handle: Vec<u8>,
    pub fixed: Vec<u8>,
    pub changing: Vec<u8>,
    pub transports: u8,
}

fn broken(what: &str, error: impl std::fmt::Display) -> ApiError {
    ApiError::Internal(format!("{what}: {error}"))
}

fn refused(error: impl std::fmt::Display) -> ApiError {
    tracing::info!(%error, "a passkey was refused");
    ApiError::forbidden("the passkey was not accepted")
}

fn late() -> ApiError {
    ApiError::conflict("this took longer than five minutes, or was begun elsewhere", "try again")
}

fn hold<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

fn push<T>(list: &Mutex<VecDeque<T>>, one: T) {
    let mut list = hold(list);
    if list.len() >= MAX_BEGUN {
        list.pop_front();
    }
    list.push_back(one);
}

/// The same where nobody has logged in yet: an address pushes out its own ones first.
fn push_of<T>(list: &Mutex<VecDeque<(IpAddr, T)>>, from: IpAddr, one: T) {
    let mut held = hold(list);
    if held.iter().filter(|(of, _)| *of == from).count() >= MAX_BEGUN_OF_ONE
        && let Some(oldest) = held.iter().position(|(of, _)| *of == from)
    {
        held.remove(oldest);
    }
    drop(held);
    push(list, (from, one));
}

fn take<T>(list: &Mutex<VecDeque<T>>, is: impl Fn(&T) -> bool) -> Result<T, ApiError> {
    let mut list = hold(list);
    let at = list.iter().position(is);
    at.and_then(|at| list.remove(at)).ok_or_else(late)
}

impl Ceremonies {
    pub fn new(name: &str) -> Self {
        Ceremonies { name: name.to_owned(), registrations: Mutex::default(), logins: Mutex::default() }
    }

    fn rp(&self) -> Result<RpId, ApiError> {
        let domain = AsciiDomain::try_from(self.name.clone()).map_err(|e| broken("reading the seed's name", e))?;
        Ok(RpId::Domain(domain))
    }

    /// The options for `navigator.credentials.create`; `known` are the passkeys of the user.
    pub fn begin_registration(&self, user: &str, handle: [u8; HANDLE], known: &[PasskeyRecord]) -> Result<Value, ApiError> {
        let rp = self.rp()?;
        let Ok(handle) = UserHandle64::decode(handle);
        let name = Username::try_from(user).map_err(|e| broken("reading a user's name", e))?;
        let entity = PublicKeyCredentialUserEntity { name, id: &handle, display_name: None };
        let exclude = known.iter().filter_map(|k| {
            let id = CredentialId::<Vec<u8>>::decode(k.credential.clone()).ok()?;
            Some(PublicKeyCredentialDescriptor { id, transports: AuthTransports::decode(k.transports).ok()? })
        });
        let options = PublicKeyCredentialCreationOptions::passkey(&rp, entity, exclude.collect());
        let (server, client) = options.start_ceremony().map_err(|e| broken("beginning a registration", e))?;
        push(&self.registrations, (user.to_owned(), server));
        serde_json::to_value(&client).map_err(|e| broken("writing the options of a registration", e))
    }

    /// Verifies what the browser answered (`PublicKeyCredential.toJSON()`).
    pub fn finish_registration(&self, user: &str, answer: &Value) -> Result<Registered, ApiError> {
        let answer = Registration::from_json_relaxed(answer.to_string().as_bytes()).map_err(refused)?;
        let challenge = answer.challenge_relaxed().map_err(refused)?;
        let begun = take(&self.registrations, |(of, begun)| of == user && begun.sent_challenge() == challenge)?.1;
        let rp = self.rp()?;
        let origins = [DomainOrigin::new_ignore_port(&self.name)];
        let options = RegistrationVerificationOptions::<DomainOrigin<'_, '_>, &str> {
            allowed_origins: &origins,
            error_on_unsolicited_extensions: false,
            ..Default::default()
        };
        let made = begun.verify(&rp, &answer, &options).map_err(refused)?;
        let (Ok(fixed), Ok(changing)) = (made.static_state().encode(), made.dynamic_state().encode());
        let Ok(transports) = made.transports().encode();
        Ok(Registered {
            credential: made.id().as_ref().to_vec(),
            handle: made.user_id().as_ref().to_vec(),
            fixed,
            changing: changing.to_vec(),
            transports,
        })
    }

    /// The options for `navigator.credentials.get`.
    pub fn begin_login(&self, from: IpAddr) -> Result<Value, ApiError> {
        let rp = self.rp()?;
        let options = DiscoverableCredentialRequestOptions::passkey(&rp);
        let (server, client) = options.start_ceremony().map_err(|e| broken("beginning a login", e))?;
        push_of(&self.logins, from, server);
        serde_json::to_value(&client).map_err(|e| broken("writing the options of a login", e))
    }

    /// Verifies what the browser answered by the passkey that `find` knows for its credential id. Returns it with its state
    /// after this login.
    pub fn finish_login<T>(
        &self,
        answer: &Value,
        find: impl FnOnce(&[u8]) -> Result<Option<(PasskeyRecord, T)>, ApiError>,
    ) -> Result<(PasskeyRecord, T), ApiError> {
        let answer = DiscoverableAuthentication64::from_json_relaxed(answer.to_string().as_bytes()).map_err(refused)?;
        let challenge = answer.challenge_relaxed().map_err(refused)?;
        let begun = take(&self.logins, |(_, begun)| begun.sent_challenge() == challenge)?.1;
        let Some((mut held, user)) = find(answer.raw_id().as_ref())? else { return Err(refused("it is not known")) };
        let corrupt = |what: &str| ApiError::Internal(format!("the database has an invalid passkey: {what}"));
        let handle: [u8; HANDLE] = held.handle.as_slice().try_into().map_err(|_| corrupt("handle"))?;
        let Ok(handle) = UserHandle64::decode(handle);
        let id = CredentialId::<&[u8]>::decode(&held.credential).map_err(|_| corrupt("credential id"))?;
        let changing: [u8; 7] = held.changing.as_slice().try_into().map_err(|_| corrupt("counter"))?;
        let changing = DynamicState::decode(changing).map_err(|_| corrupt("counter"))?;
        let fixed = Key::decode(&held.fixed).map_err(|_| corrupt("key"))?;
        let mut credential = AuthenticatedCredential::new(id, &handle, fixed, changing).map_err(|_| corrupt("state"))?;
        let rp = self.rp()?;
        let origins = [DomainOrigin::new_ignore_port(&self.name)];
        let options = AuthenticationVerificationOptions::<DomainOrigin<'_, '_>, &str> {
            allowed_origins: &origins,
            error_on_unsolicited_extensions: false,
            ..Default::default()
        };
        begun.verify(&rp, &answer, &mut credential, &options).map_err(refused)?;
        let Ok(changed) = credential.dynamic_state().encode();
        held.changing = changed.to_vec();
        Ok((held, user))
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
