//! The site's convergence as the pages, the API and the command line show it.

use cluster_seed::converge::orders::RunReport;
use cluster_seed::converge::role::stages;
use cluster_seed::converge::stage::Decision;
use cluster_seed::seal::Sealed;
use converge::accept::{AcceptReport, Verdict};
use converge::fleet::Scene;
use site::setting;
use site::store::converge::Converging;
use web::api::{AcceptView, ApiError, BarrierView, ConvergeNode, ConvergeStage, ConvergeView, NodeCheck, RunView};

use super::super::App;

impl App {
    pub fn view_converge(&self) -> Result<ConvergeView, ApiError> {
        let (scene, accept) = self.store.read(|tx| Ok::<_, ApiError>((self.scene(tx)?, tx.setting(setting::ACCEPT_REPORT)?)))?;
        let report = accept.and_then(|text| serde_json::from_str::<Sealed<AcceptReport>>(&text).ok()?.open(&self.site_key).ok());
        Ok(ConvergeView { accept: report.as_ref().map(accepted), ..view(&scene) })
    }
}

/// Stages in order, each with its nodes.
pub fn view(scene: &Scene) -> ConvergeView {
    let fleet = scene.fleet();
    let stage = |name: &str| {
        let role = scene.roles.get(name)?;
        let nodes: Vec<ConvergeNode> = scene.nodes.iter().filter(|n| n.node.role == name).map(|n| node(scene, n)).collect();
        if role.included && nodes.is_empty() {
            return None;
        }
        let barrier = fleet.barrier(name);
        Some(ConvergeStage {
            role: name.to_owned(),
            plays: role.plays.clone(),
            after: role.after.iter().cloned().collect(),
            open: barrier.open,
            detail: barrier.detail,
            paused: scene.paused.all || scene.paused.roles.contains(name),
            revision: scene.targets.get(name).map(|t| t.revision),
            nodes,
            left_out: 0,
        })
    };
    ConvergeView {
        payload: scene.payload.map(|(id, _)| id),
        paused: scene.paused.all,
        stages: stages(&scene.roles).into_iter().filter_map(stage).collect(),
        accept: None,
    }
}

fn accepted(report: &AcceptReport) -> AcceptView {
    let check = |v: &Verdict| NodeCheck { name: v.name.clone(), ok: v.ok, detail: v.details.join("; ") };
    AcceptView { at: report.at, passed: report.passed(), checks: report.verdicts.iter().map(check).collect() }
}

fn node(scene: &Scene, n: &Converging) -> ConvergeNode {
    let barriers = match scene.decide(n) {
        Decision::Wait(barriers) => barriers.into_iter().filter(|b| !b.open).collect(),
        _ => Vec::new(),
    };
    let record = &n.record;
    ConvergeNode {
        enrollment: n.node.enrollment,
        hostname: n.node.hostname.to_string(),
        stand: scene.stand(&n.node.hostname),
        waits: barriers.into_iter().map(|b| BarrierView { name: b.name, detail: b.detail }).collect(),
        run: record.run.as_ref().map(run),
        ended_at: (record.ended_at > 0).then_some(record.ended_at),
        check: record.check.as_ref().map(run),
        checked_at: (record.checked_at > 0).then_some(record.checked_at),
        checks: record.checks.iter().map(|c| NodeCheck { name: c.name.clone(), ok: c.ok, detail: c.detail.clone() }).collect(),
        certificates: record.bundle.map(|b| b.issued),
        fetched: record.fetched,
        seen: (n.at > 0).then_some(n.at),
    }
}

fn run(r: &RunReport) -> RunView {
    RunView {
        revision: r.revision,
        attempt: r.attempt,
        result: r.result,
        play: r.play.clone(),
        task: r.task.clone(),
        ok: r.ok,
        changed: r.changed,
        why: r.why.clone(),
        seconds: r.seconds,
        would: r.would.clone(),
    }
}
