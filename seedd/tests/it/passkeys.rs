//! Passkeys, with an authenticator in software.

use std::net::IpAddr;
use std::sync::Arc;

use cluster_seed::people::Rights;
use seedd::app::auth::hash_password;
use seedd::app::{App, Seed};
use serde_json::Value;
use site::store::StoreError;
use web::api::{Actor, ApiError, OperatorApi as _, Origin, PasskeyApi as _, PeopleApi as _, SetUser};

use crate::enrollment::admin;
use crate::support::authenticator::Authenticator;
use crate::support::sites::{Temp, app, site_a, temp};

const ORIGIN: &str = "https://seed.kubedos.lan:8443";

fn from() -> IpAddr {
    "10.44.0.9".parse().unwrap()
}

fn seed() -> (Temp, Arc<App>, Seed, Actor) {
    let t = temp();
    let app = app(&site_a(&t));
    let hash = hash_password("correct horse battery").unwrap();
    app.store.write(|tx| tx.add_user("bob", &hash, Rights::Operator, 0)).unwrap_or_else(|e: StoreError| panic!("{e}"));
    let seed = Seed(app.clone());
    (t, app, seed, Actor::session("bob", Rights::Operator, true))
}

fn log_in(seed: &Seed, answer: &Value) -> Result<String, ApiError> {
    seed.passkey_login(&Origin::new(from(), "Firefox"), answer)
}

fn refused<T>(result: Result<T, ApiError>) {
    match result.map(|_| ()) {
        Err(ApiError::Forbidden { why }) => assert!(why.contains("not accepted"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_passkey_is_added_and_logs_its_user_in() {
    let (_t, app, seed, bob) = seed();
    let mut key = Authenticator::new(ORIGIN);
    let made = seed.finish_passkey(&bob, " laptop ", &key.create(&seed.begin_passkey(&bob).unwrap())).unwrap();
    assert_eq!((made.user.as_str(), made.name.as_str(), made.used), ("bob", "laptop", None));
    let answer = key.get(&seed.begin_passkey_login(from()).unwrap());
    let token = log_in(&seed, &answer).unwrap();
    let who = seed.session(&token, true).unwrap().unwrap();
    assert_eq!((who.user.as_str(), who.rights, who.fresh), ("bob", Rights::Operator, true));
    // The same words again are of no use: the challenge is used up.
    assert!(matches!(log_in(&seed, &answer), Err(ApiError::Conflict { .. })));
    let again = log_in(&seed, &key.get(&seed.begin_passkey_login(from()).unwrap())).unwrap();
    let people = seed.people(&bob, &again).unwrap();
    assert!(people.passkeys.len() == 1 && people.passkeys[0].used.is_some());
    let log = app.store.read(|tx| tx.events_after(0, 100)).unwrap();
    assert_eq!(log.iter().filter(|e| e.kind == "login" && e.text.contains("passkey laptop")).count(), 2);
    seed.remove_passkey(&bob, &made.id).unwrap();
    refused(log_in(&seed, &key.get(&seed.begin_passkey_login(from()).unwrap())));
}

#[test]
fn what_is_not_the_users_own_authenticator_is_refused() {
    let (_t, _app, seed, bob) = seed();
    let mut key = Authenticator::new(ORIGIN);
    seed.finish_passkey(&bob, "laptop", &key.create(&seed.begin_passkey(&bob).unwrap())).unwrap();
    let begin = || seed.begin_passkey_login(from()).unwrap();
    // A page of another site; no finger on it; a changed word; a clone whose counter is behind.
    key.origin = "https://seed.kubedos.lan.evil.example".to_owned();
    refused(log_in(&seed, &key.get(&begin())));
    key.origin = "http://seed.kubedos.lan".to_owned();
    refused(log_in(&seed, &key.get(&begin())));
    key.origin = ORIGIN.to_owned();
    key.flags = 1;
    refused(log_in(&seed, &key.get(&begin())));
    key.flags = 5;
    let mut forged = key.get(&begin());
    let mut data: Vec<char> = forged["response"]["authenticatorData"].as_str().unwrap().chars().collect();
    let last = data.len() - 1;
    data[last - 2] = if data[last - 2] == 'A' { 'B' } else { 'A' };
    forged["response"]["authenticatorData"] = data.into_iter().collect::<String>().into();
    refused(log_in(&seed, &forged));
}

#[test]
fn a_registration_is_of_the_user_who_began_it() {
    let (_t, _app, seed, bob) = seed();
    let mut key = Authenticator::new(ORIGIN);
    let options = seed.begin_passkey(&bob).unwrap();
    let answer = key.create(&options);
    let eve = Actor::session("eve", Rights::Administrator, true);
    assert!(matches!(seed.finish_passkey(&eve, "mine", &answer), Err(ApiError::Conflict { .. })));
    seed.finish_passkey(&bob, "laptop", &answer).unwrap();
    assert!(matches!(seed.finish_passkey(&bob, "laptop", &answer), Err(ApiError::Conflict { .. })), "twice");
    refused(seed.finish_passkey(&bob, "x", &Authenticator::new(ORIGIN).unverified().create(&seed.begin_passkey(&bob).unwrap())));
    let elsewhere = Authenticator::new("https://evil.example").create(&seed.begin_passkey(&bob).unwrap());
    refused(seed.finish_passkey(&bob, "x", &elsewhere));
}

#[test]
fn a_disabled_user_has_no_way_in() {
    let (_t, _app, seed, bob) = seed();
    let mut key = Authenticator::new(ORIGIN);
    seed.finish_passkey(&bob, "laptop", &key.create(&seed.begin_passkey(&bob).unwrap())).unwrap();
    seed.set_user(&admin(), "bob", &SetUser { rights: None, disabled: Some(true) }).unwrap();
    refused(log_in(&seed, &key.get(&seed.begin_passkey_login(from()).unwrap())));
}
