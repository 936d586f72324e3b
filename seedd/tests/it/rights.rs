//! Rights below HTTP: whatever takes an actor asks for its right itself, so that a route that forgets to ask changes nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;

use camino::Utf8Path;
use cluster_seed::events::EventKind;
use cluster_seed::ids::{EnrollmentId, Mac};
use cluster_seed::people::{Permission, Permissions, Rights};
use seedd::app::Seed;
use serde_json::json;
use site::store::events::NewEvent;
use web::api::{
    AboutApi as _, Actor, ApiError, Approve, AuditApi as _, AuditQuery, BmcKind, ChangePassword, CountersignApi as _, EventView,
    ExportFormat, ExportWish, ImportWish, InventoryApi as _, JoinTokenApi as _, MachinesApi as _, NewToken, NewUser,
    OperatorApi as _, PasskeyApi as _, PeopleApi as _, PlanApi as _, PlanHow, PowerAction, RotateWish, RotationApi as _, Say,
    SetPower, SetUser, SettingsApi as _, WebhookApi as _,
};

use crate::support::sites::{admin, app, site_a, temp};

/// Methods that take an actor for another reason than its right.
const OTHERS: [&str; 6] = [
    // One's own session, and what one may see of people.
    "logout", "people", // They show less to those who may not administer.
    "webhooks", "settings", // By the kind of the job that runs; none does.
    "stop_job", // Made of two others of this list.
    "set_note",
];

/// The methods of the traits in `web/src/api` that take an actor.
fn methods() -> BTreeSet<String> {
    let dir = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../web/src/api");
    let mut all = BTreeSet::new();
    for entry in dir.read_dir_utf8().unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let traits = text.split("\n#[cfg(test)]\nmod tests").next().unwrap();
        for part in traits.split("fn ").skip(1) {
            let (name, rest) = part.split_once('(').unwrap_or_default();
            let parameters = rest.split([';', '{']).next().unwrap_or_default();
            if parameters.trim_start().starts_with("&self") && parameters.contains("actor: &Actor") {
                all.insert(name.to_owned());
            }
        }
    }
    all
}

