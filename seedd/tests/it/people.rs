//! Users, sessions and API tokens: as the API has them, and as an operator types `seedd user`.

use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use cluster_seed::enrollment::EnrollmentState as S;
use cluster_seed::people::{Approvals, Permission, Permissions, Rights};
use seedd::app::auth::hash_password;
use seedd::app::{App, Seed};
use site::store::StoreError;
use web::api::{Actor, ApiError, ChangePassword, Login, NewToken, NewUser, OperatorApi as _, Origin, PeopleApi as _, SetUser};

use crate::enrollment::{Bench, Machine, PASSPHRASE, admin, bench, form};
use crate::support::sites::{app, site_a, temp};

const PASSWORD: &str = "correct horse battery";

fn from() -> IpAddr {
    "10.44.0.9".parse().unwrap()
}

fn add(app: &App, user: &str, rights: Rights) {
    let hash = hash_password(PASSWORD).unwrap();
    app.store.write(|tx| tx.add_user(user, &hash, rights, 0)).unwrap_or_else(|e: StoreError| panic!("{e}"));
}

fn log_in(seed: &Seed, user: &str, password: &str) -> Result<String, ApiError> {
    seed.login(&Origin::new(from(), "Firefox"), &Login { user: user.into(), password: password.into() })
}

fn who(seed: &Seed, token: &str) -> Option<Actor> {
    seed.session(token, true).unwrap()
}

fn conflict<T>(result: Result<T, ApiError>, word: &str) {
    match result.map(|_| ()) {
        Err(ApiError::Conflict { why, .. }) => assert!(why.contains(word), "{why}"),
        other => panic!("{other:?}"),
    }
}

fn forbidden<T>(result: Result<T, ApiError>, word: &str) {
    match result.map(|_| ()) {
        Err(ApiError::Forbidden { why }) => assert!(why.contains(word), "{why}"),
        other => panic!("{other:?}"),
    }
}

/// A seed with ada, an administrator, and bob, an operator.
fn seed() -> (crate::support::sites::Temp, Arc<App>, Seed) {
    let t = temp();
    let app = app(&site_a(&t));
    add(&app, "ada", Rights::Administrator);
    add(&app, "bob", Rights::Operator);
    let seed = Seed(app.clone());
    (t, app, seed)
}

#[test]
fn rights_hold_below_the_routes_and_follow_a_change_at_once() {
    let (_t, _app, seed) = seed();
    let (ada, bob) = (log_in(&seed, "ada", PASSWORD).unwrap(), log_in(&seed, "bob", PASSWORD).unwrap());
    let (ada, b) = (who(&seed, &ada).unwrap(), who(&seed, &bob).unwrap());
    assert_eq!((ada.rights, b.rights, b.fresh), (Rights::Administrator, Rights::Operator, true));
    forbidden(seed.seal(&b), "rights of an administrator");
    forbidden(
        seed.add_user(&b, &NewUser { user: "eve".into(), password: PASSWORD.into(), rights: Rights::Viewer }),
        "administrator",
    );
    forbidden(seed.remove_user(&b, "ada"), "administrator");
    let viewer = seed.set_user(&ada, "bob", &SetUser { rights: Some(Rights::Viewer), disabled: None }).unwrap();
    assert_eq!(viewer.rights, Rights::Viewer);
    forbidden(seed.forget(&who(&seed, &bob).unwrap(), 1), "rights of an operator");
    // Disabled: neither the session nor the password is good for anything.
    seed.set_user(&ada, "bob", &SetUser { rights: None, disabled: Some(true) }).unwrap();
    assert_eq!(who(&seed, &bob), None);
    forbidden(log_in(&seed, "bob", PASSWORD), "wrong user name or password");
    seed.set_user(&ada, "bob", &SetUser { rights: None, disabled: Some(false) }).unwrap();
    assert_eq!(who(&seed, &bob), None, "the session stays ended");
    log_in(&seed, "bob", PASSWORD).unwrap();
}

