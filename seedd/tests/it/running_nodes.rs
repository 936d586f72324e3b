//! What the command line does about nodes: a running daemon checks and writes it itself; without a daemon the command does.

use std::process::{Command, Stdio};
use std::time::Duration;

use appliance::control::{Client, Note};
use converge::accept::AcceptReport;
use site::mode::Mode;
use site::store::events::EventRow;
use web::api::BootQuery;

use crate::converge::{PLAYS, converged, site_with};
use crate::running::Bench;
use crate::running_made::{passphrase, seedd, writes};
use crate::support::front::Front;
use crate::support::sites::{A, Machine, app, temp, unsealed};

/// A role whose nodes vote.
const VOTERS: &str = "      plays: [etcd]\n      count: {min: 3, odd: true}\n";

/// A running seed, sealed, whose role `base` has plays.
fn running(role: &str) -> Bench {
    let t = temp();
    let site = site_with(&t, role);
    Bench::of(Front::of(t, site))
}

impl Bench {
    /// Unseals it and lets `well` of `all` nodes run their plays.
    fn with_nodes(mut self, well: u8, all: u8) -> Self {
        self.front.app.unseal_with(A, "test").unwrap();
        converged(&self.front.app, well, all);
        self.newest.mark_unchanged();
        self
    }

    fn newest_of(&self, kind: &str) -> EventRow {
        self.front.app.store.read(|tx| tx.newest_of(kind, 1)).unwrap().remove(0)
    }
}

#[test]
fn a_running_daemon_runs_checks_pauses_and_resumes_plays_itself() {
    let mut b = running(PLAYS);
    let paused = |b: &Bench| b.front.app.view_converge().unwrap().paused;
    b.writes(&["converge", "pause"], "converge.paused");
    assert!(paused(&b));
    b.writes(&["converge", "resume"], "converge.resumed");
    assert!(!paused(&b));
    b.writes(&["converge", "run", "--role", "base"], "converge.asked");
    assert_eq!(b.newest_of("converge.").text, "another run of role base");
    b.writes(&["converge", "check"], "converge.asked");
    assert_eq!(b.newest_of("converge.").text, "check run of every role");
    b.refuses(&["converge", "run", "--role", "nobody"], &["there is no role \"nobody\"", "hint: roles are in cluster.yaml"]);
    b.refuses(&["converge", "check", "--node", "n9"], &["no node named n9.kubedos.lan", "hint: "]);
}

#[test]
fn plays_are_paused_and_resumed_without_a_daemon_too() {
    let t = temp();
    let site = site_with(&t, PLAYS);
    writes(&site, &["converge", "pause", "--role", "base"], "converge.paused");
    assert!(app(&site).view_converge().unwrap().stages.iter().any(|s| s.role == "base" && s.paused));
    writes(&site, &["converge", "resume", "--role", "base"], "converge.resumed");
    assert!(app(&site).view_converge().unwrap().stages.iter().all(|s| !s.paused));
}

#[test]
fn a_running_daemon_signs_acceptance_with_its_own_key_or_while_it_is_sealed_with_the_passphrase() {
    let b = running(PLAYS);
    let (good, bad) = (passphrase(&b.front.path(""), A), b.front.path("bad"));
    std::fs::write(&bad, "another passphrase").unwrap();
    b.refuses(&["accept"], &["cannot prompt for a secret"]);
    b.refuses(&["accept", "--passphrase-file", bad.as_str()], &["passphrase"]);
    let daemon = Client::new(&b.front.site.control_socket());
    assert!(daemon.accept(&[], None).unwrap_err().to_string().contains("the seed is sealed"));
    let said = b.front.try_here(&["accept", "--passphrase-file", &good]);
    assert!(said.code == 1 && said.out.contains("there is no node"), "{}{}", said.out, said.err);
    let failed = b.newest_of("accept.");
    assert_eq!((failed.kind.as_str(), failed.actor.as_deref()), ("accept.failed", Some("command line")));
    assert!(b.newest.has_changed().unwrap(), "its pages know");
    assert!(b.front.app.is_sealed(), "the passphrase was for the signature only");

    let mut b = b.with_nodes(1, 1);
    b.writes(&["accept"], "accept.passed");
    assert!(b.front.app.view_converge().unwrap().accept.unwrap().passed);
    let before = b.last();
    b.front.here(&["accept", "--dry-run"]);
    assert_eq!(b.last(), before, "nothing is recorded");
    let refused = daemon.accept(&["wishes".to_owned()], None).unwrap_err();
    assert!(refused.to_string().contains("there is no check \"wishes\""), "{refused}");
    let report: AcceptReport = serde_json::from_value(daemon.accept(&["time".to_owned()], None).unwrap().report).unwrap();
    assert_eq!(report.verdicts.iter().map(|v| v.name.as_str()).collect::<Vec<_>>(), ["converged", "time"]);
}

