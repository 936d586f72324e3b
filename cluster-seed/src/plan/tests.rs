use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::ids::Mac;
use crate::machine::{Disk, HardwareFacts, Nic};
use crate::trouble::Trouble;

const CSV: &str = "\
# racks of hall 2
serial,mac,name,role,disk,place

SN1,,r01u07,core,smallest,\"hall 2, rack 1\"
,52:54:00:AB:00:02,r01u08,core,vda,
SN3,52-54-00-ab-00-03,R01U09,edge,serial:S5GX,
";

fn facts(serial: &str, macs: &[u8], disks: &[(&str, u64)]) -> HardwareFacts {
    let text = r#"{"vendor":"Dell Inc.","product":"PowerEdge R640","serial":"","uuid":"","firmware":"uefi","cpu":"","cpus":1,
        "memory_mib":64000,"disks":[],"nics":[],"boot_mac":null,"kernel":""}"#;
    let bare: HardwareFacts = serde_json::from_str(text).unwrap();
    let disk = |(name, gib): &(&str, u64)| Disk { name: (*name).to_owned(), size: gib << 30, ..Disk::default() };
    let nic = |n: &u8| Nic { name: format!("eth{n}"), mac: mac(*n), driver: String::new(), link_up: true, speed: None };
    HardwareFacts {
        serial: serial.to_owned(),
        disks: disks.iter().map(disk).collect(),
        nics: macs.iter().map(nic).collect(),
        ..bare
    }
}

fn mac(n: u8) -> Mac {
    Mac([0x52, 0x54, 0, 0xab, 0, n])
}

fn problems(text: &str) -> Vec<(u64, String)> {
    Plan::parse(text).err().unwrap_or_default().into_iter().map(|p| (p.line, p.message)).collect()
}

#[test]
fn csv_and_yaml_say_the_same_and_comments_do_not_shift_lines() {
    let plan = Plan::parse(CSV).unwrap();
    let lines: Vec<u64> = plan.rows().iter().map(|r| r.line).collect();
    assert_eq!(lines, [4, 5, 6]);
    assert_eq!((plan.rows()[0].place.as_str(), &plan.rows()[0].disk), ("hall 2, rack 1", &DiskWish::Smallest));
    assert_eq!((plan.rows()[1].mac, &plan.rows()[1].disk), (Some(mac(2)), &DiskWish::Name("vda".into())));
    assert_eq!((plan.rows()[2].name.as_str(), plan.rows()[2].mac), ("r01u09", Some(mac(3))));
    let yaml = "\
# racks of hall 2
machines:
  - {serial: SN1, name: r01u07, role: core, disk: smallest, place: 'hall 2, rack 1'}
  - {mac: '52:54:00:ab:00:02', name: r01u08, role: core, disk: vda}
  - serial: SN3
    mac: 52:54:00:ab:00:03
    name: r01u09
    role: edge
    disk: serial:S5GX
";
    let same = Plan::parse(yaml).unwrap();
    assert_eq!(same.rows().iter().map(|r| r.line).collect::<Vec<_>>(), [3, 4, 5]);
    let without_lines = |plan: &Plan| plan.rows().iter().map(|r| PlanRow { line: 0, ..r.clone() }).collect::<Vec<_>>();
    assert_eq!(without_lines(&plan), without_lines(&same));
    let list = yaml.replace("machines:\n", "").replace("\n  ", "\n");
    assert_eq!(without_lines(&Plan::parse(&list).unwrap()), without_lines(&plan));
}

#[test]
fn spreadsheets_may_write_semicolons_other_orders_and_labels() {
    let text = "\u{feff}name;role;serial;labels\r\nr1;core;SN1;rack=1 power=b\r\n";
    let plan = Plan::parse(text).unwrap();
    let row = &plan.rows()[0];
    assert_eq!((row.line, row.name.as_str(), row.disk.clone()), (2, "r1", DiskWish::Only));
    assert_eq!(row.labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["power=b", "rack=1"]);
}

