//! Nodes ask the seed what to run: signed orders, one at a time, that stop at the first failure.

use std::net::IpAddr;
use std::sync::Arc;

use camino::Utf8Path;
use cluster_seed::agent::{GateCheck, ReportBody};
use cluster_seed::converge::orders::{Answer, Ask, HeldBundle, Orders, RunMode, RunReport, RunResult, SshHost};
use cluster_seed::converge::role::resolve_all;
use cluster_seed::converge::stage::Stand;
use cluster_seed::enrollment::{EnrollmentEvent, EnrollmentState as S};
use cluster_seed::events::EventKind;
use cluster_seed::ids::{Digest, EnrollmentId};
use cluster_seed::seal::Sealed;
use cluster_seed::secret::AgeKey;
use seedd::app::App;
use site::{Site, payloads};
use web::api::{ApiError, ConvergeAct, ConvergeWhat};

use crate::support::sites::*;

/// A site whose role `base` has plays.
pub fn site_with(t: &Temp, role: &str) -> Site {
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let text = std::fs::read_to_string(site.cluster_file()).unwrap();
    let with = text.replace("      packages: []\n", &format!("      packages: []\n{role}"));
    assert_ne!(text, with);
    std::fs::write(site.cluster_file(), with).unwrap();
    put_payload(&site, "hello");
    site
}

pub struct Node {
    machine: Machine,
    pub id: EnrollmentId,
    pub age: AgeKey,
    /// Its address on the control plane.
    at: IpAddr,
    seq: u64,
    pub orders: Option<Orders>,
    run: Option<RunReport>,
    pub checks: Vec<GateCheck>,
    bundle: Option<HeldBundle>,
    pub ssh: Option<SshHost>,
}

impl Node {
    /// Enrolled, installed, and past the gate.
    pub fn ready(n: u8, app: &App) -> Self {
        Node::with(Machine::new(n), &format!("n{n}"), app, false)
    }

    fn with(machine: Machine, name: &str, app: &App, replace: bool) -> Self {
        let id = machine.install(app, name, replace);
        let at = app
            .store
            .write(|tx| {
                let record = tx.enrollment(id)?;
                tx.advance(&record, EnrollmentEvent::GatePassed, None, host::clock::now())?;
                Ok::<_, ApiError>(tx.node_of(id)?.unwrap().planes["wg1"].0)
            })
            .unwrap();
        Node {
            machine,
            id,
            age: AgeKey::generate(),
            at: at.into(),
            seq: 0,
            orders: None,
            run: None,
            checks: Vec::new(),
            bundle: None,
            ssh: None,
        }
    }

    fn message(&self) -> Ask {
        let (epoch, serial) = self.orders.as_ref().map_or((0, 0), |o| (o.epoch, o.serial));
        Ask {
            enrollment: self.id,
            seq: self.seq,
            epoch,
            serial,
            run: self.run.clone(),
            checks: self.checks.clone(),
            bundle: self.bundle,
            recipient: self.age.recipient(),
            ssh: self.ssh.clone(),
        }
    }

    fn try_ask(&mut self, app: &App) -> Result<Answer, ApiError> {
        self.seq += 1;
        let sealed = Sealed::sign(&self.message(), &self.machine.key).unwrap();
        app.hear_converge(self.at, self.id, &sealed)
    }

    pub fn ask(&mut self, app: &App) -> Answer {
        let answer = self.try_ask(app).unwrap();
        if let Some(sealed) = &answer.orders {
            let orders = sealed.open(&app.site_key).unwrap();
            assert!(self.orders.as_ref().is_none_or(|held| orders.supersedes(held)));
            self.orders = Some(orders);
        }
        answer
    }

    /// Whether its orders are to run something that it has not run.
    fn may_run(&self) -> bool {
        let run = self.orders.as_ref().and_then(|o| o.run.as_ref()).filter(|_| self.closed().is_empty());
        run.is_some_and(|run| {
            let done = |r: &RunReport| (r.revision, r.attempt, r.mode) == (run.revision, run.attempt, run.mode);
            !self.run.as_ref().is_some_and(done)
        })
    }

    fn closed(&self) -> Vec<String> {
        self.orders.iter().flat_map(|o| &o.barriers).filter(|b| !b.open).map(|b| b.name.clone()).collect()
    }