#[test]
fn acceptance_is_signed_with_the_passphrase_without_a_daemon() {
    let t = temp();
    let (site, pass) = (site_with(&t, PLAYS), passphrase(&t.path, A));
    converged(&unsealed(&site, A), 1, 1);
    writes(&site, &["accept", "--passphrase-file", &pass], "accept.passed");
    assert!(app(&site).view_converge().unwrap().accept.unwrap().passed);
    let refused = seedd(&site, &["accept"]);
    assert!(refused.code == 1 && refused.err.contains("cannot prompt for a secret"), "{}", refused.err);
}

/// Ends a command that waits for a node, once what it does before is done.
fn until(mut command: Command, done: impl Fn() -> bool) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !done() {
        assert!(child.try_wait().unwrap().is_none(), "it ended instead of waiting for the node");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_running_daemon_decides_whether_a_member_may_be_replaced_and_writes_how_it_went() {
    let b = running(VOTERS).with_nodes(2, 3);
    // One of three has never converged.
    let words = ["node", "replace", "n1", "--no-power"];
    b.refuses(&words, &["1 of 3 members of etcd", "fewer than a majority", "--force replaces it anyway"]);
    b.refuses(&["node", "replace", "n9"], &["no node named n9.kubedos.lan"]);
    let mut command = b.front.command(&[&words[..], &["--force"]].concat());
    command.env("KUBEDOS_DATA", b.front.site.data.as_str());
    until(command, || b.newest.has_changed().unwrap());
    let begun = b.newest_of("node.replac");
    assert_eq!((begun.kind.as_str(), begun.actor.as_deref()), ("node.replacing", Some("command line")));
    assert_eq!(begun.text, "n1.kubedos.lan is being replaced");
    let daemon = Client::new(&b.front.site.control_socket());
    let hostname = "n1.kubedos.lan".parse().unwrap();
    daemon.note(Note::NodeReplaced { hostname, approved: 1, installed: 2, fabric_ready: 3, healthy: 4 }).unwrap();
    let done = b.newest_of("node.replac");
    assert_eq!((done.kind.as_str(), done.actor.as_deref()), ("node.replaced", Some("command line")));
    let expected = "n1.kubedos.lan was replaced: approved after 1 s, installed after 2 s, fabric after 3 s, healthy after 4 s";
    assert_eq!(done.text, expected);
}

#[test]
fn a_replacement_begins_without_a_daemon_too() {
    let t = temp();
    let site = site_with(&t, PLAYS);
    converged(&unsealed(&site, A), 1, 1);
    let store = site.open_store().unwrap();
    let begun = || store.read(|tx| tx.newest_of("node.replacing", 1)).unwrap();
    let replace = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seedd"));
        command.args(["node", "replace", "n1", "--no-power", "--data", site.data.as_str()]).stdin(Stdio::null());
        command
    };
    let turn = |mode: Mode| store.write(|tx| mode.set(tx)).unwrap();
    turn(Mode::Standby);
    let refused = replace().output().unwrap();
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && why.contains("this seed is a standby") && begun().is_empty(), "{why}");
    turn(Mode::Active);
    // Of a replacement that nobody finished.
    let old = format!("{}00", site::setting::REPLACING);
    store.set(&old, "1").unwrap();
    until(replace(), || !begun().is_empty());
    assert_eq!(begun()[0].actor.as_deref(), Some("command line"));
    assert_eq!(store.setting(&old).unwrap(), None);
}

#[test]
fn the_machine_of_a_node_that_is_replaced_boots_the_agent_until_it_is_installed_again() {
    let b = running(PLAYS).with_nodes(2, 2);
    let script = |mac: &str| b.front.app.script_for(&BootQuery { mac: Some(mac.to_owned()), ..BootQuery::default() }).unwrap();
    let (own, other) = ("02:00:00:00:00:01", "02:00:00:00:00:02");
    let from_disk = script(own);
    assert!(from_disk.contains("local disk"), "{from_disk}");
    Client::new(&b.front.site.control_socket()).replace_node("n1.kubedos.lan".parse().unwrap(), false).unwrap();
    assert!(script(own).contains("vmlinuz"), "the agent, while nobody has approved it again");
    assert_eq!(script(other), from_disk, "another node boots its disk");
    Machine::under(3, 1).install(&b.front.app, "n1", true);
    assert_eq!(script(own), from_disk, "the node that took its place boots its disk");
}
