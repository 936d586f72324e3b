use crate::cluster::{ClusterSpec, SpecError};

/// The example of docs/cluster-yaml.md.
const SIXTEEN: &str = include_str!("../../examples/cluster-16.yaml");

const GOOD: &str = "\
apiVersion: kubedos/v1alpha1
kind: Cluster
metadata: {name: site-a}
spec:
  networking:
    domain: kubedos.lan
    underlay: {subnet: 10.44.0.0/24, seed: 10.44.0.1, pool: {first: 10.44.0.100, last: 10.44.0.199}}
    planes: {wg1: {cidr: 10.78.0.0/16, port: 51821}}
  darksite: {suite: trixie}
  roles: {base: {}, etcd: {}}
  substrate:
    type: proxmox
    storage: local-zfs
    bridge: vmbr0
    tags: [lab]
    hosts:
      - {name: pve1, address: 10.44.0.11, failureDomain: rack-a}
      - {name: pve2, user: deploy, port: 2222, failureDomain: rack-b}
  nodes:
    - name: etcd-1
      role: etcd
      failureDomain: rack-a
      vmid: 9100
      resources: {cpus: 4, memoryMiB: 8192}
      disks: [{sizeGiB: 40}, {sizeGiB: 100, storage: tank}]
      nics: [{mac: 02:00:00:00:00:01, vlan: 20, address: 10.44.0.21}]
    - name: etcd-2
      role: etcd
      host: pve2
      vmid: 9101
      nics: [{mac: 02:00:00:00:00:02, address: 10.44.0.22}]
";

fn error(text: &str) -> SpecError {
    match ClusterSpec::parse(text) {
        Ok(_) => panic!("it was accepted:\n{text}"),
        Err(e) => e,
    }
}

#[test]
fn nodes_and_substrate_are_read_with_their_defaults() {
    let spec = ClusterSpec::parse(GOOD).unwrap().spec;
    let node = &spec.nodes[1];
    assert_eq!((node.resources.cpus.value, node.resources.memory_mib.value), (2, 4096));
    assert!(node.disks.is_empty() && node.failure_domain.is_none());
    let substrate = spec.substrate.unwrap();
    assert!(!substrate.allow_destroy);
    assert_eq!(substrate.vmid_base.value, 9_000);
    assert_eq!((substrate.hosts[0].user.value.as_str(), substrate.hosts[0].port.value), ("root", 22));
}

#[test]
fn the_example_of_sixteen_nodes_is_valid() {
    let spec = ClusterSpec::parse(SIXTEEN).unwrap().spec;
    assert_eq!(spec.nodes.len(), 16);
    let count = |role: &str| spec.nodes.iter().filter(|n| n.role.value == role).count();
    assert_eq!([count("etcd"), count("load-balancer"), count("control-plane"), count("worker")], [3; 4]);
}