    pub fn did(&mut self, app: &App, result: RunResult, would: &[&str]) -> Answer {
        let run = self.orders.as_ref().unwrap().run.as_ref().unwrap();
        self.run = Some(RunReport {
            revision: run.revision,
            attempt: run.attempt,
            mode: run.mode,
            result,
            play: "hello".into(),
            task: "greet".into(),
            ok: 3,
            changed: 1,
            why: if result == RunResult::Failed { "no such user".into() } else { String::new() },
            seconds: 4,
            fetched: 100,
            would: would.iter().map(|w| (*w).to_owned()).collect(),
        });
        self.ask(app)
    }
}

/// Ready nodes n1 to n`all`, of which the first `well` have run their plays.
pub fn converged(app: &App, well: u8, all: u8) {
    let mut nodes: Vec<Node> = (1..=all).map(|n| Node::ready(n, app)).collect();
    for node in nodes.iter_mut().take(usize::from(well)) {
        node.ask(app);
        node.did(app, RunResult::Ok, &[]);
    }
}

fn stand(app: &App, name: &str) -> Stand {
    let view = app.view_converge().unwrap();
    view.stages.iter().flat_map(|s| &s.nodes).find(|n| n.hostname == format!("{name}.kubedos.lan")).unwrap().stand
}

fn events(app: &App, kind: EventKind) -> Vec<String> {
    let rows = app.store.read(|tx| tx.events_after(0, 5000)).unwrap();
    rows.into_iter().filter(|e| e.kind == kind.as_str()).map(|e| e.text).collect()
}

fn state(app: &App, id: EnrollmentId) -> S {
    app.store.read(|tx| tx.enrollment(id)).unwrap().state
}

fn act(app: &App, what: ConvergeWhat, node: Option<&str>) {
    app.act_on_converge("ada", &ConvergeAct { what, role: None, node: node.map(str::to_owned) }).unwrap();
}

pub fn three(role: &str) -> (Temp, Site, Arc<App>, Vec<Node>) {
    let t = temp();
    let site = site_with(&t, role);
    let app = unsealed(&site, A);
    let nodes = (1..=3).map(|n| Node::ready(n, &app)).collect();
    (t, site, app, nodes)
}

pub const PLAYS: &str = "      plays: [hello]\n";

#[test]
fn a_node_has_converged_once_its_plays_have_run() {
    let (_t, _site, app, mut nodes) = three(PLAYS);
    let node = &mut nodes[0];
    assert_eq!(node.machine.report(&app, node.id, 9, ReportBody::ApplyDone { changed: 1, ok: 9 }).unwrap(), S::FabricReady);
    node.ask(&app);
    assert!(node.may_run());
    let run = node.orders.as_ref().unwrap().run.clone().unwrap();
    assert_eq!((run.plays.as_slice(), run.role.as_str(), run.mode), (["hello".to_owned()].as_slice(), "base", RunMode::Apply));
    assert_eq!(run.groups["base"].len(), 3);
    assert_eq!(stand(&app, "n1"), Stand::Running);
    node.did(&app, RunResult::Running, &[]);
    node.did(&app, RunResult::Ok, &[]);
    assert_eq!((state(&app, node.id), stand(&app, "n1")), (S::Converged, Stand::Converged));
    assert_eq!((events(&app, EventKind::ConvergeStarted).len(), events(&app, EventKind::ConvergeDone).len()), (1, 1));
    // Nothing is signed again while nothing changes.
    let answer = node.ask(&app);
    assert!(answer.orders.is_none() && answer.certificates.is_none());
}

#[test]
fn only_the_node_itself_on_the_control_plane_gets_orders() {
    let (_t, _site, app, mut nodes) = three(PLAYS);
    nodes[0].ask(&app);
    let sealed = Sealed::sign(&nodes[0].message(), &nodes[0].machine.key).unwrap();
    assert!(app.hear_converge(nodes[0].at, nodes[0].id, &sealed).is_err(), "a message counts once");
    nodes[0].seq += 1;
    let forged = Sealed::sign(&nodes[0].message(), &nodes[1].machine.key).unwrap();
    assert!(app.hear_converge(nodes[0].at, nodes[0].id, &forged).is_err());
    let sealed = Sealed::sign(&nodes[0].message(), &nodes[0].machine.key).unwrap();
    assert!(app.hear_converge(ip(), nodes[0].id, &sealed).is_err(), "not on the boot network");
    assert!(app.hear_converge(nodes[0].at, nodes[1].id, &sealed).is_err(), "not for another");
    app.hear_converge(nodes[0].at, nodes[0].id, &sealed).unwrap();
    app.revoke_by(&admin(), nodes[0].id, "stolen").unwrap();
    assert!(nodes[0].try_ask(&app).is_err());
}