type Called = (&'static str, Result<(), ApiError>);

fn json_of<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn machines(seed: &Seed, eve: &Actor) -> Vec<Called> {
    let (id, from): (_, IpAddr) = (EnrollmentId([1; 16]), [10, 44, 0, 9].into());
    let text = || String::from("x");
    let approve = Approve { code: "12-345-678".into(), role: text(), hostname: text(), disk: text(), replace: false };
    let power = SetPower {
        kind: BmcKind::Redfish,
        address: "https://10.44.9.1".into(),
        user: text(),
        password: text(),
        cipher_suite: None,
        privilege: None,
    };
    vec![
        ("approve", seed.approve(eve, id, &approve).map(drop)),
        ("approve_code", seed.approve_code(eve, &approve).map(drop)),
        ("agree", seed.agree(eve, id, "").map(drop)),
        ("create_join_token", seed.create_join_token(eve, &json_of(json!({"role": "base", "name": "edge"}))).map(drop)),
        ("revoke_join_token", seed.revoke_join_token(eve, "0a1b2c3d".parse().unwrap())),
        ("agree_to_token", seed.agree_to_token(eve, "0a1b2c3d".parse().unwrap()).map(drop)),
        ("deny", seed.deny(eve, id, "").map(drop)),
        ("deny_address", seed.deny_address(eve, from).map(drop)),
        ("forget", seed.forget(eve, 1)),
        ("revoke", seed.revoke(eve, id, "").map(drop)),
        ("set_labels", seed.set_labels(eve, &[1], &[], &[])),
        ("set_machine_place", seed.set_machine_place(eve, 1, "hall 2")),
        ("keep_plan", seed.keep_plan(eve, "serial,name,role\nSN1,a,base\n", PlanHow::Set).map(drop)),
        ("drop_plan", seed.drop_plan(eve, None).map(drop)),
        ("lead", seed.lead(eve, "12-345-678").map(drop)),
        ("click", seed.click(eve, id).map(drop)),
        ("rotate", seed.rotate(eve, &RotateWish { node: None, plane: None, all: true }).map(drop)),
        ("take_countersignatures", seed.take_countersignatures(eve, "").map(drop)),
        ("set_window", seed.set_window(eve, Some(60)).map(drop)),
        ("say_of", seed.say_of(eve, 1, Say::Allow)),
        ("allow_machine", seed.allow_machine(eve, Mac([2, 0, 0, 0, 0, 1]))),
        ("set_power", seed.set_power(eve, 1, &power).map(drop)),
        ("forget_power", seed.forget_power(eve, 1).map(drop)),
        ("trust_certificate", seed.trust_certificate(eve, 1, "00").map(drop)),
        ("act_power", seed.act_power(eve, 1, PowerAction::Status).map(drop)),
        ("act_on_converge", seed.act_on_converge(eve, &json_of(json!({"what": "pause"}))).map(drop)),
        ("build_output", seed.build_output(eve, &json_of(json!({"target": "node-iso"}))).map(drop)),
        ("verify_output", seed.verify_output(eve, "x").map(drop)),
    ]
}

fn people(seed: &Seed, eve: &Actor) -> Vec<Called> {
    let from: IpAddr = [10, 44, 0, 9].into();
    let text = || String::from("a long password");
    vec![
        ("authenticate_again", seed.authenticate_again(from, eve, "", "x")),
        ("change_password", seed.change_password(from, eve, "", &ChangePassword { old: text(), new: text() })),
        ("add_user", seed.add_user(eve, &NewUser { user: "bob".into(), password: text(), rights: Rights::Viewer }).map(drop)),
        ("set_user", seed.set_user(eve, "bob", &SetUser { rights: None, disabled: None }).map(drop)),
        ("reset_password", seed.reset_password(eve, "bob", "a long password")),
        ("remove_user", seed.remove_user(eve, "bob")),
        ("end_session", seed.end_session(eve, "00")),
        ("end_other_sessions", seed.end_other_sessions(eve, "").map(drop)),
        ("create_token", seed.create_token(eve, &NewToken { name: "t".into(), scopes: vec![], days: None }).map(drop)),
        ("revoke_token", seed.revoke_token(eve, "0a1b2c3d".parse().unwrap())),
        ("begin_passkey", seed.begin_passkey(eve).map(drop)),
        ("finish_passkey", seed.finish_passkey(eve, "t", &json!({})).map(drop)),
        ("remove_passkey", seed.remove_passkey(eve, "00")),
    ]
}

fn site(seed: &Seed, eve: &Actor) -> Vec<Called> {
    let from: IpAddr = [10, 44, 0, 9].into();
    let export: ExportWish = json_of(json!({"recipient": "age1", "passphrase": "x"}));
    let import: ImportWish = json_of(json!({"file": "x", "pin": "x", "passphrase": "x"}));
    vec![
        ("unseal", seed.unseal(from, eve, "x")),
        ("seal", seed.seal(eve)),
        ("set_clock", seed.set_clock(eve, 1).map(drop)),
        ("export", seed.export(from, eve, &export).map(drop)),
        ("import", seed.import(from, eve, &import).map(drop)),
        ("drill", seed.drill(from, eve, "x").map(drop)),
        ("promote", seed.promote(eve, "site-a").map(drop)),
        ("set_place", seed.set_place(eve, None).map(drop)),
        ("put_capsule", seed.put_capsule(eve, "x", 0, 1, b"x").map(drop)),
        ("remove_capsule", seed.remove_capsule(eve, "x")),
        ("apply_settings", seed.apply_settings(eve, "", "").map(drop)),
        ("support_bundle", seed.support_bundle(eve).map(drop)),
        ("verify_log", seed.verify_log(eve).map(drop)),
        ("checkpoint_log", seed.checkpoint_log(eve).map(drop)),
        ("dead_letters", seed.dead_letters(eve).map(drop)),
        ("test_webhook", seed.test_webhook(eve, "http://hooks.lan/").map(drop)),
    ]
}

/// What only those read who may see more than the pages show to everybody.
fn guarded(seed: &Seed, actor: &Actor) -> Vec<Called> {
    let all = AuditQuery::default();
    vec![
        ("audit", seed.audit(actor, &all, None, 9).map(drop)),
        ("audit_event", seed.audit_event(actor, 1).map(drop)),
        ("audit_state", seed.audit_state(actor).map(drop)),
        ("audit_export", seed.audit_export(actor, &all, ExportFormat::Jsonl, 0).map(drop)),
        ("capsule_path", seed.capsule_path(actor, "site-a.capsule").map(drop)),
    ]
}

/// What everybody reads who may read at all.
fn readable(seed: &Seed, actor: &Actor) -> Vec<Called> {
    vec![
        ("packets", seed.packets(actor, 1).map(drop)),
        ("output_path", seed.output_path(actor, "x").map(drop)),
        ("events", seed.events(actor, 0, 9).map(drop)),
        ("last_events", seed.last_events(actor, 9).map(drop)),
        ("home", seed.home(actor).map(drop)),
    ]
}

fn is_refused(result: &Result<(), ApiError>, word: &str) -> bool {
    matches!(result, Err(ApiError::Forbidden { why }) if why.contains(word))
}

#[test]
fn a_viewer_reads_neither_the_log_nor_a_capsule_and_an_auditor_reads_the_log() {
    let t = temp();
    let seed = Seed(app(&site_a(&t)));
    seed.0.say(&NewEvent::new(EventKind::SeedStarted, "started"));
    let (viewer, auditor) = (Actor::session("eve", Rights::Viewer, true), Actor::session("ann", Rights::Auditor, true));
    for (name, result) in guarded(&seed, &viewer) {
        assert!(is_refused(&result, "you have those of a viewer"), "{name}: {result:?}");
    }
    for (name, result) in guarded(&seed, &auditor) {
        match name {
            "capsule_path" => assert!(is_refused(&result, "administrator"), "{result:?}"),
            _ => assert!(result.is_ok(), "{name}: {result:?}"),
        }
    }
    assert!(seed.capsule_path(&admin(), "site-a.capsule").unwrap().is_none(), "there is none");
}

#[test]
fn events_of_people_are_shown_to_auditors_only_and_count_as_read() {
    let t = temp();
    let seed = Seed(app(&site_a(&t)));
    seed.0.say(&NewEvent::new(EventKind::SeedStarted, "started"));
    seed.0.say(&NewEvent::new(EventKind::LoginFailed, "wrong password"));
    let last = seed.0.store.read(|tx| tx.last_event()).unwrap();
    for (rights, sees) in [(Rights::Viewer, false), (Rights::Operator, false), (Rights::Auditor, true)] {
        let actor = Actor::session("eve", rights, true);
        let of_people = |events: &[EventView]| events.iter().any(|e| e.kind == EventKind::LoginFailed);
        let part = seed.events(&actor, last - 2, 9).unwrap();
        assert_eq!((part.events.len(), of_people(&part.events)), (1 + usize::from(sees), sees), "{rights}");
        assert_eq!((part.read, part.more), (last, false), "{rights}: the next part begins behind what was not shown");
        assert!(seed.events(&actor, last - 2, 1).unwrap().more, "{rights}");
        assert_eq!(of_people(&seed.last_events(&actor, 2).unwrap()), sees, "{rights}");
        let home = seed.home(&actor).unwrap();
        assert_eq!(home.events.iter().any(|h| h.event.kind == EventKind::LoginFailed), sees, "{rights}");
    }
}

#[test]
fn what_everybody_reads_needs_the_right_to_read() {
    let t = temp();
    let seed = Seed(app(&site_a(&t)));
    let seen = seed.0.store.write(|tx| tx.see_machine(Mac([2, 0, 0, 0, 0, 1]), None, 1)).unwrap();
    assert_eq!(seen, Some(1));
    let only = |permission| Actor::token("eve", Rights::Administrator, Permissions::of(&[permission]));
    for (name, result) in readable(&seed, &only(Permission::Approve)) {
        assert!(is_refused(&result, "the scope read"), "{name}: {result:?}");
    }
    for (name, result) in readable(&seed, &only(Permission::Read)) {
        assert!(result.is_ok(), "{name}: {result:?}");
    }
}

#[test]
fn every_method_that_takes_an_actor_refuses_one_without_the_right() {
    let t = temp();
    let seed = Seed(app(&site_a(&t)));
    let eve = Actor::token("eve", Rights::Administrator, Permissions::of(&[Permission::Read]));
    let events = || seed.0.store.read(|tx| tx.last_event()).unwrap();
    let before = events();
    let blind = Actor::token("eve", Rights::Administrator, Permissions::of(&[Permission::Approve]));
    let called = [machines(&seed, &eve), people(&seed, &eve), site(&seed, &eve), guarded(&seed, &eve), readable(&seed, &blind)];
    let called: Vec<Called> = called.into_iter().flatten().collect();
    for (name, result) in &called {
        assert!(
            matches!(result, Err(ApiError::Forbidden { why }) if why.contains("scope") || why.contains("API token")),
            "{name}: {result:?}"
        );
    }
    assert_eq!(events(), before, "and nothing happened");
    let walked: BTreeSet<String> = called.iter().map(|(name, _)| *name).chain(OTHERS).map(str::to_owned).collect();
    let missing: Vec<String> = methods().difference(&walked).cloned().collect();
    assert!(missing.is_empty(), "methods that nobody has tried: {missing:?}");
}
