//! A machine that boots an image: it finds its seed, enrolls in place, and becomes a node without writing a disk.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cluster_seed::agent::{ReportBody, knows};
use cluster_seed::join::JoinSpec;
use cluster_seed::join::token::JoinToken;
use cluster_seed::seal::{SigningKey, key_text};
use cluster_seed::trouble::Trouble;
use payload::http::Http;
use payload::node::discover::Places;
use payload::node::join;
use payload::ram::Ram;
use payload::report::Reporter;
use payload::state::NodeDir;

use crate::mock::machine::{Machine, OLD};
use crate::mock::{ENROLLMENT, Lie, Mock};

const TOKEN: &str = "kjt-0a1b2c3d-000102030405060708090a0b0c0d0e0f";

fn token() -> JoinToken {
    TOKEN.parse().unwrap()
}

fn site(n: u8) -> String {
    key_text(&SigningKey::from_bytes(&[n; 32]).verifying_key())
}

fn image(machine: &Machine, seed: Option<&str>, site_key: String, token: Option<JoinToken>) {
    let spec = JoinSpec { seed: seed.map(str::to_owned), site_key, token };
    fs::create_dir_all(machine.root.join("state")).unwrap();
    fs::write(machine.root.join("state/join.json"), spec.to_secret().unwrap().expose()).unwrap();
}

/// Joins; `each` is called with the seconds at every pause, and its error ends a machine that waits for ever.
fn follow(machine: &Machine, each: &(dyn Fn(u64) -> bool + Sync)) -> Result<u64, String> {
    let seconds = AtomicU64::new(0);
    let wait = |time: Duration| {
        let now = seconds.fetch_add(time.as_secs(), Ordering::Relaxed) + time.as_secs();
        assert!(each(now), "given up after {now} s");
    };
    let random = |bytes: &mut [u8]| {
        bytes.iter_mut().zip(0u8..).for_each(|(b, n)| *b = n);
        Ok(())
    };
    let (console, run, state) = (machine.console(), machine.root.join("run"), machine.root.join("state"));
    let ram = Ram { root: &machine.root, run: &run, console: &console, wait: &wait, random: &random, key: &|| false };
    let places = Places { root: &machine.root, dir: &state, volume: &|_| None, words: &[] };
    join::join(&ram, &places).map_err(|e| format!("{e:#}"))?;
    Ok(seconds.load(Ordering::Relaxed))
}

#[test]
fn a_machine_with_a_token_becomes_a_node_without_a_code_and_keeps_no_token() {
    let (mock, machine) = (Mock::start(Lie::None), Machine::new(16));
    mock.state().token = Some(token());
    image(&machine, Some(&mock.url), site(1), Some(token()));
    follow(&machine, &|now| now < 60).unwrap();
    let printed = machine.printed();
    assert!(printed.contains("join token 0a1b2c3d") && !printed.contains("pairing code "), "{printed}");
    for line in [format!("seed {} from join.json", mock.url), format!("only the site with key {}", &site(1)[..16])] {
        assert!(printed.contains(&line), "{line}: {printed}");
    }
    for name in ["identity.json", "node.key"] {
        assert!(machine.root.join("state").join(name).exists(), "{name}");
    }
    assert!(!fs::read_to_string(machine.root.join("state/join.json")).unwrap().contains("kjt-"));
    assert!(machine.disk().iter().all(|b| *b == OLD), "a disk was written");
    let state = mock.state();
    assert_eq!(state.named, Some(token().id));
    let heard = String::from_utf8_lossy(&state.heard).into_owned();
    assert!(!heard.contains(&TOKEN[13..]), "the secret is never sent");
    let kinds: Vec<bool> = state.reports.iter().map(|r| matches!(r.body, ReportBody::InstallDone { .. })).collect();
    assert_eq!(kinds, [false, true]);
    drop(state);
    // A node does nothing.
    let requests = mock.state().heard.len();
    follow(&machine, &|_| false).unwrap();
    assert_eq!(mock.state().heard.len(), requests);
}

#[test]
fn a_machine_without_a_token_shows_a_code() {
    let (mock, machine) = (Mock::start(Lie::None), Machine::new(16));
    mock.state().console = Some(machine.root.join("console"));
    image(&machine, Some(&mock.url), site(1), None);
    follow(&machine, &|now| now < 60).unwrap();
    assert!(machine.printed().contains("kubedos: pairing code 12-"));
}

