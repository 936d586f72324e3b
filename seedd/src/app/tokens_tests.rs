//! Which disk a token's rule chooses.

use cluster_seed::ids::Digest;
use cluster_seed::manifest::ArtifactSpec;

use super::*;

fn disk(name: &str, gib: u64) -> Disk {
    Disk { name: name.to_owned(), size: gib << 30, ..Disk::default() }
}

fn facts(disks: Vec<Disk>, root_disk: Option<&str>) -> HardwareFacts {
    let text = r#"{"vendor":"","product":"","serial":"","uuid":"","firmware":"uefi","cpu":"","cpus":1,"memory_mib":1,
        "disks":[],"nics":[],"boot_mac":null,"kernel":""}"#;
    let facts: HardwareFacts = serde_json::from_str(text).unwrap();
    HardwareFacts { disks, root_disk: root_disk.map(str::to_owned), ..facts }
}

fn artifact() -> ArtifactManifest {
    let spec = ArtifactSpec {
        recipe: 1,
        role: "base".into(),
        arch: "amd64".into(),
        snapshot: Digest([5; 32]),
        packages: vec![],
        payload: Digest([2; 32]),
    };
    let (id, raw, min_disk) = (spec.id(), Digest([3; 32]), 4 << 30);
    ArtifactManifest { id, spec, disk_size: 0, min_disk, raw, state_offset: 0, state_size: 0, chunks: vec![] }
}

fn chosen(facts: &HardwareFacts, rule: DiskRule) -> Option<String> {
    fitting(facts, rule, &artifact()).ok()
}

#[test]
fn the_rule_chooses_among_disks_that_fit() {
    let removable = Disk { removable: true, ..disk("sdz", 64) };
    let array = Disk { part_of: "Linux software RAID".into(), ..disk("sdy", 64) };
    let one = facts(vec![disk("sda", 3), disk("sdb", 8), removable.clone(), array.clone()], None);
    for rule in [DiskRule::Only, DiskRule::Smallest, DiskRule::Largest] {
        assert_eq!(chosen(&one, rule).as_deref(), Some("sdb"), "{rule:?}");
    }
    let two = facts(vec![disk("sda", 16), disk("sdb", 8), removable, array], None);
    assert_eq!(chosen(&two, DiskRule::Only), None, "somebody has to say which");
    assert_eq!(chosen(&two, DiskRule::Smallest).as_deref(), Some("sdb"));
    assert_eq!(chosen(&two, DiskRule::Largest).as_deref(), Some("sda"));
    assert_eq!(chosen(&facts(vec![disk("sda", 3)], None), DiskRule::Largest), None);
}

#[test]
fn a_machine_that_joins_in_place_keeps_its_disk_whatever_its_size() {
    let small = facts(vec![disk("vda", 1), disk("vdb", 64)], Some("vda"));
    assert_eq!(chosen(&small, DiskRule::Only).as_deref(), Some("vda"));
    assert_eq!(choose_disk(&small, "vda", &artifact()).unwrap().0.name, "vda");
    assert!(choose_disk(&small, "vdb", &artifact()).is_err(), "an operator cannot choose another");
    assert!(choose_disk(&facts(vec![disk("vdb", 64)], Some("vda")), "vda", &artifact()).is_err());
}