#[test]
fn the_last_administrator_stays_one() {
    let (_t, app, seed) = seed();
    let ada = admin();
    conflict(seed.remove_user(&ada, "ada"), "only administrator");
    conflict(seed.set_user(&ada, "ada", &SetUser { rights: Some(Rights::Operator), disabled: None }), "only administrator");
    conflict(seed.set_user(&ada, "ada", &SetUser { rights: None, disabled: Some(true) }), "only administrator");
    add(&app, "eve", Rights::Administrator);
    seed.set_user(&ada, "eve", &SetUser { rights: None, disabled: Some(true) }).unwrap();
    conflict(seed.remove_user(&ada, "ada"), "only administrator");
    seed.set_user(&ada, "eve", &SetUser { rights: None, disabled: Some(false) }).unwrap();
    seed.remove_user(&ada, "ada").unwrap();
    let kinds: Vec<String> = app.store.read(|tx| tx.events_after(0, 100)).unwrap().into_iter().map(|e| e.kind).collect();
    assert!(kinds.iter().any(|k| k == "user.removed") && kinds.iter().filter(|k| *k == "user.set").count() == 2);
}

#[test]
fn sessions_are_seen_and_ended_by_their_user_and_by_administrators() {
    let (_t, _app, seed) = seed();
    let (ada, bob, phone) = (log_in(&seed, "ada", PASSWORD), log_in(&seed, "bob", PASSWORD), log_in(&seed, "bob", PASSWORD));
    let (ada, bob, phone) = (ada.unwrap(), bob.unwrap(), phone.unwrap());
    let (a, b) = (who(&seed, &ada).unwrap(), who(&seed, &bob).unwrap());
    let own = seed.people(&b, &bob).unwrap();
    assert_eq!((own.sessions.len(), own.users.len(), own.sessions.iter().filter(|s| s.own).count()), (2, 1, 1));
    assert!(own.sessions.iter().all(|s| s.address == "10.44.0.9" && s.browser == "Firefox" && s.user == "bob"));
    let all = seed.people(&a, &ada).unwrap();
    assert_eq!((all.sessions.len(), all.users.len()), (3, 2));
    let of_ada = all.sessions.iter().find(|s| s.user == "ada").unwrap();
    assert!(matches!(seed.end_session(&b, &of_ada.id), Err(ApiError::NotFound { .. })));
    let other = own.sessions.iter().find(|s| !s.own).unwrap();
    seed.end_session(&b, &other.id).unwrap();
    assert!(who(&seed, &phone).is_none() && who(&seed, &bob).is_some());
    let again = log_in(&seed, "bob", PASSWORD).unwrap();
    assert_eq!(seed.end_other_sessions(&b, &bob).unwrap(), 1);
    assert!(who(&seed, &again).is_none() && who(&seed, &bob).is_some());
    seed.end_session(&a, &seed.people(&a, &ada).unwrap().sessions.iter().find(|s| s.user == "bob").unwrap().id).unwrap();
    assert!(who(&seed, &bob).is_none());
}

#[test]
fn the_own_password_needs_the_old_one_and_ends_other_sessions() {
    let (_t, _app, seed) = seed();
    let (here, there) = (log_in(&seed, "bob", PASSWORD).unwrap(), log_in(&seed, "bob", PASSWORD).unwrap());
    let bob = who(&seed, &here).unwrap();
    let change =
        |old: &str, new: &str| seed.change_password(from(), &bob, &here, &ChangePassword { old: old.into(), new: new.into() });
    forbidden(change("wrong", "another long password"), "the password is wrong");
    assert!(matches!(change(PASSWORD, "short"), Err(ApiError::BadRequest { .. })));
    change(PASSWORD, "another long password").unwrap();
    assert!(who(&seed, &here).is_some() && who(&seed, &there).is_none());
    forbidden(log_in(&seed, "bob", PASSWORD), "wrong user name");
    log_in(&seed, "bob", "another long password").unwrap();
    forbidden(seed.authenticate_again(from(), &bob, &here, "wrong"), "the password is wrong");
    seed.authenticate_again(from(), &bob, &here, "another long password").unwrap();
    assert!(who(&seed, &here).unwrap().fresh);
    seed.reset_password(&admin(), "bob", "a third long password").unwrap();
    assert!(who(&seed, &here).is_none());
}

