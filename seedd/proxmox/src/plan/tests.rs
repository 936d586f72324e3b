use camino::Utf8PathBuf;
use cluster_seed::ids::Digest;

use super::*;
use crate::image::{Image, ImageFormat};
use crate::options::create;
use crate::present::{HostFacts, HostState, Storage, Version};
use crate::vm::image_tag;

#[path = "../../../../tests/shared/golden.rs"]
mod golden;

const SIXTEEN: &str = include_str!("../../../../examples/cluster-16.yaml");

fn image(n: u8) -> Image {
    let file = Utf8PathBuf::from("/srv/image.qcow2");
    Image { file, format: ImageFormat::Qcow2, sha256: Digest([n; 32]), size: 700 << 20, virtual_size: 4 << 30 }
}

fn images(spec: &ClusterSpec, n: u8) -> Images {
    spec.spec.roles.keys().map(|role| (role.clone(), image(n))).collect()
}

fn made(spec: &ClusterSpec, images: &Images, selection: &[&str], present: &Present) -> Plan {
    let words: Vec<String> = selection.iter().map(|w| (*w).to_owned()).collect();
    let selection = Selection::parse(&words, &spec.spec.nodes).unwrap();
    plan(Request { spec, images, selection: &selection, present }).unwrap()
}

/// Hosts as Proxmox VE would describe them.
fn hosts(spec: &ClusterSpec) -> Present {
    let mut present = Present::assumed(spec);
    for host in &mut present.hosts {
        let storage = |name: &str, content: &str, gib: u64| Storage {
            name: name.to_owned(),
            content: content.split(',').map(str::to_owned).collect(),
            active: true,
            available: gib << 30,
        };
        let storages =
            vec![storage("local", "iso,import", 50), storage("local-zfs", "images", 400), storage("tank", "images", 900)];
        let bridges = ["vmbr0".to_owned()].into();
        let version = Version { major: 9, minor: 1 };
        host.facts = Some(HostFacts { version, cpus: 32, memory: 128 << 30, storages, bridges });
    }
    present
}

/// The machine as it is after `entry` was carried out.
fn after(entry: &Entry) -> PresentVm {
    let vm = &entry.vm;
    let mut config: BTreeMap<String, String> = create(vm).into_iter().collect();
    for (n, disk) in vm.disks.iter().enumerate() {
        config.insert(format!("scsi{n}"), format!("{}:vm-{}-disk-{n},size={}G", disk.storage, vm.vmid, disk.size_gib));
    }
    config.insert("tags".to_owned(), vm.tags.join(";"));
    PresentVm {
        vmid: vm.vmid,
        name: vm.node.clone(),
        node: vm.host.clone(),
        container: false,
        running: true,
        tags: vm.tags.iter().cloned().collect(),
        lock: None,
        template: false,
        config,
    }
}

fn after_all(spec: &ClusterSpec, images: &Images) -> Present {
    let mut present = hosts(spec);
    present.vms = made(spec, images, &[], &present).entries.iter().map(after).collect();
    present
}

/// A machine of somebody else.
fn stranger(vmid: u32, name: &str) -> PresentVm {
    PresentVm {
        vmid,
        name: name.to_owned(),
        node: "pve1".to_owned(),
        container: false,
        running: true,
        tags: Default::default(),
        lock: None,
        template: false,
        config: BTreeMap::new(),
    }
}

fn actions(plan: &Plan) -> BTreeMap<&str, Action> {
    plan.entries.iter().map(|e| (e.vm.node.as_str(), e.action)).collect()
}

#[test]
fn the_reference_of_sixteen_nodes_has_a_plan_a_person_can_check() {
    let spec = ClusterSpec::parse(SIXTEEN).unwrap();
    let plan = made(&spec, &images(&spec, 1), &[], &Present::assumed(&spec));
    assert_eq!(plan.count(Action::Create), 16);
    golden::check("../tests/golden/proxmox-sixteen.txt", &plan.text(false));
    let json = serde_json::to_string_pretty(&plan.entries[0]).unwrap();
    golden::check("../tests/golden/proxmox-entry.json", &format!("{json}\n"));
}

#[test]
fn a_second_plan_changes_nothing() {
    let spec = ClusterSpec::parse(SIXTEEN).unwrap();
    let images = images(&spec, 1);
    let plan = made(&spec, &images, &[], &after_all(&spec, &images));
    assert!(plan.is_done(), "{}", plan.text(false));
    assert_eq!(plan.count(Action::Unchanged), 16);
}

