use proxmox::apply::ApplyOptions;
use serde_json::json;

use crate::support::{Lab, results};

const TWO: &str = "{name: a, role: base}, {name: b, role: base}";

/// Both nodes are there once, complete and running.
fn assert_complete(lab: &Lab, after: &str) {
    let vms = lab.vms("pve1");
    assert_eq!(vms.keys().collect::<Vec<_>>(), ["9000", "9001"], "{after}");
    for (vmid, vm) in &vms {
        let tags = vm["config"]["tags"].as_str().unwrap_or("");
        assert!(vm["running"] == true && !tags.contains("incomplete"), "{after}: {vmid}: {vm}");
        assert!(vm["config"]["scsi0"].as_str().unwrap().contains("size=32G"), "{after}: {vmid}: {vm}");
    }
}

/// Steps after the reading, with the failure's step where it is that of a node.
const STEPS: [(&str, &str); 10] = [
    ("install", "upload"),
    ("df", "upload"),
    ("sftp-server", "upload"),
    ("sha256sum", "upload"),
    ("mv", "upload"),
    ("qm create 9000", "create"),
    ("qm disk resize 9000", "grow the disk"),
    ("qm set 9000", "finish"),
    ("qm start 9000", "start"),
    ("qm create 9001", "create"),
];

fn lose_the_connection(kind: &str) {
    let Some(lab) = Lab::start(&["pve1"]) else { return };
    let spec = lab.spec(TWO, "");
    lab.pin(&spec);
    let steps = if kind == "drop-before" { &STEPS[..] } else { &STEPS[4..9] };
    for (words, step) in steps.iter().copied() {
        lab.change_vms("pve1", |vms| vms.clear());
        std::fs::remove_dir_all(lab.state("pve1").join("local")).ok();
        lab.fault("pve1", words, kind);
        // One after the other: machines that are worked on at once share the connection.
        let outcome = lab.run_with(&spec, ApplyOptions { allow_destroy: false, per_host: 1 }).unwrap();
        assert!(lab.fault_happened("pve1"), "{words}");
        let found = results(&outcome);
        let (hit, other) = if words.ends_with("9001") { ("b", "a") } else { ("a", "b") };
        assert_eq!(found[hit], format!("failed {step}"), "{words}: {}", outcome.text());
        assert!(outcome.text().contains("the connection to host pve1 was lost"), "{words}: {}", outcome.text());
        if step != "upload" {
            assert_eq!(found[other], "created", "{words}: one node's failure stops no other: {}", outcome.text());
        }
        let again = lab.run(&spec, false).unwrap();
        assert!(again.is_good(), "{words}: {}", again.text());
        assert_complete(&lab, words);
    }
}

#[test]
fn a_connection_lost_before_any_step_is_made_good_by_the_next_run() {
    lose_the_connection("drop-before");
}

#[test]
fn a_connection_lost_after_any_step_is_made_good_by_the_next_run() {
    lose_the_connection("drop-after");
}

#[test]
fn a_connection_lost_while_reading_changes_nothing() {
    let Some(lab) = Lab::start(&["pve1"]) else { return };
    let spec = lab.spec(TWO, "");
    lab.pin(&spec);
    for words in ["hostname", "pvesh get /version", "pvesh get /cluster/resources", "pvesh get /nodes/pve1/storage"] {
        lab.fault("pve1", words, "drop-before");
        let error = lab.run(&spec, false).unwrap_err();
        assert!(lab.fault_happened("pve1") && error.to_string().contains("was lost"), "{words}: {error}");
    }
    assert!(lab.commands("pve1", "qm").is_empty());
}

#[test]
fn a_full_storage_and_a_locked_machine_stop_one_node_only() {
    let Some(lab) = Lab::start(&["pve1"]) else { return };
    let spec = lab.spec(TWO, "");
    lab.pin(&spec);
    for (words, kind, step, hint) in [
        ("qm create 9000", "full", "create", "the storage is full"),
        ("qm disk resize 9000", "full", "grow the disk", "the storage is full"),
        ("qm set 9000", "lock", "finish", "another task works on the machine"),
        ("qm start 9000", "fail", "start", "the task log"),
    ] {
        lab.change_vms("pve1", |vms| vms.clear());
        lab.fault("pve1", words, kind);
        let outcome = lab.run(&spec, false).unwrap();
        let found = results(&outcome);
        assert_eq!(
            (found["a"].as_str(), found["b"].as_str()),
            (format!("failed {step}").as_str(), "created"),
            "{}",
            outcome.text()
        );
        assert!(outcome.text().contains(hint), "{words}: {}", outcome.text());
        assert!(lab.run(&spec, false).unwrap().is_good(), "{words}");
        assert_complete(&lab, words);
    }
}

#[test]
fn a_locked_machine_is_refused_by_the_plan() {
    let Some(lab) = Lab::start(&["pve1"]) else { return };
    let spec = lab.spec(TWO, "");
    lab.pin(&spec);
    assert!(lab.run(&spec, false).unwrap().is_good());
    let set = |running: bool| {
        lab.change_vms("pve1", |vms| {
            let vm = vms.get_mut("9000").unwrap();
            (vm["lock"], vm["running"]) = (json!("backup"), json!(running));
        });
    };
    set(true);
    assert!(lab.plan(&spec).unwrap().is_done(), "a backup of a machine that needs nothing is no problem");
    set(false);
    let plan = lab.plan(&spec).unwrap();
    assert!(plan.refused[0].why.contains("locked (backup)"), "{:?}", plan.refused);
    let outcome = lab.run(&spec, false).unwrap();
    assert_eq!(results(&outcome)["a"], "refused");
    assert_eq!(lab.vms("pve1")["9000"]["running"], false);
}