/// One change to the good file, the line it must be reported at (0: the whole file), and words of message and hint.
const BAD: &[(&str, &str, u64, &str, &str)] = &[
    ("name: etcd-2", "name: etcd-1", 27, "two nodes etcd-1", "unique"),
    ("name: etcd-2", "name: etcd-2.lan", 27, "has a dot", "networking.domain"),
    ("name: etcd-2", "name: seed", 27, "named seed", "the seed itself"),
    ("name: etcd-2", "name: Etcd", 27, "host name", ""),
    ("    - name: etcd-2\n      role: etcd", "    - name: etcd-2\n      role: etcb", 28, "no role \"etcb\"", "roles: base, etcd"),
    ("vmid: 9101", "vmid: 9100", 30, "uses vmid 9100 of node etcd-1", ""),
    ("vmid: 9101", "vmid: 99", 30, "vmid is 99", "100 to 999999999"),
    ("vmid: 9101", "vmid: 1000000000", 30, "vmid is 1000000000", "100 to"),
    ("02:00:00:00:00:02", "02:00:00:00:00:01", 31, "uses the MAC address", ""),
    ("02:00:00:00:00:02", "03:00:00:00:00:02", 31, "not the MAC address of a NIC", "lowest bit"),
    ("address: 10.44.0.22", "address: 10.44.0.21", 31, "uses the address 10.44.0.21 of node etcd-1", ""),
    ("address: 10.44.0.22", "address: 10.44.0.1", 31, "the seed's address", "another"),
    ("address: 10.44.0.22", "address: 10.44.0.255", 31, "not a host of", "another"),
    ("host: pve2", "host: pve3", 29, "there is no host pve3", "pve1, pve2"),
    ("host: pve2", "host: pve2\n      failureDomain: rack-a", 29, "host pve2 is not in failure domain rack-a", "remove"),
    (
        "      failureDomain: rack-a\n      vmid",
        "      failureDomain: rack-c\n      vmid",
        22,
        "no host is in failure domain",
        "hosts",
    ),
    ("cpus: 4", "cpus: 0", 24, "cpus is 0", "1 to 1024"),
    ("cpus: 4", "cpus: 1025", 24, "cpus is 1025", "1 to 1024"),
    ("memoryMiB: 8192", "memoryMiB: 511", 24, "memoryMiB is 511", "512 to"),
    ("memoryMiB: 8192", "memoryMib: 511", 24, "memoryMib", ""),
    ("sizeGiB: 40", "sizeGiB: 0", 25, "sizeGiB is 0", "1 to 65536"),
    ("sizeGiB: 40", "sizeGiB: 65537", 25, "sizeGiB is 65537", "1 to 65536"),
    ("storage: tank", "storage: \"a,import-from=/etc/shadow\"", 25, "not the name of a storage", "local-zfs"),
    ("vlan: 20", "vlan: 4095", 26, "vlan is 4095", "1 to 4094"),
    ("vlan: 20", "bridge: \"vmbr0,firewall=0\"", 26, "not the name of a bridge", "vmbr0"),
    ("type: proxmox", "type: xen", 12, "xen", ""),
    ("bridge: vmbr0", "bridge: vmbr0\n    vmidBase: 999999999", 15, "vmidBase is 999999999", "room"),
    ("tags: [lab]", "tags: [kubedos-x]", 15, "is reserved", "Kubedos itself"),
    ("tags: [lab]", "tags: [\"a;b\"]", 15, "is not a tag", "a-z"),
    ("name: pve2", "name: pve1", 18, "two hosts pve1", "unique"),
    ("name: pve2", "name: pve2.lan", 18, "has a dot", "hostname"),
    ("address: 10.44.0.11", "address: \"-oProxyCommand=x\"", 17, "is not an address", ""),
    ("user: deploy", "user: \"a b\"", 18, "is not a user name", ""),
    ("port: 2222", "port: 0", 18, "port 0", "22"),
    ("    hosts:\n", "    hostz:\n", 16, "hostz", ""),
];

#[test]
fn every_mistake_of_the_inventory_is_named_with_its_place() {
    for (from, to, line, word, hint) in BAD {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(&text, GOOD, "{from}");
        let error = error(&text);
        assert!(error.message.contains(word), "{to}: {error}");
        assert!(error.hint.as_deref().unwrap_or("").contains(hint), "{to}: {:?}", error.hint);
        assert_eq!(error.line, *line, "{to}: {error}");
        assert!(error.column > 0, "{to}: {error}");
    }
}

#[test]
fn a_host_needs_a_substrate_and_proxmox_needs_hosts() {
    let (before, after) = GOOD.split_once("  substrate:\n").unwrap();
    let (_, nodes) = after.split_once("  nodes:\n").unwrap();
    assert!(error(&format!("{before}  nodes:\n{nodes}")).message.contains("no spec.substrate"));
    let alone = error(&format!("{before}  substrate: {{type: proxmox}}\n"));
    assert!(alone.message.contains("hosts is empty"), "{alone}");
    // A site whose nodes are bare metal needs neither.
    ClusterSpec::parse(&format!("{before}  nodes: [{{name: a, role: base}}]\n  substrate: {{type: baremetal}}\n")).unwrap();
}

#[test]
fn lists_have_limits() {
    let node = |disks: usize, nics: usize| {
        let (disks, nics) = (vec!["{sizeGiB: 1}"; disks].join(", "), vec!["{}"; nics].join(", "));
        GOOD.to_owned() + &format!("    - {{name: a, role: base, disks: [{disks}], nics: [{nics}]}}\n")
    };
    ClusterSpec::parse(&node(16, 8)).unwrap();
    assert!(error(&node(17, 8)).message.contains("17 disks"));
    assert!(error(&node(16, 9)).message.contains("9 NICs"));
    let nodes = |n: usize| {
        let (before, _) = GOOD.split_once("    - name: etcd-1").unwrap();
        let all: String = (0..n).map(|i| format!("    - {{name: n{i}, role: base}}\n")).collect();
        format!("{before}{all}")
    };
    ClusterSpec::parse(&nodes(super::MAX_NODES)).unwrap();
    assert!(error(&nodes(super::MAX_NODES + 1)).message.contains("4097 entries"));
}
