//! The mesh: what the flow agents of the nodes count, asked of the site's Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;

use host::clock::now;
use web::api::{ApiError, MeshDrop, MeshLink, MeshView, MeshViolation};

use super::PORT;
use super::prometheus::{Prometheus, Sample};
use crate::app::App;

/// Links that are passed on.
const MAX_LINKS: usize = 2000;
const COUNTING: &str = "min by (instance) (kubedos_flow_counting)";
const BYTES: &str = "sum by (instance, peer, plane, direction) (rate(kubedos_flow_bytes_total[5m])) > 0";
const RTT: &str = "sum by (instance, peer, plane) (rate(kubedos_flow_rtt_seconds_sum[5m])) \
                   / sum by (instance, peer, plane) (rate(kubedos_flow_rtt_seconds_count[5m]))";
const VIOLATIONS: &str = "max by (instance, peer, plane, protocol, port) (kubedos_flow_violation) > 0";
const DROPS: &str = "topk(50, sum by (instance, plane, reason) (increase(kubedos_flow_drops_total[1h])) > 0)";

impl App {
    /// What the first monitoring node that answers knows of the traffic between nodes.
    pub fn mesh(&self) -> Result<MeshView, ApiError> {
        let asked = self.first_monitor(|at: SocketAddrV4| {
            let prometheus = Prometheus::at(at);
            let [counting, bytes, rtt, violations, drops] = [COUNTING, BYTES, RTT, VIOLATIONS, DROPS].map(|q| prometheus.now(q));
            Ok(build(&counting?, &bytes?, &rtt?, &violations?, &drops?))
        })?;
        Ok(match asked {
            Ok((source, view)) => MeshView { source: Some(source), at: now(), ..view },
            Err(why) => MeshView { missing: Some(why), ..MeshView::default() },
        })
    }
}

fn build(counting: &[Sample], bytes: &[Sample], rtt: &[Sample], violations: &[Sample], drops: &[Sample]) -> MeshView {
    let counts: BTreeSet<&str> = counting.iter().filter(|s| s.value > 0.0).map(|s| s.label("instance")).collect();
    let times: BTreeMap<_, f64> =
        rtt.iter().map(|s| ((s.label("plane"), s.label("instance"), s.label("peer")), s.value)).collect();
    let mut links: Vec<MeshLink> = bytes.iter().filter_map(|s| link(s, &counts, &times)).collect();
    links.sort_by(|a, b| b.bytes_per_second.total_cmp(&a.bytes_per_second).then_with(|| (&a.from, &a.to).cmp(&(&b.from, &b.to))));
    let ends = links.iter().flat_map(|l| [l.from.clone(), l.to.clone()]);
    let nodes: BTreeSet<String> = ends.chain(counts.iter().map(|n| (*n).to_owned())).collect();
    let left_out = links.len().saturating_sub(MAX_LINKS);
    links.truncate(MAX_LINKS);
    let text = |s: &Sample, label: &str| s.label(label).to_owned();
    let mut found: Vec<MeshViolation> = violations
        .iter()
        .map(|s| MeshViolation {
            node: text(s, "instance"),
            peer: text(s, "peer"),
            plane: text(s, "plane"),
            protocol: text(s, "protocol"),
            port: text(s, "port"),
        })
        .collect();
    found.sort();
    let drop =
        |s: &Sample| MeshDrop { node: text(s, "instance"), plane: text(s, "plane"), reason: text(s, "reason"), packets: s.value };
    let mut dropped: Vec<MeshDrop> = drops.iter().map(drop).collect();
    dropped.sort_by(|a, b| b.packets.total_cmp(&a.packets).then_with(|| (&a.node, &a.reason).cmp(&(&b.node, &b.reason))));
    let blind = counting.iter().filter(|s| s.value <= 0.0).map(|s| text(s, "instance")).collect();
    MeshView {
        nodes: nodes.into_iter().collect(),
        links,
        violations: found,
        drops: dropped,
        blind,
        left_out,
        ..MeshView::default()
    }
}

/// What a node sends. What it receives is counted by the sender, if that has a flow agent.
fn link(sample: &Sample, counts: &BTreeSet<&str>, times: &BTreeMap<(&str, &str, &str), f64>) -> Option<MeshLink> {
    let (node, peer, plane) = (sample.label("instance"), sample.label("peer"), sample.label("plane"));
    let (from, to) = match sample.label("direction") {
        "out" => (node, peer),
        _ if counts.contains(peer) => return None,
        _ => (peer, node),
    };
    Some(MeshLink {
        plane: plane.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        bytes_per_second: sample.value,
        rtt: times.get(&(plane, node, peer)).copied(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(labels: &[(&str, &str)], value: f64) -> Sample {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Sample { labels, value }
    }

    fn bytes(instance: &str, peer: &str, direction: &str, value: f64) -> Sample {
        sample(&[("instance", instance), ("peer", peer), ("plane", "wg3"), ("direction", direction)], value)
    }

    #[test]
    fn traffic_between_two_agents_is_counted_once() {
        let counting = [sample(&[("instance", "a")], 1.0), sample(&[("instance", "b")], 1.0), sample(&[("instance", "c")], 0.0)];
        let flows = [
            bytes("a", "b", "out", 10.0),
            bytes("b", "a", "in", 10.0),
            bytes("b", "a", "out", 3.0),
            bytes("a", "seed", "in", 7.0),
            bytes("a", "c", "in", 2.0),
        ];
        let rtt = [sample(&[("instance", "a"), ("peer", "b"), ("plane", "wg3")], 0.002)];
        let view = build(&counting, &flows, &rtt, &[], &[]);
        let seen: Vec<_> = view.links.iter().map(|l| (l.from.as_str(), l.to.as_str(), l.bytes_per_second, l.rtt)).collect();
        assert_eq!(seen, [("a", "b", 10.0, Some(0.002)), ("seed", "a", 7.0, None), ("b", "a", 3.0, None), ("c", "a", 2.0, None)]);
        assert_eq!(view.nodes, ["a", "b", "c", "seed"]);
        assert_eq!(view.blind, ["c"]);
    }

    #[test]
    fn links_are_bounded() {
        let flows: Vec<Sample> = (0..MAX_LINKS + 5).map(|n| bytes("a", &format!("p{n}"), "out", n as f64)).collect();
        let view = build(&[], &flows, &[], &[], &[]);
        assert_eq!((view.links.len(), view.left_out, view.links[0].bytes_per_second), (MAX_LINKS, 5, (MAX_LINKS + 4) as f64));
    }
}