#[test]
fn a_change_reaches_one_node_after_the_other_and_stops_at_a_failure() {
    let (_t, site, app, mut nodes) = three(PLAYS);
    for node in &mut nodes {
        node.ask(&app);
        node.did(&app, RunResult::Ok, &[]);
    }
    put_payload(&site, "hello again");
    nodes[1].ask(&app);
    assert!(nodes[1].may_run());
    nodes[0].ask(&app);
    assert!(!nodes[0].may_run() && nodes[0].closed() == ["turn"]);
    nodes[1].did(&app, RunResult::Failed, &[]);
    nodes[0].ask(&app);
    assert!(!nodes[0].may_run() && nodes[0].closed().contains(&"stopped".to_owned()));
    assert_eq!((stand(&app, "n2"), stand(&app, "n1")), (Stand::Failed, Stand::Outdated));
    assert_eq!(events(&app, EventKind::ConvergeFailed), ["hello: greet: no such user"]);
    assert_eq!(state(&app, nodes[1].id), S::Converged, "it is still what it was");
    // Another attempt of that node alone, then the others.
    act(&app, ConvergeWhat::Run, Some("n2"));
    nodes[1].ask(&app);
    assert!(nodes[1].may_run());
    nodes[1].did(&app, RunResult::Ok, &[]);
    nodes[0].ask(&app);
    assert!(nodes[0].may_run());
}

#[test]
fn a_pause_holds_changes_and_a_sealed_seed_lets_nodes_go_on() {
    let (_t, site, app, mut nodes) = three(PLAYS);
    nodes[0].ask(&app);
    nodes[0].did(&app, RunResult::Ok, &[]);
    act(&app, ConvergeWhat::Pause, None);
    nodes[1].ask(&app);
    assert_eq!(nodes[1].closed(), ["paused"]);
    act(&app, ConvergeWhat::Resume, None);
    app.seal("ada");
    put_payload(&site, "while it is sealed");
    nodes[1].ask(&app);
    assert_eq!(nodes[1].closed(), ["paused"], "nothing new can be signed");
    nodes[0].did(&app, RunResult::Ok, &[]);
    app.unseal_with(A, "test").unwrap();
    nodes[1].ask(&app);
    assert!(nodes[1].may_run());
}

#[test]
fn without_a_payload_nodes_wait_and_say_so() {
    let t = temp();
    let site = site_with(&t, PLAYS);
    let app = unsealed(&site, A);
    app.store.write(|tx| tx.unset(site::setting::PAYLOAD)).unwrap();
    let mut node = Node::ready(1, &app);
    node.ask(&app);
    assert_eq!(node.closed(), ["payload"]);
    assert_eq!(state(&app, node.id), S::FabricReady);
}

#[test]
fn a_check_run_reports_drift_and_changes_nothing() {
    let (_t, _site, app, mut nodes) = three(PLAYS);
    let node = &mut nodes[0];
    node.ask(&app);
    node.did(&app, RunResult::Ok, &[]);
    let applied = node.run.clone();
    act(&app, ConvergeWhat::Check, None);
    node.ask(&app);
    assert!(node.may_run());
    assert_eq!(node.orders.as_ref().unwrap().run.as_ref().unwrap().mode, RunMode::Check);
    node.did(&app, RunResult::Ok, &["motd", "sysctl"]);
    assert_eq!(events(&app, EventKind::ConvergeDrift), ["a run would change: motd, sysctl"]);
    assert_eq!(stand(&app, "n1"), Stand::Converged);
    node.run = applied;
    node.ask(&app);
    assert!(!node.may_run(), "asked once, checked once");
}

#[test]
fn a_check_run_of_one_node_keeps_when_it_ran() {
    let (_t, _site, app, mut nodes) = three(PLAYS);
    for node in &mut nodes {
        node.ask(&app);
        node.did(&app, RunResult::Ok, &[]);
    }
    let ended = |app: &App| app.view_converge().unwrap().stages[0].nodes[0].ended_at;
    let before = ended(&app);
    act(&app, ConvergeWhat::Check, Some("n1"));
    nodes[0].ask(&app);
    nodes[1].ask(&app);
    assert!(nodes[0].may_run() && !nodes[1].may_run());
    let applied = nodes[0].run.clone();
    nodes[0].did(&app, RunResult::Ok, &[]);
    nodes[0].run = applied;
    nodes[0].ask(&app);
    assert!(!nodes[0].may_run(), "asked once, checked once");
    assert_eq!(ended(&app), before);
}