#[test]
fn a_mixed_plan_names_every_case() {
    let text = SIXTEEN
        .replace("{name: grafana, role: grafana}", "{name: grafana, role: grafana, resources: {cpus: 3, memoryMiB: 4096}}");
    let (before, now) = (ClusterSpec::parse(SIXTEEN).unwrap(), ClusterSpec::parse(&text).unwrap());
    let old = images(&before, 1);
    let mut present = after_all(&before, &old);
    let at = |present: &Present, name: &str| present.vms.iter().position(|v| v.name == name).unwrap();
    // A stranger took the number of etcd-2, lb-1 is stopped, lb-2 was interrupted, lb-3 is in a backup and stopped.
    let etcd = at(&present, "etcd-2");
    present.vms[etcd] = stranger(9005, "accounting");
    let n = at(&present, "lb-1");
    present.vms[n].running = false;
    let n = at(&present, "lb-2");
    present.vms[n].tags.insert(INCOMPLETE.to_owned());
    let n = at(&present, "lb-3");
    (present.vms[n].running, present.vms[n].lock) = (false, Some("backup".to_owned()));
    let n = at(&present, "worker-3");
    present.vms.remove(n);
    let mut gone = present.vms[0].clone();
    (gone.vmid, gone.name) = (9100, "old-node".to_owned());
    present.vms.push(gone);
    let mut images = old;
    images.insert("prometheus".to_owned(), image(2));
    images.remove("master");
    let plan = made(&now, &images, &[], &present);
    let found = actions(&plan);
    let want = [
        ("grafana", Action::Update),
        ("prometheus", Action::Replace),
        ("lb-1", Action::Start),
        ("lb-2", Action::Rebuild),
        ("worker-3", Action::Create),
        ("cp-1", Action::Unchanged),
    ];
    want.iter().for_each(|(node, action)| assert_eq!(found.get(node), Some(action), "{node}"));
    let refused: Vec<&str> = plan.refused.iter().map(|r| r.node.as_str()).collect();
    assert_eq!(refused, ["master", "etcd-2", "lb-3"]);
    assert_eq!(plan.surplus.iter().map(|s| s.vmid).collect::<Vec<_>>(), [9100]);
    golden::check("../tests/golden/proxmox-mixed.txt", &plan.text(false));
}

#[test]
fn a_selection_leaves_the_others_out_and_names_no_surplus() {
    let spec = ClusterSpec::parse(SIXTEEN).unwrap();
    let images = images(&spec, 1);
    let mut present = hosts(&spec);
    let whole = made(&spec, &images, &[], &present);
    let mut gone = after(&whole.entries[0]);
    gone.name = "old-node".to_owned();
    gone.vmid = 9100;
    present.vms.push(gone);
    let part = made(&spec, &images, &["role=etcd"], &present);
    assert_eq!(part.entries.len(), 3);
    assert!(part.surplus.is_empty());
    // Number and host do not depend on the selection.
    assert_eq!(part.entries[..], whole.entries[4..7]);
}

#[test]
fn a_machine_keeps_number_and_host_when_nodes_are_inserted() {
    let spec = ClusterSpec::parse(SIXTEEN).unwrap();
    let images = images(&spec, 1);
    let present = after_all(&spec, &images);
    let longer = SIXTEEN.replace("  nodes:\n", "  nodes:\n    - {name: first, role: worker}\n");
    let longer = ClusterSpec::parse(&longer).unwrap();
    let plan = made(&longer, &images, &[], &present);
    assert_eq!(plan.count(Action::Unchanged), 16, "{}", plan.text(false));
    let first = &plan.entries[0];
    assert_eq!((first.action, first.vm.vmid), (Action::Create, 9017), "9000 is taken by a node of this site");
}

#[test]
fn a_stranger_with_number_or_name_is_never_touched() {
    let spec = ClusterSpec::parse(SIXTEEN).unwrap();
    let images = images(&spec, 1);
    let mut container = stranger(9000, "box");
    container.container = true;
    container.tags = ["kubedos".to_owned(), "site-site-a".to_owned()].into();
    let mut other_site = stranger(9000, "master");
    other_site.tags = ["kubedos".to_owned(), "site-b".to_owned()].into();
    let mut creating = stranger(9000, "");
    creating.lock = Some("create".to_owned());
    for (vm, word) in [
        (stranger(9000, "accounting"), "number 9000 is taken by the machine \"accounting\""),
        (stranger(100, "master"), "its name is taken by machine 100"),
        (container, "taken by the container"),
        (other_site, "number 9000 is taken"),
        (creating, "is being created"),
    ] {
        let mut present = hosts(&spec);
        present.vms = vec![vm];
        let plan = made(&spec, &images, &["master"], &present);
        assert!(plan.entries.is_empty() && plan.refused[0].why.contains(word), "{:?}", plan.refused);
    }
}

