//! Convergence, as operators see it.

use std::collections::BTreeSet;

use cluster_seed::converge::orders::RunResult;
use cluster_seed::converge::stage::Stand;
use cluster_seed::ids::{Digest, EnrollmentId};
use serde::{Deserialize, Serialize};

/// HTTP shape of `GET /api/v1/converge`: the stages of a site in the order in which a change reaches them.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ConvergeView {
    /// The payload in use.
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Sha256Hex>"))]
    pub payload: Option<Digest>,
    pub paused: bool,
    pub stages: Vec<ConvergeStage>,
    /// The newest report of `seedd accept`.
    pub accept: Option<AcceptView>,
}

/// A report of `seedd accept`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AcceptView {
    /// Unix seconds.
    pub at: u64,
    pub passed: bool,
    pub checks: Vec<NodeCheck>,
}

/// A role.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ConvergeStage {
    pub role: String,
    pub plays: Vec<String>,
    pub after: Vec<String>,
    /// Roles after it may start.
    pub open: bool,
    /// For example `2 of 3 healthy`.
    pub detail: String,
    pub paused: bool,
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Sha256Hex>"))]
    pub revision: Option<Digest>,
    pub nodes: Vec<ConvergeNode>,
    /// Nodes that are not in `nodes`, because others need attention more.
    pub left_out: usize,
}

impl ConvergeView {
    /// Leaves out all nodes but `most`: those stay that need attention most.
    pub(crate) fn shortened(mut self, most: usize) -> Self {
        let need = |stand| match stand {
            Stand::Failed | Stand::Unhealthy | Stand::Silent => 0,
            Stand::Running | Stand::Waiting | Stand::Outdated => 1,
            Stand::Nothing | Stand::Converged => 2,
        };
        let all = self
            .stages
            .iter()
            .enumerate()
            .flat_map(|(stage, s)| s.nodes.iter().enumerate().map(move |(n, node)| (node.stand, stage, n)));
        let mut order: Vec<_> = all.map(|(stand, stage, n)| (need(stand), stage, n)).collect();
        order.sort_unstable();
        let kept: BTreeSet<(usize, usize)> = order.into_iter().take(most).map(|(_, stage, n)| (stage, n)).collect();
        for (stage, s) in self.stages.iter_mut().enumerate() {
            let before = s.nodes.len();
            let nodes = std::mem::take(&mut s.nodes).into_iter().enumerate();
            s.nodes = nodes.filter(|(n, _)| kept.contains(&(stage, *n))).map(|(_, node)| node).collect();
            s.left_out += before - s.nodes.len();
        }
        self
    }
}

#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ConvergeNode {
    #[cfg_attr(test, schemars(with = "crate::schema::EnrollmentNumber"))]
    pub enrollment: EnrollmentId,
    pub hostname: String,
    #[serde(rename = "state")]
    #[cfg_attr(test, schemars(with = "crate::schema::Stand"))]
    pub stand: Stand,
    pub waits: Vec<BarrierView>,
    pub run: Option<RunView>,
    /// Unix seconds.
    pub ended_at: Option<u64>,
    pub check: Option<RunView>,
    pub checked_at: Option<u64>,
    pub checks: Vec<NodeCheck>,
    /// When its certificates were issued, in Unix seconds.
    pub certificates: Option<u64>,
    /// Bytes of payload that it fetched.
    pub fetched: u64,
    /// Unix seconds of its last message.
    pub seen: Option<u64>,
}

#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct BarrierView {
    pub name: String,
    pub detail: String,
}

#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RunView {
    #[cfg_attr(test, schemars(with = "crate::schema::Sha256Hex"))]
    pub revision: Digest,
    pub attempt: u64,
    #[cfg_attr(test, schemars(with = "crate::schema::RunResult"))]
    pub result: RunResult,
    pub play: String,
    pub task: String,
    pub ok: u32,
    pub changed: u32,
    pub why: String,
    pub seconds: u64,
    pub would: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeCheck {
    pub name: String,
    pub ok: bool,
    pub detail: String,
}

/// What an operator wants to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ConvergeWhat {
    /// Run the plays again.
    Run,
    /// Ansible's check mode.
    Check,
    Pause,
    Resume,
}

/// HTTP shape of `POST /api/v1/converge`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConvergeAct {
    pub what: ConvergeWhat,
    /// Only this role.
    #[serde(default)]
    pub role: Option<String>,
    /// Only this node.
    #[serde(default)]
    pub node: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::converge::converging;

    #[test]
    fn nodes_that_need_attention_are_shown_first() {
        let all = converging("");
        let count = |view: &ConvergeView| view.stages.iter().map(|s| s.nodes.len()).sum::<usize>();
        let total = count(&all);
        for most in [0, 1, total - 1, total, total + 1] {
            let short = all.clone().shortened(most);
            assert_eq!(count(&short), most.min(total));
            assert_eq!(short.stages.iter().map(|s| s.left_out).sum::<usize>(), total - most.min(total));
            assert_eq!(short.stages.len(), all.stages.len(), "a stage without its nodes stays");
        }
        let one = all.shortened(1);
        let kept = one.stages.iter().flat_map(|s| &s.nodes).next().unwrap();
        assert_eq!(kept.stand, Stand::Failed);
    }
}