#[test]
fn a_token_does_what_its_scopes_allow_as_far_as_its_user_may() {
    let (_t, app, seed) = seed();
    let session = log_in(&seed, "bob", PASSWORD).unwrap();
    let bob = who(&seed, &session).unwrap();
    let wish = |scopes: &[Permission]| NewToken { name: "backup".into(), scopes: scopes.to_vec(), days: Some(3) };
    for bad in [
        wish(&[]),
        wish(&[Permission::Administer]),
        wish(&[Permission::Read, Permission::Audit]),
        wish(&[Permission::Account]),
        NewToken { days: Some(0), ..wish(&[Permission::Read]) },
        NewToken { days: Some(366), ..wish(&[Permission::Read]) },
        NewToken { name: " ".into(), ..wish(&[Permission::Read]) },
        NewToken { name: "x".repeat(65), ..wish(&[Permission::Read]) },
    ] {
        assert!(matches!(seed.create_token(&bob, &bad), Err(ApiError::BadRequest { .. })), "{bad:?}");
    }
    let made = seed.create_token(&bob, &wish(&[Permission::Read, Permission::Power])).unwrap();
    assert!(made.token.starts_with(&format!("kbd_{}_", made.view.id)) && made.token.len() == 61);
    let token = who(&seed, &made.token).unwrap();
    assert!(token.must(Permission::Power).is_ok() && token.must(Permission::Approve).is_err() && !token.fresh);
    forbidden(seed.create_token(&token, &wish(&[Permission::Read])), "log in with a password");
    forbidden(seed.change_password(from(), &token, &made.token, &ChangePassword { old: "".into(), new: "".into() }), "log in");
    let seen = seed.people(&bob, &session).unwrap().tokens;
    assert!(seen.len() == 1 && seen[0].used.is_some() && seen[0].name == "backup");
    // Its text is nowhere, as a hash neither in the log.
    let log = app.store.read(|tx| tx.events_after(0, 100)).unwrap();
    assert!(log.iter().any(|e| e.kind == "api_token.created") && !log.iter().any(|e| e.text.contains(&made.token[13..])));
    for wrong in [&made.token[..60], &made.token.replace("kbd_", "kbd-"), &format!("{}0", &made.token[..60].replace('0', "1"))] {
        assert_eq!(who(&seed, wrong), None, "{wrong}");
    }
    // What its user loses, it loses.
    seed.set_user(&admin(), "bob", &SetUser { rights: Some(Rights::Viewer), disabled: None }).unwrap();
    let token = who(&seed, &made.token).unwrap();
    assert!(token.must(Permission::Read).is_ok() && token.must(Permission::Power).is_err());
    seed.set_user(&admin(), "bob", &SetUser { rights: None, disabled: Some(true) }).unwrap();
    seed.set_user(&admin(), "bob", &SetUser { rights: None, disabled: Some(false) }).unwrap();
    assert_eq!(who(&seed, &made.token), None, "revoked with its user");
}