#[test]
fn every_mistake_is_told_with_its_line() {
    for (line, text, word) in [
        (0, "", "empty"),
        (0, "# nothing\n\n", "empty"),
        (1, "serial,name\nSN1,a\n", "needs name, role"),
        (1, "name,role\na,core\n", "serial or mac"),
        (1, "serial,name,role,colour\n", "no column \"colour\""),
        (1, "serial,name,role,name\n", "two columns name"),
        (2, "serial,name,role\n,a,core\n", "names no machine"),
        (2, "serial,name,role\nSN1,a b,core\n", "not a name"),
        (2, "serial,name,role\nSN1,a.lan,core\n", "not a name"),
        (2, "serial,name,role\nSN1,seed,core\n", "not a name"),
        (2, "serial,name,role\nSN1,a,\n", "no role"),
        (2, "serial,name,role\nSN1,a,core,x\n", "4 fields"),
        (2, "serial,name,role,disk\nSN1,a,core,biggest disk\n", "not a disk"),
        (2, "mac,name,role\n52:54:00:ab:00,a,core\n", "not a MAC address"),
        (2, "mac,name,role\n01:00:5e:00:00:01,a,core\n", "MAC address of a card"),
        (3, "serial,name,role\nSN1,a,core\nsn1,b,core\n", "serial number sn1 is in line 2 too"),
        (3, "serial,name,role\nSN1,a,core\nSN2,A,core\n", "name a is in line 2 too"),
        (3, "mac,name,role\n52:54:00:ab:00:01,a,core\n52:54:00:AB:00:01,b,core\n", "is in line 2 too"),
        (2, "serial,name,role,labels\nSN1,a,core,Rack=1\n", "key of a label"),
        (2, "serial,name,role,labels\nSN1,a,core,a=1 a=2\n", "there twice"),
        (2, "- {serial: SN1, name: a, role: core}\n- {serial: SN2, name: b}\n", "role"),
        (1, "- {serial: SN1, name: a, role: core, colour: red}\n", "colour"),
        (3, "- {serial: SN1, name: a, role: core}\n\n- {serial: SN1, name: b, role: core}\n", "in line 1 too"),
    ] {
        let told = problems(text);
        assert_eq!(told.len(), 1, "{text:?}: {told:?}");
        assert!(told[0].1.contains(word), "{text:?}: {told:?}");
        assert_eq!(told[0].0, line, "{text:?}: {told:?}");
    }
    // All at once, not one after the other.
    assert_eq!(problems("serial,name,role\n,a,core\nSN1,b c,core\nSN2,d,\n").len(), 3);
    let many: String = (0..200).map(|_| ",a,core\n").collect();
    assert_eq!(problems(&format!("serial,name,role\n{many}")).len(), MAX_PROBLEMS);
}

#[test]
fn a_plan_has_limits() {
    let rows = |n: usize| {
        let rows: String = (0..n).map(|i| format!("SN{i},n{i},core\n")).collect();
        format!("serial,name,role\n{rows}")
    };
    let yaml = |n: usize| {
        (0..n).map(|i| format!("- {{serial: SN{i}, name: n{i}, role: core, disk: only, place: a}}\n")).collect::<String>()
    };
    for text in [rows(MAX_ROWS), yaml(MAX_ROWS)] {
        assert_eq!(Plan::parse(&text).unwrap().rows().len(), MAX_ROWS);
    }
    for text in [rows(MAX_ROWS + 1), yaml(MAX_ROWS + 1)] {
        assert!(problems(&text)[0].1.contains("more than 10000"));
    }
    let pad = |n: usize| format!("#{}\nserial,name,role\nSN1,a,core\n", "x".repeat(n - 30));
    assert!(Plan::parse(&pad(MAX_TEXT)).is_ok());
    assert!(problems(&pad(MAX_TEXT + 1))[0].1.contains("at most"));
    let place = |n: usize| format!("serial,name,role,place\nSN1,a,core,{}\n", "x".repeat(n));
    assert!(Plan::parse(&place(crate::fleet::MAX_PLACE)).is_ok() && !problems(&place(crate::fleet::MAX_PLACE + 1)).is_empty());
}

#[test]
fn a_machine_is_found_by_its_serial_number_first_and_what_differs_is_told() {
    let plan = Plan::parse(CSV).unwrap();
    let find = |serial: &str, macs: &[u8], own: u8| {
        plan.find(&facts(serial, macs, &[]), mac(own)).map(|f| (f.row.name.clone(), f.differs.len()))
    };
    let some = |name: &str, differs| Some((name.to_owned(), differs));
    assert_eq!(find("sn1", &[9], 9), some("r01u07", 0));
    assert_eq!(find("", &[2], 9), some("r01u08", 0), "any of its cards");
    assert_eq!(find("", &[], 2), some("r01u08", 0), "the address that the seed knows");
    assert_eq!(find("SN9", &[9], 9), None);
    assert_eq!(find("", &[9], 9), None, "a machine without a serial number is not the row without one");
    assert_eq!(find("SN3", &[3], 3), some("r01u09", 0));
    assert_eq!(find("SN3", &[9], 9), some("r01u09", 1), "another MAC address");
    assert_eq!(find("SN9", &[3], 3), some("r01u09", 1), "another serial number");
    assert_eq!(find("", &[3], 3), some("r01u09", 1), "none");
    assert_eq!(find("SN1", &[2], 2), some("r01u07", 1), "two rows");
}

