use cluster_seed::secret::AgeKey;
use web::api::{BmcKind, SetPower};

use super::*;

#[test]
fn every_action_has_its_words_or_none() {
    assert_eq!(words(PowerAction::NextBootPxe, true).unwrap().last(), Some(&"options=efiboot"));
    assert_eq!(words(PowerAction::NextBootPxe, false).unwrap().last(), Some(&"pxe"));
    assert!(words(PowerAction::InsertMedia, true).is_none() && words(PowerAction::Wake, true).is_none());
    assert_eq!(said("a\n\nChassis Power is on\n\n"), "Chassis Power is on");
    assert_eq!(said(""), "(no output)");
}

fn controller(cipher_suite: Option<u8>, privilege: Option<IpmiPrivilege>) -> Controller {
    let (user, password) = ("admin".to_owned(), "s3cret".to_owned());
    let set = SetPower { kind: BmcKind::Ipmi, address: "127.0.0.9".to_owned(), user, password, cipher_suite, privilege };
    Controller::new(&set, &AgeKey::generate().recipient()).unwrap()
}

/// A program in ipmitool's place: `script` has its arguments without the address.
fn run(script: &str, controller: &Controller, action: PowerAction) -> Result<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ipmi");
    std::fs::write(&path, format!("#!/bin/sh\necho \"$*\" >> {0}/log\ncd {0}\n{script}\n", dir.path().display())).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut ipmi = Ipmi::new(controller, b"s3cret").unwrap();
    ipmi.program = path.to_str().unwrap();
    ipmi.pause = Duration::from_millis(1);
    let done = ipmi.act(action, true);
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    assert!(!log.contains("s3cret"), "the password is in no argument");
    done.map(|text| format!("{text}\n{log}"))
}

#[test]
fn cipher_suite_and_privilege_are_passed_on_and_weak_ones_refused() {
    let plain = run("echo Chassis Power is on", &controller(None, None), PowerAction::Status).unwrap();
    assert!(!plain.contains(" -C ") && !plain.contains(" -L "), "{plain}");
    let set = run("echo Chassis Power is on", &controller(Some(3), Some(IpmiPrivilege::Operator)), PowerAction::Status).unwrap();
    assert!(set.contains(" -C 3 -L OPERATOR chassis power status"), "{set}");
    for suite in 0..=20 {
        let (user, password) = ("admin".to_owned(), "s3cret".to_owned());
        let (address, cipher_suite) = ("127.0.0.9".to_owned(), Some(suite));
        let set = SetPower { kind: BmcKind::Ipmi, address, user, password, cipher_suite, privilege: None };
        let made = Controller::new(&set, &AgeKey::generate().recipient());
        assert_eq!(made.is_ok(), [3, 8, 12, 17].contains(&suite), "{suite}");
        let redfish = SetPower { kind: BmcKind::Redfish, ..set };
        assert!(Controller::new(&redfish, &AgeKey::generate().recipient()).is_err());
    }
}

#[test]
fn power_is_read_back_before_it_is_judged() {
    let c = controller(None, None);
    for (script, action, good) in [
        // Done and shown.
        ("case $* in *status) echo Chassis Power is on;; *) echo Up/On;; esac", PowerAction::On, Some("Up/On\n")),
        // The answer was lost, and it is on.
        (
            "case $* in *status) echo Chassis Power is on;; *) exit 1;; esac",
            PowerAction::On,
            Some("did not confirm it, and it is on"),
        ),
        // Accepted and not done.
        (
            "case $* in *status) echo Chassis Power is off;; *) echo Up/On;; esac",
            PowerAction::On,
            Some("not confirmed: it still reads off"),
        ),
        ("case $* in *status) echo Chassis Power is on;; *) echo Down/Off;; esac", PowerAction::Off, Some("still reads on")),
        // It needs a moment.
        (
            "case $* in *status) [ -e done ] && echo Chassis Power is off || echo Chassis Power is on; touch done;; *) echo Down/Off;; esac",
            PowerAction::Off,
            Some("Down/Off\n"),
        ),
        ("exit 1", PowerAction::On, None),
        ("exit 1", PowerAction::Status, None),
    ] {
        let done = run(script, &c, action);
        assert_eq!(done.is_ok(), good.is_some(), "{script}: {done:?}");
        if let (Ok(text), Some(words)) = (&done, good) {
            assert!(
                text.contains(words) && (words.contains("confirm") || words.contains("still") || text.starts_with(words)),
                "{text}"
            );
        }
    }
}

const GOOD: &str = "Boot parameter version: 1\n Boot Flags :\n   - Boot Flag Valid\n   - Options apply to only next boot\n   - BIOS EFI boot \n   - Boot Device Selector : Force PXE";

#[test]
fn quirks_of_the_boot_device_are_said() {
    let valid = |from: &str, to: &str| GOOD.replace(from, to);
    for (text, remark) in [
        (GOOD.to_owned(), None),
        (valid("only next boot", "all future boots"), Some("for all later starts as well")),
        (valid("BIOS EFI boot", "BIOS PC Compatible (legacy) boot"), Some("dropped UEFI")),
        (valid("Flag Valid", "Flag Invalid"), Some("not valid")),
        (valid("Force PXE", "No override"), Some("another boot device")),
    ] {
        let script = format!("case $* in *'get 5') cat <<E\n{text}\nE\n;; *raw*) ;; *) echo Set Boot Device to pxe;; esac");
        let done = run(&script, &controller(None, None), PowerAction::NextBootPxe).unwrap();
        match remark {
            None => assert!(done.starts_with("Set Boot Device to pxe\n"), "{done}"),
            Some(words) => assert!(done.contains(words), "{done}"),
        }
        // Controllers forget it after a minute otherwise.
        assert!(done.contains("raw 0x00 0x08 0x03 0x08"), "{done}");
    }
    let forgets = "case $* in *raw*) exit 1;; *get*) exit 1;; *) echo Set Boot Device to pxe;; esac";
    let done = run(forgets, &controller(None, None), PowerAction::NextBootPxe).unwrap();
    assert!(done.contains("cannot be read back") && done.contains("after 60 s"), "{done}");
}

#[test]
fn what_to_try_fits_what_ipmitool_printed() {
    for (printed, words) in [
        ("Error in open session response message : no matching cipher suite", "--cipher-suite"),
        ("RAKP 2 message indicates an error : unauthorized role or privilege level requested", "--privilege"),
        ("Error: Unable to establish IPMI v2 / RMCP+ session", "IPMI over LAN"),
    ] {
        assert!(advice(printed).contains(words), "{printed}");
        let refused = run(&format!("echo '{printed}' >&2; exit 1"), &controller(None, None), PowerAction::Status).unwrap_err();
        assert!(site::hint::of(&refused).unwrap().contains(words), "{refused:#}");
    }
    let mut ipmi = controller(None, None);
    ipmi.user = "x".to_owned();
    let missing = Ipmi { program: "/nonexistent/ipmitool", ..Ipmi::new(&ipmi, b"x").unwrap() };
    assert!(missing.act(PowerAction::On, true).unwrap_err().to_string().contains("not installed"));
    assert!(missing.act(PowerAction::InsertMedia, true).unwrap_err().to_string().contains("no virtual drive"));
}
