//! A site that converges, for the mock.

use cluster_seed::converge::orders::RunResult;
use cluster_seed::converge::stage::Stand;
use cluster_seed::ids::{Digest, EnrollmentId};

use crate::api::{AcceptView, BarrierView, ConvergeNode, ConvergeStage, ConvergeView, NodeCheck, RunView};

fn run(result: RunResult, task: &str, why: &str) -> RunView {
    RunView {
        revision: Digest([7; 32]),
        attempt: 0,
        result,
        play: "etcd".to_owned(),
        task: task.to_owned(),
        ok: 6,
        changed: 2,
        why: why.to_owned(),
        seconds: 74,
        would: Vec::new(),
    }
}

fn node(n: u8, name: &str, stand: Stand) -> ConvergeNode {
    ConvergeNode {
        enrollment: EnrollmentId([n; 16]),
        hostname: format!("{name}.kubedos.lan"),
        stand,
        waits: Vec::new(),
        run: None,
        ended_at: None,
        check: None,
        checked_at: None,
        checks: Vec::new(),
        certificates: None,
        fetched: 0,
        seen: Some(1_763_800_000),
    }
}

fn stage(role: &str, plays: &[&str], after: &[&str], nodes: Vec<ConvergeNode>) -> ConvergeStage {
    ConvergeStage {
        role: role.to_owned(),
        plays: plays.iter().map(|p| (*p).to_owned()).collect(),
        after: after.iter().map(|a| (*a).to_owned()).collect(),
        open: false,
        detail: format!("{} of {} healthy", nodes.iter().filter(|n| n.stand == Stand::Converged).count(), nodes.len()),
        paused: false,
        revision: Some(Digest([7; 32])),
        nodes,
        left_out: 0,
    }
}

/// Three members of etcd, one of which failed, and a load balancer that waits for them.
///
/// `spice` is appended to every text from outside.
pub fn converging(spice: &str) -> ConvergeView {
    let check =
        |name: &str, ok, detail: &str| NodeCheck { name: format!("{name}{spice}"), ok, detail: format!("{detail}{spice}") };
    let mut good = node(1, "etcd-1", Stand::Converged);
    good.run = Some(run(RunResult::Ok, "", ""));
    good.ended_at = Some(1_763_799_000);
    good.checks = vec![check("etcd", true, "3 members, healthy, leader etcd-1"), check("time", true, "0.2 ms from the seed")];
    let mut going = node(2, "etcd-2", Stand::Running);
    going.run = Some(run(RunResult::Running, "etcd: configuration and service", ""));
    let mut bad = node(3, "etcd-3", Stand::Failed);
    let why = format!("etcd did not answer within 600 s: bind: address already in use{spice}");
    bad.run = Some(run(RunResult::Failed, &format!("etcd: configuration and service{spice}"), &why));
    let mut waits = node(4, "lb-1", Stand::Waiting);
    waits.waits = vec![BarrierView { name: "etcd".to_owned(), detail: "etcd: 1 of 3 healthy".to_owned() }];
    ConvergeView {
        payload: Some(Digest([9; 32])),
        paused: false,
        accept: Some(AcceptView {
            at: 1_763_790_000,
            passed: false,
            checks: vec![check("converged", true, "4 nodes"), check("etcd", false, "etcd-3: etcd: does not answer")],
        }),
        stages: vec![
            stage("etcd", &["exporters", "etcd"], &[], vec![good, going, bad]),
            stage("loadbalancer", &["exporters", "loadbalancer"], &["etcd"], vec![waits]),
        ],
    }
}