#[test]
fn a_plan_is_held_against_roles_and_names() {
    let plan = Plan::parse(CSV).unwrap();
    let roles = BTreeSet::from(["core"]);
    let told = plan.against(&roles, &|row| (row.name == "r01u08").then(|| "node n9".to_owned()));
    let told: Vec<(u64, &str)> = told.iter().map(|p| (p.line, p.message.as_str())).collect();
    assert_eq!(told, [(5, "the name r01u08 is taken: node n9"), (6, "r01u09: there is no role \"edge\"")]);
}

#[test]
fn a_wish_leads_to_one_disk_or_says_why_not() {
    let two = facts("", &[], &[("sda", 8), ("sdb", 16)]);
    let choose = |wish: &str, facts: &HardwareFacts, need: u64| {
        let wish: DiskWish = wish.parse().unwrap();
        wish.choose(facts, need << 30).map(|d| d.name.clone()).map_err(|e| e.trouble())
    };
    for (wish, need, expected) in [
        ("smallest", 4, Ok("sda")),
        ("smallest", 9, Ok("sdb")),
        ("largest", 4, Ok("sdb")),
        ("only", 9, Ok("sdb")),
        ("only", 8, Err(Trouble::DiskUnclear)),
        ("only", 17, Err(Trouble::DiskTooSmall)),
        ("sda", 8, Ok("sda")),
        ("/dev/sda", 8, Ok("sda")),
        ("sda", 9, Err(Trouble::DiskTooSmall)),
        ("sdc", 4, Err(Trouble::DiskMissing)),
        ("serial:x", 4, Err(Trouble::DiskMissing)),
    ] {
        assert_eq!(choose(wish, &two, need), expected.map(str::to_owned), "{wish} {need}");
    }
    assert_eq!(choose("smallest", &facts("", &[], &[]), 1), Err(Trouble::NoDisk));
    let mut odd = two.clone();
    odd.disks[0].removable = true;
    odd.disks[1].sector = 4096;
    assert_eq!(choose("largest", &odd, 1), Err(Trouble::NoDisk));
    assert_eq!(choose("sdb", &odd, 1), Err(Trouble::DiskUnfit));
    odd.disks[1].serial = "S5GX".into();
    assert_eq!(choose("serial:s5gx", &odd, 1), Err(Trouble::DiskUnfit));
    let in_place = HardwareFacts { root_disk: Some("sda".into()), ..two };
    assert_eq!(choose("largest", &in_place, 100), Ok("sda".to_owned()), "nothing is written");
    for bad in ["biggest disk", "serial:", "SDA", "a\u{7}", &"a".repeat(65)] {
        assert!(bad.parse::<DiskWish>().is_err(), "{bad:?}");
    }
}

fn rule(text: &str) -> EnrollRule {
    crate::spec_error::read(text).unwrap()
}

#[test]
fn the_first_rule_that_fits_fills_in_and_the_plan_comes_first() {
    let rules = [
        rule("{match: {vendor: HP*}, role: edge}"),
        rule("{match: {product: '*r640', minMemoryGiB: 60, minDiskGiB: 8, disks: 2}, role: core, name: 'r{n}', disk: smallest}"),
        rule("{match: {}, role: base}"),
    ];
    let plan = Plan::parse(CSV).unwrap();
    let machine = facts("SN7", &[7], &[("sda", 8), ("sdb", 16)]);
    let by = |facts: &HardwareFacts| {
        suggest(&plan, &rules, facts, mac(7), &|p| p.labels().nth(2)).map(|s| (s.source.to_string(), s.role, s.name))
    };
    let told =
        |source: &str, role: &str, name: Option<&str>| Some((source.to_owned(), Some(role.to_owned()), name.map(str::to_owned)));
    assert_eq!(by(&machine), told("by rule 2", "core", Some("r3")));
    assert_eq!(by(&facts("SN7", &[7], &[("sda", 7), ("sdb", 7)])), told("by rule 3", "base", None));
    assert_eq!(by(&facts("SN1", &[7], &[])), told("by line 4 of the plan", "core", Some("r01u07")));
    assert_eq!(suggest(&Plan::default(), &rules[..1], &machine, mac(7), &|_| None), None);
    let planned = suggest(&plan, &rules, &facts("SN3", &[9], &[]), mac(9), &|_| None).unwrap();
    assert!(!planned.is_planned(), "it differs");
    let by_rule = suggest(&Plan::default(), &rules, &machine, mac(7), &|_| None).unwrap();
    assert!(!by_rule.is_planned(), "a rule approves nobody");
}

