//! The pairing as the seed sees it: wrong codes, forged and repeated words, and what is made only after the machine confirmed.

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::agent::{Confirm, Hello, Mismatch, PROTOCOL};
use cluster_seed::enrollment::EnrollmentState as S;
use cluster_seed::ids::EnrollmentId;
use cluster_seed::pake::Confirmation;
use cluster_seed::seal::{Sealed, SigningKey};
use cluster_seed::secret::AgeKey;
use payload::console::Console;
use payload::http::Http;
use payload::ram::enroll::{EnrollError, Enroller};
use payload::ram::session::{MachineSecrets, RANDOM, Session, WrongCode};
use seedd::app::App;
use web::api::{Actor, ApiError, Approve, MachineApi as _};

use crate::enrollment::{Bench, Machine, PASSPHRASE, admin, bench, form, ip};
use crate::epoch::serve;

fn unsealed() -> Bench {
    let bench = bench();
    bench.app.unseal_with(PASSPHRASE, "test").unwrap();
    bench
}

/// The same number with another secret.
fn wrong(code: &str) -> String {
    let (number, secret) = code.split_once('-').unwrap();
    format!("{number}-{}", if secret == "000-000" { "000-001" } else { "000-000" })
}

fn kinds(app: &App) -> Vec<String> {
    app.store.read(|tx| tx.events_after(0, 1000)).unwrap().into_iter().map(|e| e.kind).collect()
}

/// What the machine would send.
fn confirmation(app: &App, m: &Machine, id: EnrollmentId) -> Confirmation {
    let offer = app.status_of(id).unwrap().offer.unwrap();
    m.paired.lock().unwrap().take().unwrap().check(&offer).unwrap()
}

fn signed(id: EnrollmentId, confirmation: Confirmation, key: &SigningKey) -> Sealed<Confirm> {
    Sealed::sign(&Confirm { enrollment: id, confirmation }, key).unwrap()
}

#[test]
fn a_wrong_code_costs_the_attempt_on_both_sides_and_makes_nothing() {
    let Bench { app, _dir } = &unsealed();
    let m = Machine::new(1);
    let (id, code) = m.enroll(app);
    assert_eq!(app.approve_by(&admin(), id, &form(&wrong(&code), "n1")).unwrap().state, S::Confirming);
    assert_eq!(m.confirm(app, id).unwrap(), S::Denied);
    let view = app.view_of(id).unwrap();
    assert_eq!((view.state, view.wrong_codes), (S::Denied, 1));
    assert!(view.reason.unwrap().contains("wrong code"));
    assert!(kinds(app).iter().any(|k| k == "enrollment.wrong_code"));
    assert!(app.store.read(|tx| tx.live_nodes()).unwrap().is_empty());
    // Not even the right code is good for this attempt any more; the machine comes back with another.
    assert!(matches!(app.approve_by(&admin(), id, &form(&code, "n1")), Err(ApiError::Conflict { .. })));
    let again = Machine { mac: m.mac, ..Machine::new(2) };
    let (second, code) = again.enroll(app);
    assert_eq!(again.approve(app, second, &form(&code, "n1")).unwrap().state, S::Approved);
}

#[test]
fn a_wrong_confirmation_of_the_machine_denies_it() {
    let Bench { app, _dir } = &unsealed();
    let m = Machine::new(1);
    let (id, code) = m.enroll(app);
    app.approve_by(&admin(), id, &form(&code, "n1")).unwrap();
    let right = confirmation(app, &m, id);
    let guess: Confirmation = "00".repeat(32).parse().unwrap();
    assert!(matches!(app.confirm(id, &signed(id, guess, &m.key)), Err(ApiError::Forbidden { .. })));
    assert_eq!((app.view_of(id).unwrap().state, app.view_of(id).unwrap().wrong_codes), (S::Denied, 1));
    assert!(m.claim(app, id, 1).is_err() && app.store.read(|tx| tx.live_nodes()).unwrap().is_empty());
    assert!(app.confirm(id, &signed(id, right, &m.key)).is_err(), "the right one comes too late");
}

