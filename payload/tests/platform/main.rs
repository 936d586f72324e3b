//! The plays of the platform: `test_*.py` beside this file, run by Python's unittest with the real programs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cluster_seed::cluster::ClusterSpec;
use cluster_seed::converge::platform::{INCLUDED, PLAYS};
use cluster_seed::converge::role::resolve_all;
use host::programs::find_program;
use host::tool::Tool;

/// For a machine that is busy with other builds.
const LONG: Duration = Duration::from_secs(1200);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs the tests of one file; skipped if one of the programs is missing.
fn unittest(file: &str, programs: &[&str]) {
    unittest_with("KUBEDOS_TEST=1", file, programs);
}

fn unittest_with(env: &str, file: &str, programs: &[&str]) {
    for program in ["python3"].iter().chain(programs) {
        if find_program(program).is_none() {
            return kubedos_skip::skip(program, "is not installed");
        }
    }
    let folder = root().join("payload/tests/platform").display().to_string();
    let argv = ["-C", &folder, "LC_ALL=C.UTF-8", env, "python3", "-B", "-m", "unittest", file];
    let (status, out) = Tool::new("env").args(argv).timeout(LONG).run_any().unwrap();
    assert!(status.success(), "{}{}", out.text(), out.stderr);
    assert!(!out.stderr.contains("skipped="), "{}", out.stderr);
}

#[test]
fn the_module_does_what_changed_and_nothing_else() {
    unittest("test_service", &[]);
}

#[test]
fn every_file_of_the_plays_is_accepted_by_its_program() {
    let programs = [
        "ansible-playbook",
        "openssl",
        "haproxy",
        "keepalived",
        "promtool",
        "amtool",
        "containerd",
        "nft",
        "unshare",
        "systemd-analyze",
    ];
    unittest("test_render", &programs);
}

#[test]
fn the_files_of_kubernetes_are_those_of_its_version_and_each_cause_is_named() {
    unittest("test_kube", &[]);
}

#[test]
fn a_node_of_kubernetes_changes_only_what_differs_and_registers_with_its_range() {
    unittest("test_kube_node", &[]);
}

#[test]
fn pods_of_two_nodes_reach_each_other_and_a_service_and_nothing_else() {
    let programs = [
        "unshare",
        "nsenter",
        "ip",
        "nft",
        "wg",
        "wireguard-go",
        "ping",
        "sysctl",
        "/usr/lib/cni/bridge",
        "/usr/lib/cni/host-local",
    ];
    unittest("test_kube_net", &programs);
}

/// The programs of Kubernetes 1.20.2, if the lab has built them (`tests/src/kubernetes/fixture.sh`).
fn kubernetes() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/kubedos"));
    let cache = std::env::var_os("KUBEDOS_CACHE").filter(|dir| !dir.is_empty()).map(PathBuf::from).or(home)?;
    let built = std::fs::read_dir(cache.join("kubernetes-fixture")).ok()?.flatten().map(|entry| entry.path());
    built.filter(|dir| dir.join("version").is_file()).max()
}

#[test]
fn control_planes_start_in_any_order_from_what_the_plays_write() {
    let Some(fixture) = kubernetes() else {
        return kubedos_skip::skip("kube-apiserver", "the lab's part kubernetes builds it from Debian's source");
    };
    let env = format!("KUBEDOS_KUBE_FIXTURE={}", fixture.display());
    unittest_with(&env, "test_kube_real", &["openssl", "etcd", "unshare", "ip", "chroot"]);
}

#[test]
fn etcd_forms_replaces_a_member_under_a_writer_and_is_restored() {
    unittest("test_etcd", &["openssl", "etcd", "etcdctl", "curl"]);
}

#[test]
fn the_virtual_address_moves_to_the_load_balancer_that_lives() {
    let programs = ["ansible-playbook", "openssl", "haproxy", "keepalived", "wg", "wireguard-go", "unshare", "nsenter", "curl"];
    unittest("test_vip", &programs);
}

/// The table below `heading`: first two columns, without the marks of code.
fn table(text: &str, heading: &str) -> Vec<(String, String)> {
    let (_, rest) = text.split_once(heading).unwrap_or_else(|| panic!("{heading} is missing"));
    let lines = rest.lines().skip_while(|l| !l.starts_with('|')).take_while(|l| l.starts_with('|')).skip(2);
    let cells = |line: &str| line.trim_matches('|').splitn(2, '|').map(|c| c.trim().to_owned()).collect::<Vec<_>>();
    lines.map(|l| (cells(l)[0].trim_matches('`').to_owned(), cells(l)[1].replace('`', ""))).collect()
}

#[test]
fn the_documentation_has_the_variables_of_every_play() {
    for play in &PLAYS {
        // Pages of pairs: vip is part of loadbalancer, and log-collector of logs.
        let page = match play.name {
            "vip" => "loadbalancer",
            "log-collector" => "logs",
            name => name,
        };
        let text = std::fs::read_to_string(root().join(format!("docs/platform/{page}.md"))).unwrap();
        let wanted: Vec<(String, String)> = play.vars.iter().map(|(n, a)| ((*n).to_owned(), a.replace('`', ""))).collect();
        if wanted.is_empty() {
            continue;
        }
        assert_eq!(table(&text, &format!("Variables of `{}`", play.name)), wanted, "docs/platform/{page}.md");
    }
}

#[test]
fn the_plays_that_include_others_are_those_with_dependencies() {
    let mut found = BTreeSet::new();
    for play in &PLAYS {
        let path = root().join("payload/platform/ansible/roles").join(play.name).join("meta/main.yml");
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let list = text.lines().find_map(|l| l.strip_prefix("dependencies: [")?.strip_suffix(']')).unwrap_or_default();
        found.extend(list.split(", ").filter(|w| !w.is_empty()).map(|w| (play.name, w.to_owned())));
    }
    assert_eq!(found, INCLUDED.iter().map(|(play, other)| (*play, (*other).to_owned())).collect());
}

#[test]
fn the_reference_sites_are_clusters_with_the_platforms_plays() {
    for (file, expected) in
        [("examples/three-nodes/cluster.yaml", 3), ("examples/cluster-16.yaml", 7), ("examples/kubernetes/cluster.yaml", 5)]
    {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        let spec = ClusterSpec::parse(&text).unwrap_or_else(|e| panic!("{file}: {e}"));
        let roles = resolve_all(&spec.spec.roles);
        let plays: BTreeSet<&str> = roles.values().flat_map(|r| r.platform()).map(|p| p.name).collect();
        for wanted in ["etcd", "loadbalancer", "containers", "monitoring", "exporters", "vip"] {
            assert!(plays.contains(wanted), "{file}: {wanted}");
        }
        let with_plays = roles.values().filter(|r| !r.plays.is_empty()).count();
        assert!(with_plays >= expected, "{file}: {with_plays} roles have plays");
        // The certificates of what is behind the address have to name it.
        for role in roles.values().filter(|r| r.platform().any(|p| matches!(p.name, "etcd" | "loadbalancer" | "vip"))) {
            assert!(role.vars.contains_key("lb_vip_wg3"), "{file}: {}", role.name);
        }
    }
}
