use cluster_seed::cluster::ClusterSpec;
use proxmox::plan::Action;
use serde_json::json;

use crate::support::{Lab, results};

const FOUR: &str = "{name: a, role: base}, {name: b, role: base}, {name: c, role: base, disks: [{sizeGiB: 40}, {sizeGiB: 10}]}, \
    {name: d, role: base, vmid: 500, nics: [{mac: \"02:00:00:00:00:0d\", vlan: 7}]}";

#[test]
fn a_fleet_is_made_and_a_second_run_changes_nothing() {
    let Some(lab) = Lab::start(&["pve1", "pve2"]) else { return };
    let spec = lab.spec(FOUR, ", tags: [lab]");
    lab.pin(&spec);
    let first = lab.run(&spec, false).unwrap();
    assert!(first.is_good(), "{}", first.text());
    assert!(results(&first).values().all(|r| r == "created"), "{}", first.text());
    let (one, two) = (lab.vms("pve1"), lab.vms("pve2"));
    assert_eq!((one.len(), two.len()), (2, 2));
    for (host, vms) in [("pve1", &one), ("pve2", &two)] {
        assert!(lab.image_on(host).is_file());
        assert_eq!(lab.commands(host, "sftp-server").len(), 1, "the image is sent once");
        for (vmid, vm) in vms {
            assert_eq!(vm["running"], true, "{vmid}");
            let tags = vm["config"]["tags"].as_str().unwrap();
            assert!(tags.contains("kubedos;lab;site-site-a") && !tags.contains("incomplete"), "{tags}");
        }
    }
    assert!(one["9002"]["config"]["scsi0"].as_str().unwrap().contains("size=40G"));
    assert!(one["9002"]["config"]["scsi1"].as_str().unwrap().contains("size=10G"));
    assert_eq!(two["500"]["config"]["net0"], "virtio=02:00:00:00:00:0D,bridge=vmbr0,tag=7");

    let plan = lab.plan(&spec).unwrap();
    assert!(plan.is_done(), "{}", plan.text(false));
    let again = lab.run(&spec, true).unwrap();
    assert!(results(&again).values().all(|r| r == "unchanged"), "{}", again.text());
    assert_eq!((lab.vms("pve1"), lab.vms("pve2")), (one, two));
    let secrets = std::fs::read_dir(lab.dir.join("run")).unwrap().count();
    assert_eq!(secrets, 0, "the folders of the connections are gone");
}

fn one_node(lab: &Lab, cpus: u32, gib: u32, more: &str) -> ClusterSpec {
    let node = format!("{{name: a, role: base, resources: {{cpus: {cpus}, memoryMiB: 1024}}, disks: [{{sizeGiB: {gib}}}]}}");
    lab.spec(&node, more)
}

#[test]
fn options_are_set_and_disks_grow() {
    let Some(lab) = Lab::start(&["pve1"]) else { return };
    let spec = one_node(&lab, 2, 8, "");
    lab.pin(&spec);
    assert!(lab.run(&spec, false).unwrap().is_good());
    lab.change_vms("pve1", |vms| vms.get_mut("9000").unwrap()["running"] = json!(false));
    let larger = one_node(&lab, 4, 9, "");
    let outcome = lab.run(&larger, false).unwrap();
    assert_eq!(results(&outcome)["a"], "updated", "{}", outcome.text());
    let vm = &lab.vms("pve1")["9000"];
    assert_eq!((&vm["config"]["cores"], &vm["running"], &vm["starts"]), (&json!("4"), &json!(true), &json!(2)));
    assert!(vm["config"]["scsi0"].as_str().unwrap().contains("size=9G"));
    // A stopped machine is started, and nothing else.
    lab.change_vms("pve1", |vms| vms.get_mut("9000").unwrap()["running"] = json!(false));
    assert_eq!(results(&lab.run(&larger, false).unwrap())["a"], "started");
}