#[test]
fn a_seed_without_the_tokens_secret_is_not_obeyed() {
    let (rogue, machine) = (Mock::start(Lie::None), Machine::new(16));
    rogue.state().token = Some(format!("kjt-0a1b2c3d-{}", "0".repeat(32)).parse().unwrap());
    image(&machine, Some(&rogue.url), site(1), Some(token()));
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| follow(&machine, &|now| now < 4 * 3_600)));
    assert!(ended.is_err());
    assert!(!machine.root.join("state/identity.json").exists() && rogue.state().claims.is_empty());
    assert!((5..=25).contains(&rogue.state().mismatches), "{}", rogue.state().mismatches);
}

#[test]
fn a_machine_waits_for_a_seed_that_appears_later_and_says_so_once_a_minute() {
    let (mock, machine) = (Mock::start(Lie::None), Machine::new(16));
    mock.state().token = Some(token());
    image(&machine, None, site(1), Some(token()));
    let lease = machine.root.join("run/systemd/netif/leases/2");
    fs::create_dir_all(lease.parent().unwrap()).unwrap();
    let option = hex::encode(cluster_seed::join::lease::option_value(&mock.url));
    let waited = follow(&machine, &|now| {
        if now == 3_600 {
            fs::write(&lease, format!("SERVER_ADDRESS=127.0.0.9\nOPTION_224={option}\n")).unwrap();
        }
        now < 3_700
    });
    assert!(waited.unwrap() >= 3_600);
    let count = machine.printed().matches("no source gives the address of the seed").count();
    assert!((60..=61).contains(&count), "{count}");
}

#[test]
fn a_refused_token_is_named_and_tried_ever_more_slowly() {
    let (mock, machine) = (Mock::start(Lie::RefusesToken), Machine::new(16));
    image(&machine, Some(&mock.url), site(1), Some(token()));
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| follow(&machine, &|now| now < 24 * 3_600)));
    assert!(ended.is_err() && mock.state().reveals == 0);
    let printed = machine.printed();
    let count = printed.matches("join token 0a1b2c3d has expired").count();
    assert!((95..=105).contains(&count), "{count}");
}

#[test]
fn a_denial_at_the_reveal_is_tried_ever_more_slowly() {
    let (mock, machine) = (Mock::start(Lie::DeniesReveal), Machine::new(16));
    image(&machine, Some(&mock.url), site(1), None);
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| follow(&machine, &|now| now < 24 * 3_600)));
    assert!(ended.is_err());
    let reveals = mock.state().reveals;
    assert!((95..=105).contains(&reveals), "{reveals}");
    assert!(machine.printed().contains("an operator denied this machine"));
}

#[test]
fn the_cause_of_a_failure_is_told_only_to_a_seed_that_says_it_knows_it() {
    for (words, cause) in [(knows::all(), Some(Trouble::DiskTooSmall)), (vec![], None), (vec!["other".to_owned()], None)] {
        let (mock, machine) = (Mock::start(Lie::None), Machine::new(16));
        let (http, key) = (Http::new(&mock.url), SigningKey::from_bytes(&[7; 32]));
        let sequence = NodeDir::new(&machine.root).sequence(1);
        let reporter = Reporter::new(&http, &key, ENROLLMENT, sequence, &|_| ()).to_one_that(&words);
        reporter.failed("disk", "it is too small", Trouble::DiskTooSmall);
        let report = mock.state().reports.pop().unwrap();
        assert!(matches!(report.body, ReportBody::Failed { cause: told, .. } if told == cause), "{words:?}: {report:?}");
    }
}

#[test]
fn nothing_is_revealed_to_a_seed_of_another_site() {
    let (mock, machine) = (Mock::start(Lie::None), Machine::new(16));
    mock.state().token = Some(token());
    image(&machine, Some(&mock.url), site(2), Some(token()));
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| follow(&machine, &|now| now < 600)));
    assert!(ended.is_err() && mock.state().reveals == 0);
    assert!(machine.printed().contains("it belongs to another site"), "{}", machine.printed());
}