#[test]
fn a_confirmation_is_taken_once_from_its_machine_for_its_enrollment() {
    let Bench { app, _dir } = &unsealed();
    let (m, other) = (Machine::new(1), Machine::new(2));
    let (id, code) = m.enroll(app);
    let (second, second_code) = other.enroll(app);
    assert!(app.confirm(id, &signed(id, "00".repeat(32).parse().unwrap(), &m.key)).is_err(), "nobody typed a code yet");
    app.approve_by(&admin(), id, &form(&code, "n1")).unwrap();
    app.approve_by(&admin(), second, &form(&second_code, "n2")).unwrap();
    let right = confirmation(app, &m, id);
    let forbidden = |r: Result<_, ApiError>| {
        assert!(matches!(r.map(|_: cluster_seed::agent::ConfirmReply| ()), Err(ApiError::Forbidden { .. })))
    };
    // A stranger's signature; the other's enrollment in the message; the other machine's own message sent here.
    forbidden(app.confirm(id, &signed(id, right, &SigningKey::from_bytes(&[9; 32]))));
    forbidden(app.confirm(id, &signed(second, right, &m.key)));
    forbidden(app.confirm(id, &signed(second, confirmation(app, &other, second), &other.key)));
    forbidden(app.mismatch(id, &Sealed::sign(&Mismatch { enrollment: id }, &other.key).unwrap()));
    forbidden(app.mismatch(id, &Sealed::sign(&Mismatch { enrollment: second }, &m.key).unwrap()));
    assert_eq!(app.view_of(id).unwrap().state, S::Confirming, "none of it cost the machine its attempt");
    let confirm = signed(id, right, &m.key);
    assert_eq!(app.confirm(id, &confirm).unwrap().state, S::Approved);
    let nodes = || app.store.read(|tx| tx.live_nodes()).unwrap().len();
    assert_eq!(nodes(), 1);
    // Repeated, or a mismatch after the fact: nothing changes.
    assert!(matches!(app.confirm(id, &confirm), Err(ApiError::Conflict { .. })));
    assert!(matches!(
        app.mismatch(id, &Sealed::sign(&Mismatch { enrollment: id }, &m.key).unwrap()),
        Err(ApiError::Conflict { .. })
    ));
    m.claim(app, id, 1).unwrap();
    assert!(app.confirm(id, &confirm).is_err());
    assert_eq!((nodes(), kinds(app).iter().filter(|k| *k == "enrollment.approved").count()), (1, 1));
}

/// A middleman enrolls in the machine's place and the machine shows its number: the operator types the machine's secret.
#[test]
fn a_code_typed_for_a_machine_is_worth_nothing_to_another_under_its_number() {
    let Bench { app, _dir } = &unsealed();
    let (machine, eve) = (Machine::new(1), Machine { mac: Machine::new(1).mac, ..Machine::new(66) });
    let (_, shown) = machine.enroll(app);
    let (id, eves) = eve.enroll(app);
    let number = eves.split('-').next().unwrap();
    let typed = format!("{number}-{}", shown.split_once('-').unwrap().1);
    assert_eq!(app.find_by_code(&typed).unwrap().1, id);
    assert_eq!(app.approve_by(&admin(), id, &form(&typed, "n1")).unwrap().state, S::Confirming);
    assert_eq!(eve.confirm(app, id).unwrap(), S::Denied);
}

#[test]
fn the_order_that_is_issued_is_the_one_that_was_confirmed() {
    let Bench { app, _dir } = &unsealed();
    let m = Machine::new(1);
    let (id, code) = m.enroll(app);
    app.approve_by(&admin(), id, &form(&code, "n1")).unwrap();
    let offer = app.status_of(id).unwrap().offer.unwrap();
    assert_eq!((offer.hostname.as_str(), offer.role.as_str(), offer.order.disk.as_str()), ("n1.kubedos.lan", "base", "vda"));
    m.confirm(app, id).unwrap();
    assert!(app.status_of(id).unwrap().offer.is_none(), "an offer is for the moment of its confirmation");
    let issued = m.claim(app, id, 1).unwrap().identity.open(&app.site_key).unwrap();
    assert_eq!(issued.order, offer.order);
    let info = issued.open(&m.age).unwrap().info;
    assert_eq!((info.hostname, info.role), (offer.hostname, offer.role));
}