#[test]
fn replacing_and_removing_need_both_permissions() {
    let Some(mut lab) = Lab::start(&["pve1"]) else { return };
    let two = |lab: &Lab, more: &str| lab.spec("{name: a, role: base}, {name: b, role: base}", more);
    let spec = two(&lab, "");
    lab.pin(&spec);
    assert!(lab.run(&spec, false).unwrap().is_good());
    lab.change_vms("pve1", |vms| {
        vms.insert("700".to_owned(), json!({"running": true, "config": {"name": "accounting", "tags": "kubedos"}}));
        let mut old = vms["9001"].clone();
        old["config"]["name"] = json!("old");
        vms.insert("9100".to_owned(), old);
    });
    // A new image for all nodes of the role.
    let mut content = std::fs::read(&lab.image.file).unwrap();
    content.extend(b"new");
    std::fs::write(&lab.image.file, &content).unwrap();
    lab.image.sha256 = cluster_seed::ids::Digest::of(&content);
    lab.image.size = content.len() as u64;
    let before = lab.vms("pve1");
    let allowed = two(&lab, ", allowDestroy: true");
    for (spec, flag) in [(&spec, false), (&spec, true), (&allowed, false)] {
        let plan = lab.plan(spec).unwrap();
        assert_eq!((plan.count(Action::Replace), plan.surplus.len()), (2, 1));
        let outcome = lab.run(spec, flag).unwrap();
        assert!(results(&outcome).values().all(|r| r == "kept"), "{}", outcome.text());
        assert_eq!(lab.vms("pve1"), before);
    }
    assert!(!lab.image_on("pve1").exists(), "an image that nothing is made of is not sent");
    let outcome = lab.run(&allowed, true).unwrap();
    let found = results(&outcome);
    assert_eq!((found["a"].as_str(), found["b"].as_str(), found["old"].as_str()), ("replaced", "replaced", "removed"));
    let after = lab.vms("pve1");
    assert_eq!(after["700"], before["700"], "a machine without our site's tag is never touched");
    assert_eq!(after.keys().collect::<Vec<_>>(), ["700", "9000", "9001"]);
    assert_ne!(after["9000"]["config"]["tags"], before["9000"]["config"]["tags"]);
    // Two machines of a host are worked on at once.
    let mut removed = lab.commands("pve1", "qm destroy");
    removed.sort_unstable();
    assert_eq!(removed, ["qm destroy 9000", "qm destroy 9001", "qm destroy 9100 --purge 1"]);
}

#[test]
fn a_stranger_with_our_number_is_refused_and_the_others_are_made() {
    let Some(lab) = Lab::start(&["pve1"]) else { return };
    let spec = lab.spec("{name: a, role: base}, {name: b, role: base}", ", allowDestroy: true");
    lab.pin(&spec);
    let stranger = json!({"running": true, "config": {"name": "accounting"}});
    lab.change_vms("pve1", |vms| drop(vms.insert("9000".to_owned(), stranger.clone())));
    let outcome = lab.run(&spec, true).unwrap();
    let found = results(&outcome);
    assert_eq!((found["a"].as_str(), found["b"].as_str()), ("refused", "created"), "{}", outcome.text());
    assert!(!outcome.is_good());
    assert_eq!(lab.vms("pve1")["9000"], stranger);
}

#[test]
fn a_machine_that_lost_its_tags_after_the_plan_is_not_removed() {
    let Some(lab) = Lab::start(&["pve1"]) else { return };
    let spec = lab.spec("{name: a, role: base}", ", allowDestroy: true");
    lab.pin(&spec);
    assert!(lab.run(&spec, false).unwrap().is_good());
    let none = lab.spec("{name: z, role: base}", ", allowDestroy: true");
    let outcome = lab
        .with_fleet(&none, |fleet| {
            let plan = lab.plan_with(&none, &lab.images(), fleet)?;
            assert_eq!(plan.surplus.len(), 1);
            lab.change_vms("pve1", |vms| vms.get_mut("9000").unwrap()["config"]["tags"] = json!("kubedos"));
            let options = proxmox::apply::ApplyOptions { allow_destroy: true, per_host: 1 };
            Ok(proxmox::apply::apply(&plan, &lab.images(), fleet, options, &cluster_seed::progress::Quiet))
        })
        .unwrap();
    assert_eq!(results(&outcome)["a"], "failed check the tags", "{}", outcome.text());
    assert!(lab.vms("pve1").contains_key("9000"));
    assert!(lab.commands("pve1", "qm destroy").is_empty());
}