#[test]
fn what_a_host_cannot_have_is_refused_before_anything_is_made() {
    let spec = ClusterSpec::parse(SIXTEEN).unwrap();
    let images = images(&spec, 1);
    type Change = fn(&mut HostState);
    let facts = |host: &mut HostState, change: fn(&mut HostFacts)| host.facts.iter_mut().for_each(change);
    let cases: [(Change, &str); 5] = [
        (|h| h.facts.iter_mut().for_each(|f| f.version = Version { major: 7, minor: 4 }), "Proxmox VE 7.4"),
        (|h| h.facts.iter_mut().for_each(|f| f.cpus = 3), "4 CPUs, and host pve1 has 3"),
        (|h| h.facts.iter_mut().for_each(|f| f.storages.retain(|s| s.name != "local-zfs")), "has no storage local-zfs"),
        (|h| h.facts.iter_mut().for_each(|f| f.storages.iter_mut().for_each(|s| s.active = false)), "is not active"),
        (|h| h.facts.iter_mut().for_each(|f| f.storages.iter_mut().for_each(|s| s.content.clear())), "takes no disks"),
    ];
    for (change, word) in cases {
        let mut present = hosts(&spec);
        present.hosts.iter_mut().for_each(change);
        let plan = made(&spec, &images, &["master"], &present);
        assert!(plan.refused.first().is_some_and(|r| r.why.contains(word)), "{word}: {:?}", plan.refused);
    }
    let mut small = hosts(&spec);
    small.hosts.iter_mut().for_each(|h| {
        facts(h, |f| {
            f.memory = 4 << 30;
            f.bridges.clear();
            f.storages.iter_mut().for_each(|s| s.available = 1 << 30);
        });
    });
    let warnings = made(&spec, &images, &["master"], &small).warnings.join("\n");
    for word in ["MiB of memory", "1 GiB free, and 64 GiB", "no bridge vmbr0"] {
        assert!(warnings.contains(word), "{word}: {warnings}");
    }
}

#[test]
fn a_system_disk_holds_its_image() {
    let spec = ClusterSpec::parse(SIXTEEN).unwrap();
    let mut images = images(&spec, 1);
    for (bytes, fits) in [(32 << 30, true), ((32 << 30) + 1, false)] {
        images.get_mut("grafana").unwrap().virtual_size = bytes;
        let plan = made(&spec, &images, &["grafana"], &hosts(&spec));
        assert_eq!(plan.refused.is_empty(), fits, "{bytes}");
    }
}

#[test]
fn another_host_or_number_needs_a_new_machine() {
    let spec = ClusterSpec::parse(SIXTEEN).unwrap();
    let images = images(&spec, 1);
    let present = after_all(&spec, &images);
    for (change, option) in [("host: pve1", "host"), ("vmid: 9500", "vmid"), ("failureDomain: rack-a", "host")] {
        let text = SIXTEEN.replace("{name: grafana, role: grafana}", &format!("{{name: grafana, role: grafana, {change}}}"));
        let plan = made(&ClusterSpec::parse(&text).unwrap(), &images, &["grafana"], &present);
        let entry = &plan.entries[0];
        let options: Vec<&str> = entry.differences.iter().map(|d| d.option.as_str()).collect();
        assert_eq!((entry.action, options), (Action::Replace, vec![option]), "{change}");
        assert_eq!(entry.existing.as_ref().unwrap().vmid, 9002);
    }
    assert_eq!(image_tag(&Digest([1; 32])), "image-0101010101010101");
}

#[test]
fn two_machines_of_one_name_and_a_host_that_is_not_named_are_refused() {
    let spec = ClusterSpec::parse(SIXTEEN).unwrap();
    let images = images(&spec, 1);
    let mut present = after_all(&spec, &images);
    let mut twin = present.vms[2].clone();
    twin.vmid = 9600;
    present.vms.push(twin);
    present.vms[3].node = "pve9".to_owned();
    present.vms[3].running = false;
    let plan = made(&spec, &images, &["grafana", "storage"], &present);
    let why: Vec<&str> = plan.refused.iter().map(|r| r.why.as_str()).collect();
    assert!(why[0].contains("several machines") && why[1].contains("is on pve9"), "{why:?}");
}
