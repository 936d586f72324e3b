//! Join tokens where two users have to approve a machine.

use std::sync::Arc;

use cluster_seed::enrollment::EnrollmentState as S;
use cluster_seed::join::token::JoinToken;
use cluster_seed::people::{Approvals, Permission, Permissions, Rights};
use host::clock::now;
use seedd::app::auth::hash_password;
use seedd::app::{App, Seed};
use site::store::StoreError;
use site::tokens::{self, DiskRule, Grant, Token};
use web::api::{Actor, ApiError, JoinTokenApi as _, JoinTokenState, PeopleApi as _, SetUser};

use crate::support::sites::{A, Machine, Temp, admin, app, filled, temp};

/// An unsealed seed that asks for two people, with two operators and a token that `creator` made.
fn two(creator: &str) -> (Temp, Arc<App>, Seed, JoinToken) {
    let dir = temp();
    let mut app = app(&filled(&dir.path.join("site"), "site-a", A, 1, 100));
    Arc::get_mut(&mut app).unwrap().spec.spec.enrollment.approvals = Approvals::Two;
    app.unseal_with(A, "test").unwrap();
    let hash = hash_password("correct horse battery").unwrap();
    for user in ["ann", "bob"] {
        app.store.write(|tx| tx.add_user(user, &hash, Rights::Operator, 0)).unwrap_or_else(|e: StoreError| panic!("{e}"));
    }
    let name = "web-{n}".parse().unwrap();
    let grant = Grant { role: "base".into(), name, uses: 2, expires: now() + 3_600, disk: DiskRule::Only };
    let (token, secret) = Token::draw(grant, creator, now(), &app.public.vault).unwrap();
    assert!(app.store.write(|tx| tokens::add(tx, secret.id, &token, now())).unwrap());
    (dir, app.clone(), Seed(app), secret)
}

fn operator(name: &str) -> Actor {
    Actor::session(name, Rights::Operator, true)
}

fn state(seed: &Seed) -> JoinTokenState {
    seed.join_tokens().unwrap()[0].state
}

#[test]
fn a_join_token_counts_only_after_a_second_user_agreed_and_its_machine_joins_by_itself_then() {
    let (_dir, app, seed, token) = two("command line");
    let m = Machine::new(1);
    let id = m.enroll_with(&app, token.id, &token, m.facts()).unwrap();
    for _ in 0..3 {
        assert_eq!(app.status_of(id).unwrap().state, S::Pending, "it waits, and is not refused");
    }
    assert_eq!(state(&seed), JoinTokenState::Waiting);
    let view = seed.agree_to_token(&operator("bob"), token.id).unwrap();
    assert_eq!((view.state, view.agreed.as_deref()), (JoinTokenState::Valid, Some("bob")));
    assert_eq!(app.status_of(id).unwrap().state, S::Confirming, "without anybody's help");
    assert_eq!(m.confirm(&app, id).unwrap(), S::Approved);
    m.claim(&app, id).unwrap();
    let log = app.store.read(|tx| tx.events_after(0, 100)).unwrap();
    assert!(log.iter().any(|e| e.kind == "token.agreed" && e.actor.as_deref() == Some("bob")));
}

#[test]
fn only_another_logged_in_user_who_may_approve_agrees_to_a_join_token() {
    let (_dir, _app, seed, token) = two("ann");
    let word = |actor: &Actor| match seed.agree_to_token(actor, token.id) {
        Err(ApiError::Conflict { why, .. } | ApiError::Forbidden { why }) => why,
        other => panic!("{other:?}"),
    };
    assert!(word(&operator("ann")).contains("yourself"));
    assert!(word(&Actor::local("command line")).contains("command line"));
    let api = Actor::token("bob", Rights::Operator, Permissions::of(&[Permission::Approve]));
    assert!(word(&api).contains("API token"));
    assert!(word(&Actor::session("eve", Rights::Viewer, true)).contains("rights"));
    assert_eq!(state(&seed), JoinTokenState::Waiting);
}

#[test]
fn the_yes_to_a_join_token_ends_with_the_right_to_approve() {
    let (_dir, app, seed, token) = two("command line");
    seed.agree_to_token(&operator("bob"), token.id).unwrap();
    assert_eq!(state(&seed), JoinTokenState::Valid);
    seed.set_user(&admin(), "bob", &SetUser { rights: Some(Rights::Viewer), disabled: None }).unwrap();
    assert_eq!(state(&seed), JoinTokenState::Waiting);
    let m = Machine::new(1);
    let id = m.enroll_with(&app, token.id, &token, m.facts()).unwrap();
    assert_eq!(app.status_of(id).unwrap().state, S::Pending);
    seed.agree_to_token(&operator("ann"), token.id).unwrap();
    assert_eq!(app.status_of(id).unwrap().state, S::Confirming);
}

#[test]
fn where_one_user_approves_a_join_token_waits_for_nobody() {
    let (_dir, mut app, seed, token) = two("command line");
    drop(seed);
    Arc::get_mut(&mut app).unwrap().spec.spec.enrollment.approvals = Approvals::One;
    let seed = Seed(app.clone());
    assert_eq!(state(&seed), JoinTokenState::Valid);
    assert!(seed.agree_to_token(&operator("bob"), token.id).is_err());
}