#[test]
fn rules_are_checked_with_the_file() {
    let roles = BTreeSet::from(["core"]);
    assert!(check_rules(&[rule("{match: {}, role: core}")], &roles).is_ok());
    let bad = check_rules(&[rule("{match: {}, role: core}"), rule("{match: {}, role: edge}")], &roles).unwrap_err();
    assert!(bad.message.contains("entry 2") && bad.hint.unwrap().contains("core"));
    assert!(check_rules(&[rule("{match: {}}")], &roles).unwrap_err().message.contains("fills in nothing"));
    let long = format!("{{match: {{vendor: {}}}, disk: only}}", "x".repeat(MAX_FIELD + 1));
    assert!(check_rules(&[rule(&long)], &roles).is_err());
    let full = vec![rule("{match: {}, disk: only}"); MAX_RULES];
    assert!(check_rules(&full, &roles).is_ok());
    assert!(check_rules(&[full, vec![rule("{match: {}, disk: only}")]].concat(), &roles).is_err());
}

fn row() -> impl Strategy<Value = (String, String, String)> {
    ("[A-Z0-9]{1,12}", "[a-z][a-z0-9]{0,8}", "[ -~äß]{0,20}")
}

proptest! {
    #[test]
    fn what_is_stored_is_read_again(rows in proptest::collection::vec(row(), 1..20)) {
        let mut writer = String::from("serial,name,role,place\n");
        for (serial, name, place) in &rows {
            writer.push_str(&format!("{serial},{name},core,\"{}\"\n", place.trim().replace('"', "\"\"")));
        }
        if let Ok(plan) = Plan::parse(&writer) {
            prop_assert_eq!(plan.rows().len(), rows.len());
            for (row, (serial, name, place)) in plan.rows().iter().zip(&rows) {
                prop_assert_eq!((&row.serial, &row.name, row.place.as_str()), (serial, name, place.trim()));
            }
            let json = serde_json::to_string(plan.rows()).unwrap();
            prop_assert_eq!(Plan::of(serde_json::from_str(&json).unwrap()).unwrap(), plan);
        } else {
            // The only way to fail: a machine or a name that is there twice.
            let distinct = |of: fn(&(String, String, String)) -> &String| rows.iter().map(of).collect::<BTreeSet<_>>().len() == rows.len();
            prop_assert!(!(distinct(|r| &r.0) && distinct(|r| &r.1)) || rows.iter().any(|r| r.1 == "seed"));
        }
    }

    #[test]
    fn nothing_typed_panics_and_a_found_row_is_the_machines(text in "\\PC{0,200}", serial in "[a-z0-9]{0,4}", n in 0u8..4) {
        if let Ok(plan) = Plan::parse(&text) {
            prop_assert!(plan.rows().iter().all(|r| r.line > 0));
        }
        let plan = Plan::parse("serial,mac,name,role\na1,,x,c\nb2,52:54:00:ab:00:01,y,c\n,52:54:00:ab:00:02,z,c\n").unwrap();
        if let Some(found) = plan.find(&facts(&serial, &[n], &[]), mac(n)) {
            let by_serial = !found.row.serial.is_empty() && found.row.serial.eq_ignore_ascii_case(&serial);
            prop_assert!(by_serial || found.row.mac == Some(mac(n)));
            // Without a difference, all that the row names is the machine's.
            if found.differs.is_empty() {
                prop_assert!(found.row.mac.is_none_or(|m| m == mac(n)) && (found.row.serial.is_empty() || by_serial));
            }
        }
    }
}

#[test]
fn a_label_or_place_that_a_machine_cannot_carry_is_refused_in_the_plan() {
    let row = |place: &str, value: &str| {
        let text =
            format!("machines:\n  - {{serial: SN1, name: a, role: core, place: {place:?}, labels: {{rack: {value:?}}}}}\n");
        Plan::parse(&text).map(Plan::into_rows).map_err(|p| p[0].message.clone())
    };
    let most = "x".repeat(crate::fleet::MAX_LABEL - "rack=".len());
    assert!(row("", &most).is_ok());
    assert!(row("", &format!("{most}x")).unwrap_err().contains("rack and its value cannot be a label"));
    assert!(row("", "a,b").is_err());
    let place = "x".repeat(crate::fleet::MAX_PLACE);
    assert!(row(&place, "1").is_ok());
    assert!(row(&format!("{place}x"), "1").unwrap_err().contains("at most 80"));
    let rows = row("hall 2", "").unwrap();
    assert_eq!((rows[0].machine_place().as_str(), rows[0].machine_labels()[0].as_str()), ("hall 2", "rack"));
}