#[test]
fn tokens_are_revoked_by_their_user_and_by_administrators_and_have_a_budget() {
    let (_t, _app, seed) = seed();
    let session = log_in(&seed, "bob", PASSWORD).unwrap();
    let bob = who(&seed, &session).unwrap();
    let wish = NewToken { name: "t".into(), scopes: vec![Permission::Read], days: None };
    let (one, two) = (seed.create_token(&bob, &wish).unwrap(), seed.create_token(&bob, &wish).unwrap());
    let eve = Actor::session("eve", Rights::Operator, true);
    assert!(matches!(seed.revoke_token(&eve, one.view.id), Err(ApiError::NotFound { .. })));
    seed.revoke_token(&bob, one.view.id).unwrap();
    seed.revoke_token(&admin(), two.view.id).unwrap();
    assert!(who(&seed, &one.token).is_none() && who(&seed, &two.token).is_none());
    let busy = seed.create_token(&bob, &wish).unwrap().token;
    let refused = (0..2_000).find(|_| matches!(seed.session(&busy, true), Err(ApiError::TooMany { .. })));
    assert!(refused.is_some_and(|n| n >= 600), "{refused:?}");
}

fn operator(name: &str) -> Actor {
    Actor::session(name, Rights::Operator, true)
}

/// An unsealed seed that asks for two people, and who they are.
fn two() -> (Bench, Seed) {
    let mut b = bench();
    Arc::get_mut(&mut b.app).unwrap().spec.spec.enrollment.approvals = Approvals::Two;
    b.app.unseal_with(PASSPHRASE, "test").unwrap();
    add(&b.app, "ada", Rights::Operator);
    add(&b.app, "bob", Rights::Operator);
    let seed = Seed(b.app.clone());
    (b, seed)
}

#[test]
fn two_people_approve_a_machine() {
    let (b, seed) = two();
    let m = Machine::new(1);
    let (id, code) = m.enroll(&b.app);
    let (ada, bob) = (operator("ada"), operator("bob"));
    conflict(seed.agree(&bob, id, ""), "no decision");
    let first = seed.approve(&ada, id, &form(&code, "n1")).unwrap();
    let yes = first.first_yes.clone().unwrap();
    assert_eq!(
        (first.state, yes.user.as_str(), yes.hostname.as_str(), yes.disk.as_str()),
        (S::Pending, "ada", "n1.kubedos.lan", "vda")
    );
    assert!(b.app.status_of(id).unwrap().offer.is_none(), "the machine hears nothing of it");
    let decision = yes.decision.to_string();
    conflict(seed.agree(&ada, id, &decision), "yourself");
    conflict(seed.agree(&Actor::local("command line"), id, &decision), "command line");
    // A token may be in the hands of the first person.
    let token = Actor::token("bob", Rights::Operator, Permissions::of(&[Permission::Approve]));
    conflict(seed.agree(&token, id, &decision), "API token");
    conflict(seed.agree(&bob, id, &"0".repeat(64)), "changed in the meantime");
    // The same person again is still one person.
    assert_eq!(seed.approve(&ada, id, &form(&code, "n1")).unwrap().state, S::Pending);
    let decision = b.app.view_of(id).unwrap().first_yes.unwrap().decision.to_string();
    assert_eq!(seed.agree(&bob, id, &decision).unwrap().state, S::Confirming);
    assert_eq!(m.confirm(&b.app, id).unwrap(), S::Approved);
    let log = b.app.store.read(|tx| tx.events_after(0, 100)).unwrap();
    let of = |kind: &str| log.iter().filter(|e| e.kind == kind).map(|e| e.actor.clone().unwrap()).collect::<Vec<_>>();
    assert_eq!((of("enrollment.first_yes"), of("enrollment.second_yes")), (vec!["ada".to_owned(); 2], vec!["bob".to_owned()]));
}

#[test]
fn another_decision_starts_over_and_the_same_one_with_the_code_is_a_yes() {
    let (b, seed) = two();
    let m = Machine::new(1);
    let (id, code) = m.enroll(&b.app);
    let (ada, bob) = (operator("ada"), operator("bob"));
    let seen = seed.approve(&ada, id, &form(&code, "n1")).unwrap().first_yes.unwrap().decision.to_string();
    let other = seed.approve(&bob, id, &form(&code, "n2")).unwrap();
    assert_eq!((other.state, other.first_yes.unwrap().user.as_str()), (S::Pending, "bob"));
    conflict(seed.agree(&operator("ada"), id, &seen), "changed in the meantime");
    assert_eq!(seed.approve(&ada, id, &form(&code, "n2")).unwrap().state, S::Confirming);
    assert_eq!(m.confirm(&b.app, id).unwrap(), S::Approved);
}