#[test]
fn a_seed_that_was_sealed_meanwhile_lets_the_machine_wait_and_mints_later() {
    let Bench { app, _dir } = &unsealed();
    let m = Machine::new(1);
    let (id, code) = m.enroll(app);
    app.approve_by(&admin(), id, &form(&code, "n1")).unwrap();
    let confirm = signed(id, confirmation(app, &m, id), &m.key);
    // A daemon that starts is sealed.
    let again = std::sync::Arc::new(App::open(app.site.clone(), "10.44.0.1:80".parse().unwrap()).unwrap());
    assert!(matches!(again.confirm(id, &confirm), Err(ApiError::Sealed)));
    assert_eq!(again.view_of(id).unwrap().state, S::Confirming);
    again.unseal_with(PASSPHRASE, "test").unwrap();
    assert_eq!(again.confirm(id, &confirm).unwrap().state, S::Approved);
}

#[test]
fn a_name_that_was_taken_between_code_and_confirmation_denies_the_second() {
    let Bench { app, _dir } = &unsealed();
    let (a, b) = (Machine::new(1), Machine::new(2));
    let ((first, one), (second, two)) = (a.enroll(app), b.enroll(app));
    app.approve_by(&admin(), first, &form(&one, "n1")).unwrap();
    app.approve_by(&admin(), second, &form(&two, "n1")).unwrap();
    assert_eq!(a.confirm(app, first).unwrap(), S::Approved);
    assert_eq!(b.confirm(app, second).unwrap(), S::Denied);
    assert!(app.view_of(second).unwrap().reason.unwrap().contains("was approved in the meantime"));
}

#[test]
fn a_code_finds_its_machine_and_approves_it() {
    let Bench { app, _dir } = &unsealed();
    let (a, b) = (Machine::new(1), Machine::new(2));
    let ((_, one), (second, two)) = (a.enroll(app), b.enroll(app));
    assert_ne!(one.split('-').next(), two.split('-').next(), "every open enrollment has a number of its own");
    let spread: String = two.chars().map(|c| if c == '-' { ' ' } else { c }).collect();
    assert_eq!(app.find_by_code(&spread).unwrap().1, second);
    let number: u16 = two.split('-').next().unwrap().parse().unwrap();
    assert_eq!(app.view_of(second).unwrap().number, Some(number));
    let typed = Approve { code: spread, ..form(&two, "n2") };
    assert_eq!(app.approve_code(&admin(), &typed).unwrap().state, S::Confirming);
    assert_eq!(b.confirm(app, second).unwrap(), S::Approved);
    // Its number is free again, and nobody's.
    assert_eq!(app.view_of(second).unwrap().number, None);
    assert!(matches!(app.find_by_code(&two), Err(ApiError::BadRequest { .. })));
    // A number that was in use lately is not the next one.
    let (_, three) = Machine::new(3).enroll(app);
    assert_ne!(three.split('-').next(), two.split('-').next());
}

#[test]
fn an_operator_who_types_wrong_codes_has_to_wait_and_the_others_do_not() {
    let Bench { app, _dir } = &unsealed();
    let free = app.spec.spec.enrollment.max_wrong_codes as u8;
    // A slow test machine may let the first waits end between two codes; they double.
    let waits = (0..free + 8).any(|n| {
        let m = Machine::new(10 + n);
        let (id, code) = m.enroll(app);
        match app.approve_by(&admin(), id, &form(&wrong(&code), "n1")) {
            Err(ApiError::TooMany { .. }) => {
                assert!(n >= free, "after {n} of {free} codes");
                true
            }
            typed => {
                typed.unwrap();
                m.confirm(app, id).unwrap();
                false
            }
        }
    });
    assert!(waits);
    let m = Machine::new(1);
    let (id, code) = m.enroll(app);
    assert!(matches!(app.approve_by(&admin(), id, &form(&code, "n1")), Err(ApiError::TooMany { .. })));
    let other = Actor::session("bob", cluster_seed::people::Rights::Operator, true);
    assert_eq!(app.approve_by(&other, id, &form(&code, "n1")).unwrap().state, S::Confirming);
}

