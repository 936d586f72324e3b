//! Nodes of Kubernetes: ranges of pods in the peer list, certificates, and load balancers that know the control planes.

use cluster_seed::converge::platform::Authority;
use cluster_seed::ids::Hostname;
use cluster_seed::peers::PeersFile;
use seedd::app::App;

use crate::converge::{Node, PLAYS, site_with};
use crate::support::sites::*;

const CONTROL: &str = "      plays: [containers, loadbalancer, controlplane]\n      vars: {lb_vip_wg3: 10.80.255.1}\n";
/// A load balancer, and a role of control planes that comes after it.
const BALANCER: &str = "      plays: [loadbalancer]\n      vars: {lb_vip_wg3: 10.80.255.1}\n    control:\n      \
                        plays: [containers, vip, controlplane]\n      vars: {lb_vip_wg3: 10.80.255.1}\n      after: [base]\n";

fn list(app: &App) -> PeersFile {
    app.signed_peers().unwrap().open(&app.site_key).unwrap()
}

#[test]
fn pods_have_the_range_of_their_nodes_number_in_the_peer_list() {
    let t = temp();
    let app = unsealed(&site_with(&t, CONTROL), A);
    let _nodes: Vec<Node> = (1..=2).map(|n| Node::ready(n, &app)).collect();
    let list = list(&app);
    let pods = list.pods.as_ref().unwrap();
    assert_eq!((pods.cidr.to_string().as_str(), pods.services.to_string().as_str()), ("10.244.0.0/16", "10.96.0.0/16"));
    assert_eq!(pods.nodes.len(), 2, "the seed has none");
    for (name, range) in &pods.nodes {
        let number = list.nodes[name].addresses[&pods.plane].octets()[3];
        assert_eq!(range.to_string(), format!("10.244.{number}.0/24"));
    }
    let n1: Hostname = "n1.kubedos.lan".parse().unwrap();
    let peers = list.plane_peers(&pods.plane, &n1);
    assert_eq!(peers.iter().filter_map(|p| p.pods).count(), 1, "the other node's");
}

#[test]
fn a_site_without_kubernetes_has_the_peer_list_of_before() {
    let t = temp();
    let app = unsealed(&site_with(&t, PLAYS), A);
    Node::ready(1, &app);
    assert_eq!(list(&app).pods, None);
}

#[test]
fn a_control_plane_gets_the_certificates_of_its_parts() {
    let t = temp();
    let app = unsealed(&site_with(&t, CONTROL), A);
    let mut node = Node::ready(1, &app);
    let sealed = node.ask(&app).certificates.unwrap();
    let bundle = sealed.open(&app.site_key).unwrap().open(&node.age).unwrap();
    let names: Vec<String> = bundle.leaves.iter().map(|l| format!("{}/{}", l.authority.as_str(), l.name)).collect();
    for wanted in ["kubernetes/apiserver", "kubernetes/service-accounts", "front-proxy/front-proxy-client", "etcd/client"] {
        assert!(names.iter().any(|n| n == wanted), "{wanted}: {names:?}");
    }
    let authorities: Vec<Authority> = bundle.authorities.keys().copied().collect();
    assert_eq!(authorities, [Authority::Etcd, Authority::Kubernetes, Authority::FrontProxy, Authority::Services]);
    let run = node.orders.as_ref().unwrap().run.clone().unwrap();
    assert_eq!(run.groups["controlplane"].len(), 1);
}

#[test]
fn a_load_balancer_knows_the_control_planes_that_come_after_it() {
    let t = temp();
    let app = unsealed(&site_with(&t, BALANCER), A);
    let mut node = Node::ready(1, &app);
    node.ask(&app);
    let run = node.orders.as_ref().unwrap().run.clone().unwrap();
    assert!(run.groups.contains_key("controlplane") && !run.groups.contains_key("worker"), "{:?}", run.groups.keys());
    assert!(!run.groups.contains_key("control"), "by its play, not by its role");
}