#[test]
fn a_yes_of_somebody_who_may_no_longer_approve_does_not_count() {
    let (b, seed) = two();
    let m = Machine::new(1);
    let (id, code) = m.enroll(&b.app);
    let decision = seed.approve(&operator("ada"), id, &form(&code, "n1")).unwrap().first_yes.unwrap().decision.to_string();
    for set in [
        SetUser { rights: Some(Rights::Viewer), disabled: None },
        SetUser { rights: Some(Rights::Operator), disabled: Some(true) },
    ] {
        seed.set_user(&admin(), "ada", &set).unwrap();
        conflict(seed.agree(&operator("bob"), id, &decision), "may not approve machines now");
    }
    assert_eq!(b.app.view_of(id).unwrap().state, S::Pending);
}

fn run(data: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_seedd")).args(words).arg("--data").arg(data).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn users_and_tokens_on_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let (data, secret) = (dir.path().join("site"), dir.path().join("secret"));
    std::fs::write(&secret, "correct horse battery\n").unwrap();
    let file = secret.to_str().unwrap();
    let seedd = |words: &[&str], good: bool, word: &str| {
        let output = run(&data, words);
        let said = text(&output);
        assert_eq!(output.status.success(), good, "{words:?}: {said}");
        assert!(said.contains(word), "{words:?}: {said}");
        said
    };
    seedd(&["init", "--passphrase-file", file], true, "site key");
    seedd(&["user", "list"], true, "no users");
    seedd(&["user", "add", "ada", "--rights", "administrator", "--password-file", file], true, "ada: added");
    seedd(
        &["user", "add", "bob", "--rights", "boss", "--password-file", file],
        false,
        "viewer, auditor, operator, administrator",
    );
    seedd(&["user", "add", "bob", "--rights", "operator", "--password-file", file], true, "rights operator");
    seedd(&["user", "add", "bob", "--rights", "viewer", "--password-file", file], false, "already");
    seedd(&["user", "set", "bob"], false, "required");
    seedd(&["user", "set", "bob", "--rights", "auditor", "--disable"], true, "bob: rights auditor, disabled");
    seedd(&["user", "set", "bob", "--rights", "operator", "--enable"], true, "bob: rights operator");
    seedd(&["user", "set", "ada", "--rights", "viewer"], false, "only administrator");
    seedd(&["user", "set", "eve", "--enable"], false, "seedd user list");
    seedd(&["user", "password", "bob", "--password-file", file], true, "password reset");
    seedd(&["user", "list", "--json"], true, "\"rights\":\"operator\"");
    let create = ["user", "token", "create", "--user", "bob", "--name", "backup", "--scope"];
    seedd(&[&create[..], &["administer"]].concat(), false, "possible: read, approve, power, converge, build");
    let made = seedd(&[&create[..], &["read", "--scope", "power"]].concat(), true, "scopes read power");
    let token = made.lines().next().unwrap();
    assert_eq!(cluster_seed::leak::secrets(token.as_bytes()), ["an API token"], "{made}");
    let list = seedd(&["user", "token", "list"], true, "backup");
    assert!(!list.contains(&token[13..]) && list.contains("never used"));
    seedd(&["user", "token", "revoke", &token[4..12]], true, "of bob revoked");
    seedd(&["user", "token", "revoke", &token[4..12]], false, "no such API token");
    seedd(&["user", "remove", "bob"], true, "bob: removed");
    seedd(&["user", "remove", "ada"], false, "only administrator");
    // The older form.
    seedd(&["admin", "list"], true, "ada");
}
