//! The host of each node: nodes of one role are spread over failure domains first and over hosts second, so that losing one of
//! either costs a role as little as possible. A node that exists stays where it is.

use std::collections::BTreeMap;

use cluster_seed::inventory::NodeSpec;
use cluster_seed::substrate::HostSpec;

/// The host of every node, as an index in `hosts`, in the order of `nodes`. `existing` are the hosts of nodes that exist. None: no host
/// is in the failure domain, or there are no hosts.
pub fn place(nodes: &[NodeSpec], hosts: &[HostSpec], existing: &BTreeMap<String, usize>) -> Vec<Option<usize>> {
    let mut placed: Vec<Option<usize>> = nodes.iter().map(|n| existing.get(n.name.value.as_str()).copied()).collect();
    // What is pinned counts before anything is chosen.
    for (node, place) in nodes.iter().zip(&mut placed).filter(|(_, p)| p.is_none()) {
        *place = node.host.as_ref().and_then(|h| hosts.iter().position(|host| host.name.value == h.value));
    }
    for n in 0..nodes.len() {
        if placed[n].is_none() {
            placed[n] = choose(&nodes[n], nodes, &placed, hosts);
        }
    }
    placed
}

fn domain(host: &HostSpec) -> &str {
    host.failure_domain.as_ref().map_or(host.name.value.as_str(), |d| d.value.as_str())
}

fn choose(node: &NodeSpec, nodes: &[NodeSpec], placed: &[Option<usize>], hosts: &[HostSpec]) -> Option<usize> {
    let labelled = hosts.iter().any(|h| h.failure_domain.is_some());
    let fits = |host: &&HostSpec| match &node.failure_domain {
        Some(wanted) if labelled => host.failure_domain.as_ref().is_some_and(|d| d.value == wanted.value),
        _ => true,
    };
    let on = |pick: &dyn Fn(usize) -> bool, role: bool| {
        let counts = |(other, place): &(&NodeSpec, &Option<usize>)| {
            place.is_some_and(pick) && (!role || other.role.value == node.role.value)
        };
        nodes.iter().zip(placed).filter(counts).count()
    };
    let memory = |at: usize| -> u64 {
        let here = nodes.iter().zip(placed).filter(|(_, p)| **p == Some(at));
        here.map(|(n, _)| u64::from(n.resources.memory_mib.value)).sum()
    };
    let rank = |at: usize| {
        let same_domain = |other: usize| hosts.get(other).is_some_and(|h| domain(h) == domain(&hosts[at]));
        (on(&same_domain, true), on(&|other| other == at, true), memory(at), at)
    };
    (0..hosts.len()).filter(|at| fits(&&hosts[*at])).min_by_key(|at| rank(*at))
}

#[cfg(test)]
mod tests {
    use cluster_seed::cluster::ClusterSpec;

    use super::*;

    /// Host of each node by name, as the example file with changed nodes and hosts says.
    fn placed(hosts: &str, nodes: &str, existing: &[(&str, usize)]) -> Vec<String> {
        let example = include_str!("../../../examples/cluster-16.yaml");
        let (before, _) = example.split_once("    hosts:\n").unwrap();
        let spec = ClusterSpec::parse(&format!("{before}    hosts: [{hosts}]\n  nodes: [{nodes}]\n")).unwrap().spec;
        let existing = existing.iter().map(|(n, at)| ((*n).to_owned(), *at)).collect();
        let hosts = spec.substrate.unwrap().hosts;
        let name = |at: Option<usize>| at.map_or("none".to_owned(), |n| hosts[n].name.value.to_string());
        place(&spec.nodes, &hosts, &existing).into_iter().map(name).collect()
    }

    const RACKS: &str = "{name: p1, failureDomain: a}, {name: p2, failureDomain: a}, {name: p3, failureDomain: b}";

    #[test]
    fn a_role_is_spread_over_failure_domains_then_hosts() {
        let nodes = "{name: e1, role: etcd}, {name: e2, role: etcd}, {name: e3, role: etcd}, {name: e4, role: etcd}";
        assert_eq!(placed(RACKS, nodes, &[]), ["p1", "p3", "p2", "p3"]);
        let other = "{name: e1, role: etcd}, {name: w1, role: worker}, {name: w2, role: worker}";
        assert_eq!(placed("{name: p1}, {name: p2}", other, &[]), ["p1", "p2", "p1"], "memory decides between equals");
    }

    #[test]
    fn a_failure_domain_and_a_host_are_obeyed() {
        let nodes = "{name: e1, role: etcd, failureDomain: b}, {name: e2, role: etcd, failureDomain: b}, \
            {name: e3, role: etcd, host: p2}, {name: e4, role: etcd, failureDomain: a}";
        assert_eq!(placed(RACKS, nodes, &[]), ["p3", "p3", "p2", "p1"]);
    }

    #[test]
    fn what_exists_stays_and_counts() {
        let nodes = "{name: e1, role: etcd}, {name: e2, role: etcd}";
        assert_eq!(placed(RACKS, nodes, &[("e2", 0)]), ["p3", "p1"]);
    }
}