#[test]
fn a_failing_check_is_an_event_and_holds_up_changes() {
    let (_t, site, app, mut nodes) = three(PLAYS);
    for node in &mut nodes {
        node.ask(&app);
        node.did(&app, RunResult::Ok, &[]);
    }
    nodes[2].checks = vec![GateCheck { name: "hello".into(), ok: false, detail: "does not answer".into() }];
    nodes[2].ask(&app);
    nodes[2].ask(&app);
    assert_eq!(events(&app, EventKind::CheckFailed), ["checks fail: hello (does not answer)"]);
    assert_eq!(stand(&app, "n3"), Stand::Unhealthy);
    put_payload(&site, "change");
    nodes[0].ask(&app);
    assert_eq!(nodes[0].closed(), ["available"]);
    nodes[2].checks[0].ok = true;
    nodes[2].ask(&app);
    assert_eq!(events(&app, EventKind::CheckPassed).len(), 1);
}

#[test]
fn certificates_are_issued_to_the_node_and_again_only_when_they_must_be() {
    let (_t, _site, app, mut nodes) = three("      plays: [etcd]\n      count: {min: 3, odd: true}\n");
    let answer = nodes[0].ask(&app);
    let issued = answer.certificates.unwrap().open(&app.site_key).unwrap();
    assert_eq!(issued.enrollment, nodes[0].id);
    let bundle = issued.open(&nodes[0].age).unwrap();
    assert!(issued.open(&nodes[1].age).is_err());
    assert_eq!(bundle.leaves.len(), 3);
    nodes[0].bundle = Some(HeldBundle { id: bundle.id, issued: bundle.issued });
    assert!(nodes[0].ask(&app).certificates.is_none());
    nodes[0].bundle = Some(HeldBundle { id: bundle.id, issued: 1 });
    assert!(nodes[0].ask(&app).certificates.is_some(), "old");
    nodes[0].bundle = Some(HeldBundle { id: Digest([0; 32]), issued: bundle.issued });
    assert!(nodes[0].ask(&app).certificates.is_some(), "other names");
    // The keys of the authorities, and that of service accounts, are sealed to the vault: a change of its key includes them.
    let vaulted = app.store.read(|tx| tx.vaulted()).unwrap();
    assert_eq!(vaulted.iter().filter(|(name, _)| name.starts_with("pki:")).count(), 6);
}

#[test]
fn members_that_vote_start_together_and_a_replaced_one_joins_alone() {
    let (_t, _site, app, mut nodes) = three("      plays: [etcd]\n      count: {min: 3, odd: true}\n");
    for node in &mut nodes {
        node.ask(&app);
        assert!(node.may_run());
    }
    nodes.iter_mut().for_each(|n| drop(n.did(&app, RunResult::Ok, &[])));
    let before = nodes[0].orders.clone().unwrap().run.unwrap().revision;
    let mut again = Node::with(Machine::new(9), "n2", &app, true);
    again.ask(&app);
    assert!(again.may_run());
    assert_eq!(again.orders.as_ref().unwrap().run.as_ref().unwrap().revision, before, "nothing changes for the others");
    nodes[0].ask(&app);
    assert!(!nodes[0].may_run());
}

#[test]
fn a_role_without_plays_converges_as_before() {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    let app = unsealed(&site, A);
    let mut node = Node::ready(1, &app);
    assert!(node.ask(&app).orders.is_none());
    assert_eq!(node.machine.report(&app, node.id, 9, ReportBody::ApplyDone { changed: 1, ok: 9 }).unwrap(), S::Converged);
}

#[test]
fn superseded_payloads_are_collected_but_not_those_that_nodes_run() {
    let (_t, site, app, mut nodes) = three(PLAYS);
    let first = app.store.read(|tx| tx.payload()).unwrap().unwrap();
    nodes[0].ask(&app);
    let others: Vec<Digest> = (0..5).map(|n| put_payload(&site, &format!("number {n}"))).collect();
    let unused = payloads::unused(&site, &site.open_store().unwrap()).unwrap();
    assert!(!unused.contains(&first) && !unused.contains(&others[4]));
    assert!(!unused.is_empty());
    assert!(resolve_all(&app.spec.spec.roles).contains_key("base") && Utf8Path::new(&site.payload(first)).is_dir());
}
