use proptest::prelude::*;

use super::*;
use crate::converge::role::{Count, stages};
use crate::ids::Digest;

const NOW: u64 = 10_000;

fn role(name: &str, after: &[&str], min: u32, odd: bool) -> (String, Resolved) {
    let resolved = Resolved {
        name: name.to_owned(),
        description: String::new(),
        packages: Vec::new(),
        plays: vec!["p".to_owned()],
        vars: BTreeMap::new(),
        after: after.iter().map(|a| (*a).to_owned()).collect(),
        serial: 1,
        max_unavailable: 1,
        count: Count { min, odd },
        included: false,
    };
    (name.to_owned(), resolved)
}

fn target(n: u8) -> Target {
    Target { revision: Digest([n; 32]), attempt: 0 }
}

struct World {
    roles: BTreeMap<String, Resolved>,
    targets: BTreeMap<String, Target>,
    nodes: Vec<NodeView>,
    paused: Paused,
}

impl World {
    fn new(roles: Vec<(String, Resolved)>, nodes: &[(&str, &str)]) -> Self {
        let roles: BTreeMap<_, _> = roles.into_iter().collect();
        let targets = roles.keys().map(|r| (r.clone(), target(1))).collect();
        let node = |(name, role): &(&str, &str)| NodeView {
            name: name.parse().unwrap(),
            role: (*role).to_owned(),
            ready: true,
            granted: None,
            ran: None,
            converged: false,
            healthy: false,
            seen: NOW,
        };
        World { roles, targets, nodes: nodes.iter().map(node).collect(), paused: Paused::default() }
    }

