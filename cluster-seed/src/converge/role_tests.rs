use super::*;
use crate::cluster::ClusterSpec;

fn spec(roles: &str) -> Result<ClusterSpec, SpecError> {
    ClusterSpec::parse(&format!(
        "apiVersion: kubedos/v1alpha1
kind: Cluster
metadata: {{name: site-a}}
spec:
  networking:
    domain: kubedos.lan
    underlay: {{subnet: 10.44.0.0/24, seed: 10.44.0.1, pool: {{first: 10.44.0.100, last: 10.44.0.199}}}}
    planes: {{wg1: {{cidr: 10.78.0.0/16, port: 51821}}}}
  darksite: {{suite: trixie}}
  roles:
{roles}"
    ))
}

#[test]
fn a_role_gets_what_it_includes_first() {
    let spec = spec(
        "    common: {packages: [tree], plays: [exporters, site_time], vars: {a: 1, b: [x]}}
    etcd: {includes: [common], plays: [etcd, exporters], vars: {a: 2}, count: {min: 3, odd: true}}
    lb: {includes: [common], plays: [loadbalancer], after: [etcd], vars: {lb_vip_wg3: 10.80.255.1}, serial: 2}\n",
    )
    .unwrap();
    let etcd = resolve(&spec.spec.roles, "etcd").unwrap();
    assert_eq!(etcd.plays, ["exporters", "site_time", "etcd"]);
    assert_eq!(etcd.packages, ["tree", "prometheus-node-exporter", "etcd-server", "etcd-client"]);
    assert_eq!((&etcd.vars["a"], &etcd.vars["b"]), (&Value::from(2), &serde_json::json!(["x"])));
    assert_eq!((etcd.serial, etcd.count), (1, Count { min: 3, odd: true }));
    let lb = resolve(&spec.spec.roles, "lb").unwrap();
    assert_eq!((lb.serial, lb.max_unavailable), (2, 1));
    assert!(lb.after.contains("etcd") && lb.certificates().len() == 2);
    assert!(resolve(&spec.spec.roles, "common").unwrap().included && !lb.included && !etcd.included);
    assert_eq!(resolve(&spec.spec.roles, "none"), None);
}

#[test]
fn contradictions_are_refused_where_they_stand() {
    for (roles, place, said) in [
        ("    a: {includes: [b]}\n", Some((11, 20)), "includes names \"b\", which is not a role"),
        ("    a: {after: [a]}\n", Some((11, 17)), "names the role itself"),
        ("    a: {after: [b]}\n    b: {after: [a]}\n", None, "after leads back to a"),
        ("    a: {includes: [b]}\n    b: {includes: [c]}\n    c: {includes: [b]}\n", None, "includes leads back to b"),
        ("    a: {plays: [\"../x\"]}\n", Some((11, 17)), "is not the name of a play"),
        ("    a: {plays: [etcd, etcd]}\n", Some((11, 17)), "listed twice"),
        ("    a: {serial: 0}\n", Some((11, 17)), "serial is 0"),
        ("    a: {maxUnavailable: 9999}\n", None, "maxUnavailable is 9999"),
        ("    a: {count: {min: 4, odd: true}}\n", None, "asks for an odd number"),
        ("    a: {count: {min: 0}}\n", None, "count.min is 0"),
        ("    a: {vars: {ansible_host: x}}\n", None, "not the name of a variable"),
        ("    a: {vars: {\"a b\": x}}\n", None, "not the name of a variable"),
        ("    a: {plays: [loadbalancer]}\n", Some((11, 17)), "needs the variable lb_vip_wg3"),
        ("    a: {plays: [loadbalancer], vars: {lb_vip_wg3: high}}\n", None, "not an IPv4 address"),
        ("    a: {plays: [worker]}\n", Some((11, 17)), "the play worker needs the play containers"),
        ("    a: {plays: [worker, containers, vip]}\n", None, "the play worker needs the play containers"),
        ("    a: {plays: [containers, controlplane]}\n", None, "the play controlplane needs the play vip"),
        ("    a: {plays: [containers, vip, worker]}\n", None, "needs the variable lb_vip_wg3"),
        ("    seed: {}\n", None, "the seed's own"),
        ("    A: {}\n", None, "not a label"),
    ] {
        let error = spec(roles).unwrap_err();
        assert!(error.message.contains(said), "{roles}: {error}");
        if let Some((line, column)) = place {
            assert_eq!((error.line, error.column), (line, column), "{roles}: {error}");
        }
    }
}

#[test]
fn variables_have_a_limit() {
    let role = |n: usize| format!("    a: {{vars: {{v: \"{}\"}}}}\n", "x".repeat(n));
    let overhead = r#"{"v":""}"#.len();
    assert!(spec(&role(MAX_VARS - overhead)).is_ok());
    assert!(spec(&role(MAX_VARS - overhead + 1)).unwrap_err().message.contains("more than"));
}
