//! `seedd proxmox plan --offline` on the reference fleet, as an operator runs it before there is a site.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use camino::Utf8Path;
use cluster_seed::cluster::ClusterSpec;
use serde_json::Value;

use crate::support::sites::temp;

#[path = "../../../tests/shared/golden.rs"]
mod golden;

const SIXTEEN: &str = include_str!("../../../examples/cluster-16.yaml");

fn plan(data: &Utf8Path, more: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seedd"));
    let out = command.args(["proxmox", "plan", "--offline", "--data", data.as_str()]).args(more).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn the_plan_of_the_reference_fleet_needs_cluster_yaml_and_nothing_else() {
    let dir = temp();
    fs::write(dir.path.join("cluster.yaml"), SIXTEEN).unwrap();
    golden::check("tests/golden/proxmox-plan.txt", &plan(&dir.path, &[]));
    assert_eq!(fs::read_dir(&dir.path).unwrap().count(), 1, "nothing was written");
    let plan: Value = serde_json::from_str(&plan(&dir.path, &["--json"])).unwrap();
    let (spec, entries) = (ClusterSpec::parse(SIXTEEN).unwrap().spec, plan["entries"].as_array().unwrap());
    let mut numbers = BTreeSet::new();
    for (entry, node) in entries.iter().zip(&spec.nodes) {
        let vm = entry;
        assert_eq!((vm["action"].as_str(), vm["node"].as_str()), (Some("create"), Some(node.name.value.as_str())));
        assert!(numbers.insert(vm["vmid"].as_u64()), "a number is used twice: {vm}");
        let planned = node.nics.first().and_then(|n| n.address.as_ref()).map(|a| a.value.to_string());
        assert_eq!(vm["nics"][0]["address"].as_str(), planned.as_deref(), "{vm}");
        let sizes: Vec<Option<u64>> = node.disks.iter().map(|d| Some(u64::from(d.size_gib.value))).collect();
        let made: Vec<Option<u64>> = vm["disks"].as_array().unwrap().iter().map(|d| d["sizeGiB"].as_u64()).collect();
        assert!(made == sizes || sizes.is_empty() && made == [Some(32)], "{vm}");
    }
    assert_eq!((entries.len(), numbers.len()), (16, 16));
    // A rack can be lost: no two members of a quorum are on one host.
    for role in ["etcd", "control-plane", "load-balancer"] {
        let hosts: Vec<&str> = entries.iter().filter(|e| e["role"] == role).filter_map(|e| e["host"].as_str()).collect();
        assert_eq!((hosts.len(), hosts.iter().collect::<BTreeSet<_>>().len()), (3, 3), "{role}");
    }
}