    fn of<T>(&self, ask: impl FnOnce(Fleet<'_>) -> T) -> T {
        let survey = Survey::of(&self.roles, &self.targets, &self.nodes, NOW);
        ask(Fleet {
            roles: &self.roles,
            targets: &self.targets,
            nodes: &self.nodes,
            survey: &survey,
            paused: &self.paused,
            now: NOW,
        })
    }

    fn decide(&self, name: &str) -> Decision {
        self.of(|fleet| fleet.decide(&name.parse().unwrap()))
    }

    fn stand(&self, name: &str) -> Stand {
        self.of(|fleet| fleet.stand(&name.parse().unwrap()))
    }

    fn goes(&self, name: &str) -> bool {
        self.decide(name) == Decision::Go
    }

    fn waits_for(&self, name: &str) -> Vec<String> {
        match self.decide(name) {
            Decision::Wait(barriers) => barriers.into_iter().filter(|b| !b.open).map(|b| b.name).collect(),
            other => panic!("{name}: {other:?}"),
        }
    }

    fn node(&mut self, name: &str) -> &mut NodeView {
        self.nodes.iter_mut().find(|n| n.name.as_str() == name).unwrap()
    }

    fn grant(&mut self, name: &str) {
        assert_eq!(self.decide(name), Decision::Go, "{name}");
        let role = self.node(name).role.clone();
        let goal = self.targets[&role];
        self.node(name).granted = Some(goal);
    }

    fn finish(&mut self, name: &str, result: RunResult) {
        let role = self.node(name).role.clone();
        let goal = self.targets[&role];
        let node = self.node(name);
        node.granted = Some(goal);
        node.ran = Some((goal, result));
        node.converged |= result == RunResult::Ok;
        node.healthy = node.converged;
    }
}

fn three_and_lb() -> World {
    World::new(
        vec![role("etcd", &[], 3, true), role("lb", &["etcd"], 1, false)],
        &[("e1", "etcd"), ("e2", "etcd"), ("e3", "etcd"), ("l1", "lb")],
    )
}

#[test]
fn first_members_start_together_once_there_are_enough() {
    let mut w = three_and_lb();
    w.node("e3").ready = false;
    assert_eq!(w.waits_for("e1"), ["count"]);
    w.node("e3").ready = true;
    for name in ["e1", "e2", "e3"] {
        w.grant(name);
        assert_eq!(w.decide(name), Decision::Running);
    }
    assert_eq!(w.waits_for("l1"), ["etcd"]);
    w.finish("e1", RunResult::Ok);
    w.finish("e2", RunResult::Ok);
    assert_eq!(w.of(|fleet| fleet.barrier("etcd").detail), "2 of 3 healthy");
    assert!(!w.goes("l1"));
    w.finish("e3", RunResult::Ok);
    assert!(w.goes("l1"));
    assert_eq!(w.decide("e1"), Decision::Done);
}

#[test]
fn an_even_number_of_voters_waits() {
    let mut w = three_and_lb();
    let mut fourth = w.node("e1").clone();
    fourth.name = "e4".parse().unwrap();
    w.nodes.push(fourth);
    assert_eq!(w.waits_for("e4"), ["count"]);
}

#[test]
fn later_members_join_one_at_a_time() {
    let mut w = three_and_lb();
    for name in ["e1", "e2", "e3"] {
        w.finish(name, RunResult::Ok);
    }
    for name in ["e4", "e5"] {
        let mut new = w.node("l1").clone();
        (new.name, new.role) = (name.parse().unwrap(), "etcd".to_owned());
        w.nodes.push(new);
    }
    w.grant("e4");
    assert_eq!(w.waits_for("e5"), ["turn"]);
    w.finish("e4", RunResult::Ok);
    assert!(w.goes("e5"));
}

fn converged() -> World {
    let mut w = three_and_lb();
    for name in ["e1", "e2", "e3", "l1"] {
        w.finish(name, RunResult::Ok);
    }
    for goal in w.targets.values_mut() {
        *goal = target(2);
    }
    w
}

#[test]
fn a_change_goes_role_by_role_and_node_by_node() {
    let mut w = converged();
    assert_eq!(w.stand("e1"), Stand::Outdated);
    assert_eq!(w.waits_for("l1"), ["etcd"]);
    w.grant("e1");
    assert_eq!(w.waits_for("e2"), ["turn"]);
    w.finish("e1", RunResult::Ok);
    w.grant("e2");
    w.finish("e2", RunResult::Ok);
    w.grant("e3");
    assert_eq!(w.waits_for("l1"), ["etcd"]);
    w.finish("e3", RunResult::Ok);
    assert!(w.goes("l1"));
}

#[test]
fn a_node_that_runs_what_was_the_target_before_keeps_its_turn() {
    let mut w = converged();
    w.grant("e1");
    for goal in w.targets.values_mut() {
        *goal = target(3);
    }
    assert_eq!(w.waits_for("e2"), ["turn"], "e1 still runs the change before");
    w.node("e1").ran = Some((target(2), RunResult::Ok));
    w.grant("e2");
    assert_eq!(w.waits_for("e1"), ["turn"]);
}

#[test]
fn what_a_node_waits_for_is_said_in_words() {
    let mut w = three_and_lb();
    let said = |w: &World, name: &str| match w.decide(name) {
        Decision::Wait(barriers) => barriers.into_iter().filter(|b| !b.open).map(|b| b.detail).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(said(&w, "l1"), ["etcd: 0 of 3 healthy"]);
    w.node("e1").ready = false;
    assert_eq!(said(&w, "e2"), ["2 of at least 3 nodes of the role are ready"]);
    w.paused.all = true;
    assert_eq!(said(&w, "e2")[0], "paused by an operator");
}

#[test]
fn a_failure_stops_every_change_and_another_attempt_goes_on() {
    let mut w = converged();
    w.grant("e1");
    w.finish("e1", RunResult::Failed);
    assert_eq!(w.decide("e1"), Decision::Failed);
    assert!(w.waits_for("e2").contains(&"stopped".to_owned()));
    assert!(w.waits_for("l1").contains(&"stopped".to_owned()));
    for goal in w.targets.values_mut() {
        goal.attempt += 1;
    }
    assert!(w.goes("e1"));
}

#[test]
fn a_node_is_not_stopped_by_its_own_failure_but_names_that_of_another() {
    let mut w = converged();
    let said = |w: &World, name: &str| match w.decide(name) {
        Decision::Wait(barriers) => barriers.into_iter().find(|b| b.name == "stopped").map(|b| b.detail),
        _ => None,
    };
    w.finish("e2", RunResult::Failed);
    assert_eq!(said(&w, "e1").as_deref(), Some("the roll-out has stopped: e2 failed"));
    w.finish("e3", RunResult::Failed);
    assert_eq!(said(&w, "l1").as_deref(), Some("the roll-out has stopped: e2 failed"), "the first of several");
    // Another run of the role's change was asked for; e2 has not made it, and its own old failure is not at the target.
    w.targets.get_mut("etcd").unwrap().attempt += 1;
    assert_eq!(said(&w, "e2"), None);
}

#[test]
fn a_failure_of_another_branch_does_not_keep_a_new_node_from_joining() {
    let mut w = World::new(vec![role("a", &[], 1, false), role("b", &[], 1, false)], &[("a1", "a"), ("b1", "b"), ("b2", "b")]);
    w.finish("a1", RunResult::Failed);
    assert!(w.goes("b1"));
    w.finish("b1", RunResult::Failed);
    assert!(w.waits_for("b2").contains(&"stopped".to_owned()));
}

#[test]
fn a_change_waits_for_the_health_of_the_others_but_reaches_the_ill() {
    let mut w = converged();
    w.node("e3").healthy = false;
    assert_eq!(w.waits_for("e1"), ["available"]);
    assert!(w.goes("e3"), "the change may be what it needs");
    w.node("e3").seen = 0;
    assert_eq!(w.stand("e3"), Stand::Silent);
}

#[test]
fn paused_means_paused_and_a_running_node_finishes() {
    let mut w = converged();
    w.grant("e1");
    w.paused.roles.insert("etcd".to_owned());
    assert_eq!(w.decide("e1"), Decision::Running);
    assert!(w.waits_for("e2").contains(&"paused".to_owned()));
    w.paused = Paused { all: true, roles: BTreeSet::new() };
    assert!(w.waits_for("l1").contains(&"paused".to_owned()));
}

#[test]
fn a_role_without_plays_has_nothing_to_do_and_holds_nobody_up() {
    let mut w = three_and_lb();
    w.roles.get_mut("etcd").unwrap().plays.clear();
    assert_eq!(w.decide("e1"), Decision::Done);
    assert_eq!(w.stand("e1"), Stand::Nothing);
    assert!(w.goes("l1"));
}

#[test]
fn stages_follow_what_comes_before() {
    let roles: BTreeMap<_, _> =
        [role("a", &["z"], 1, false), role("b", &[], 1, false), role("z", &[], 1, false)].into_iter().collect();
    assert_eq!(stages(&roles), ["b", "z", "a"]);
}

proptest! {
    /// Whatever happens, at most `serial` nodes of a role that has converged run a change at once, and every change ends.
    #[test]
    fn changes_keep_their_limit_and_end(order in prop::collection::vec(0usize..4, 1..40), serial in 1u32..3) {
        let mut w = converged();
        w.roles.values_mut().for_each(|r| r.serial = serial);
        let names = ["e1", "e2", "e3", "l1"];
        let step = |w: &mut World, name: &str| {
            match w.decide(name) {
                Decision::Go => w.grant(name),
                Decision::Running => w.finish(name, RunResult::Ok),
                _ => {}
            }
            let running = w.nodes.iter().filter(|n| n.role == "etcd" && n.granted == Some(target(2)) && !n.has(target(2), RunResult::Ok)).count();
            assert!(running <= serial as usize);
        };
        order.iter().for_each(|i| step(&mut w, names[*i]));
        for _ in 0..8 {
            names.iter().for_each(|name| step(&mut w, name));
        }
        prop_assert!(names.iter().all(|name| w.decide(name) == Decision::Done));
    }
}