#[test]
fn an_agent_of_another_protocol_is_told_what_to_do() {
    let Bench { app, _dir } = &unsealed();
    let seed = seedd::app::Seed(app.clone());
    for protocol in [0, 1, PROTOCOL + 1] {
        match seed.hello(ip(), Hello { protocol, boot_mac: None, token: None }) {
            Err(ApiError::BadRequest { why, hint: Some(hint) }) => {
                assert!(why.contains(&format!("protocol {protocol}")) && hint.contains("restart the machine"), "{why} {hint}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The agent itself, over HTTP, in a thread; its console is a file.
struct Agent {
    dir: tempfile::TempDir,
    thread: std::thread::JoinHandle<Result<Session, EnrollError>>,
}

impl Agent {
    fn start(url: String, seed: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let run = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        let thread = std::thread::spawn(move || Self::run(&url, &run, seed));
        Agent { dir, thread }
    }

    fn run(url: &str, run: &Utf8Path, seed: u8) -> Result<Session, EnrollError> {
        let random: [u8; RANDOM] = std::array::from_fn(|i| seed.wrapping_mul(37).wrapping_add(i as u8));
        let secrets = MachineSecrets::new(AgeKey::generate(), &random, None).unwrap();
        let (http, console) = (Http::new(url), Console::to_path(&run.join("console")).unwrap());
        let wait = |_| std::thread::sleep(std::time::Duration::from_millis(5));
        let enroller = Enroller {
            http: &http,
            console: &console,
            wait: &wait,
            dir: run,
            sites: &[],
            token: None,
            tries: 30,
            may_tell: false,
        };
        enroller.run(secrets, &Machine::new(seed).facts()).map_err(|failed| failed.error)
    }

    /// What a person reads on the console, as soon as it is there.
    fn code(&self) -> String {
        loop {
            let said = std::fs::read_to_string(self.dir.path().join("console")).unwrap_or_default();
            let code = said.lines().find_map(|l| l.trim_end().strip_prefix("kubedos: pairing code ").map(str::to_owned));
            if let Some(code) = code {
                return code;
            }
            assert!(!self.thread.is_finished(), "the agent gave up: {said}");
            std::thread::yield_now();
        }
    }
}

#[test]
fn the_agent_itself_pairs_with_the_seed_its_operator_types_the_code_at() {
    let Bench { app, _dir } = &unsealed();
    let agent = Agent::start(serve(app), 1);
    let code = agent.code();
    app.approve_code(&admin(), &form(&code, "n1")).unwrap();
    let session = agent.thread.join().unwrap().unwrap();
    assert_eq!(*session.site_key(), app.site_key);
    let approved = session.open().unwrap();
    assert_eq!((approved.identity().info.hostname.as_str(), approved.order().disk.as_str()), ("n1.kubedos.lan", "vda"));
    // And with a wrong code: both say so.
    let agent = Agent::start(serve(app), 2);
    let code = agent.code();
    let (_, id) = app.find_by_code(&code).unwrap();
    app.approve_code(&admin(), &form(&wrong(&code), "n2")).unwrap();
    let error = agent.thread.join().unwrap().err().unwrap();
    assert!(matches!(error, EnrollError::WrongCode(WrongCode::Confirmation)), "{error}");
    assert_eq!(app.view_of(id).unwrap().state, S::Denied);
}

/// Two seeds on one segment, each a whole daemon with a site of its own; the machine found the wrong one.
#[test]
fn of_two_seeds_the_one_that_the_machine_asked_gets_nothing_where_the_code_was_typed_at_the_other() {
    let (ours, theirs) = (unsealed(), unsealed());
    // So that both have handed out the machine's number.
    Machine::new(9).enroll(&ours.app);
    let agent = Agent::start(serve(&theirs.app), 1);
    let code = agent.code();
    // The operator types it at the own seed: whatever waits there under that number is another machine, and finds it wrong.
    let (_, id) = ours.app.find_by_code(&code).unwrap();
    ours.app.approve_by(&admin(), id, &form(&code, "n1")).unwrap();
    // The other seed's owner has to guess.
    theirs.app.approve_code(&admin(), &form(&wrong(&code), "mine")).unwrap();
    let error = agent.thread.join().unwrap().err().unwrap();
    assert!(matches!(error, EnrollError::WrongCode(_)), "{error}");
    for app in [&ours.app, &theirs.app] {
        assert!(app.store.read(|tx| tx.live_nodes()).unwrap().is_empty());
    }
}
