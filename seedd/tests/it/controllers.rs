//! Redfish controllers with the habits of real ones, each with each verb: `support/bmc` simulates them.

use std::time::Duration;

use cluster_seed::secret::AgeKey;
use seedd::power::contact::act_at;
use seedd::power::controller::Controller;
use seedd::power::redfish::act::Wish;
use seedd::power::redfish::find::Who;
use seedd::power::redfish::media::Image;
use seedd::power::redfish::service::Pace;
use web::api::{BmcKind, PowerAction, SetPower};

use crate::support::bmc::{Bmc, MAC, Machine, PASSWORD, Quirk};

use PowerAction::{Cycle, EjectMedia, InsertMedia, NextBootPxe, Off, On, Status};

const VERBS: [PowerAction; 7] = [Status, On, Off, Cycle, NextBootPxe, InsertMedia, EjectMedia];
const HTTP: &str = "http://10.44.0.1/media/seed-ab12.iso";
const HTTPS: &str = "https://10.44.0.1:8443/medium/seed-ab12.iso";
const PACE: Pace = Pace { first: Duration::from_millis(1), looks: 3, task_looks: 6 };

/// What has to come of it.
#[derive(Debug, Clone, Copy)]
enum Comes {
    /// Done, seen on the machine, and said.
    Done,
    /// Accepted by the controller without a trace, and said to be so.
    Unsure,
    /// Refused with these words.
    Refused(&'static str),
}

use Comes::{Done, Refused, Unsure};

fn wish(action: PowerAction) -> Wish {
    // The UUID as machines before SMBIOS 2.6 report it.
    let who = Who { mac: MAC.parse().unwrap(), uuid: Some("00112233-4455-6677-8899-AABBCCDDEEFF".to_owned()) };
    let image = Image { http: Some(HTTP.to_owned()), https: Some(HTTPS.to_owned()) };
    Wish { who, action, uefi: None, image, session: false }
}

fn controller(bmc: &Bmc) -> Controller {
    let set = SetPower {
        kind: BmcKind::Redfish,
        address: bmc.address(),
        user: "admin".to_owned(),
        password: PASSWORD.to_owned(),
        cipher_suite: None,
        privilege: None,
    };
    Controller::new(&set, &AgeKey::generate().recipient()).unwrap()
}

fn act(bmc: &Bmc, wish: &Wish) -> Result<String, String> {
    let contact = act_at(&controller(bmc), PASSWORD.as_bytes(), wish, PACE).unwrap();
    contact.done.map_err(|e| format!("{e:#} / {}", site::hint::of(&e).unwrap_or_default()))
}

/// The machine is as the verb wants it.
fn is_done(machine: &Machine, verb: PowerAction) -> bool {
    let boots = |from: &[&str]| {
        let [target, enabled, mode] = &machine.boot;
        from.iter().any(|f| target.eq_ignore_ascii_case(f)) && enabled == "Once" && mode == "UEFI"
    };
    let kind = machine.resets.last().map(|k| k.to_lowercase()).unwrap_or_default();
    match verb {
        On => machine.power == "On" && kind == "on",
        Off => machine.power == "Off" && kind == "forceoff",
        Cycle => machine.power == "On" && ["powercycle", "forcerestart", "on"].contains(&kind.as_str()),
        NextBootPxe => boots(&["Pxe"]),
        InsertMedia => {
            boots(&["Cd", "UsbCd"]) && machine.media.get(machine.right_drive()).is_some_and(|i| i.ends_with("seed-ab12.iso"))
        }
        EjectMedia => machine.media.is_empty(),
        _ => true,
    }
}

fn run(quirks: &[Quirk], verb: PowerAction) -> (Bmc, Result<String, String>) {
    let bmc = Bmc::new(quirks);
    bmc.look(|m| match verb {
        On => m.power = "Off".to_owned(),
        EjectMedia => _ = m.media.insert(m.right_drive().to_owned(), HTTP.to_owned()),
        _ => {}
    });
    let done = act(&bmc, &wish(verb));
    (bmc, done)
}

fn check(quirks: &[Quirk], verb: PowerAction, comes: Comes) {
    let (bmc, done) = run(quirks, verb);
    let what = format!("{quirks:?} {verb:?}: {done:?}\n{}", bmc.look(|m| m.log.join("\n")));
    let unsure = |text: &str| text.contains("not confirm") || text.contains("not finished") || text.contains("still shows");
    match (comes, &done) {
        (Done, Ok(text)) => {
            assert!(!unsure(text), "{what}");
            assert!(bmc.look(|m| is_done(m, verb)), "{what}");
            let shown = match verb {
                Status => "it is on",
                On | Cycle => "; it is on",
                Off => "; it is off",
                NextBootPxe => "its next start is from the network, in the mode UEFI",
                InsertMedia => "is in its virtual drive, and its next start is from there",
                _ => "its virtual drive is empty",
            };
            assert!(text.contains(shown), "{what}");
        }
        (Unsure, Ok(text)) => assert!(unsure(text), "{what}"),
        (Refused(words), Err(why)) => assert!(why.contains(words), "{what}"),
        _ => panic!("wanted {comes:?}, {what}"),
    }
    assert_eq!(bmc.look(|m| m.sessions), 0, "a session is left open, {what}");
}

fn comes(quirk: Quirk, verb: PowerAction) -> Comes {
    use Quirk as Q;
    let boots = matches!(verb, NextBootPxe | InsertMedia);
    let media = matches!(verb, InsertMedia | EjectMedia);
    match quirk {
        Q::NoDrive | Q::SharedManager if media => Refused("no virtual drive"),
        Q::LicenceNeeded if verb == InsertMedia => Refused("does not allow this: a licence is needed"),
        Q::OnlyContinuous if boots => Refused("only all of them"),
        Q::SetsContinuous if boots => Refused("and all later ones as well"),
        Q::NoCd if verb == InsertMedia => Refused("cannot start it from Cd or UsbCd; it offers None, Pxe, Hdd"),
        Q::NoForceOff if verb == Off => Refused("cannot do ForceOff; it offers On, GracefulShutdown, ForceRestart"),
        Q::OtherMachines => Refused("none of the controller's 2 systems has the MAC address 52:54:00:ab:00:01"),
        Q::ForeignRedirect => Refused("redirects /redfish/v1/Systems to \"https://evil.example/redfish/v1/Systems\""),
        Q::WrongPassword => Refused("refuses this user and password"),
        Q::TasksFail if verb != Status => Refused("the image cannot be fetched"),
        Q::TasksStay if boots => Refused("has not finished"),
        Q::TasksStay if verb != Status => Unsure,
        Q::LostRestarts if verb == Cycle => Refused("waiting for the answer to PowerCycle; the machine reads on"),
        Q::Ignores if verb != Status => Unsure,
        _ => Done,
    }
}

#[test]
fn every_habit_with_every_verb_ends_in_what_was_asked_or_in_a_true_word() {
    // All of the table, then what failed in it.
    let all = Quirk::ALL.iter().flat_map(|quirk| VERBS.map(|verb| (*quirk, verb)));
    let failed: Vec<_> = all.filter(|(q, v)| std::panic::catch_unwind(|| check(&[*q], *v, comes(*q, *v))).is_err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

/// Habits ascribed to vendors. docs/compatibility.md has the same list, and marks those that no report of theirs backs.
const VENDORS: [(&str, &[Quirk]); 9] = [
    ("Dell iDRAC 9", &[Quirk::MediaOfSystem, Quirk::Tasks]),
    ("HPE iLO 4", &[Quirk::SlashRedirect, Quirk::TrailingSlashes, Quirk::PatchedDrive, Quirk::ImageAlone]),
    ("HPE iLO 5 and 6", &[Quirk::SlashRedirect, Quirk::TrailingSlashes, Quirk::WeakEtag]),
    ("Lenovo XCC", &[Quirk::IfMatch, Quirk::RdocFirst]),
    ("Supermicro X11 and H12", &[Quirk::ImageAlone, Quirk::ModeFallsBack, Quirk::UsbCd, Quirk::ResetInfo, Quirk::SaysInserted]),
    ("Supermicro H13", &[Quirk::NeedProtocol, Quirk::ModeFallsBack, Quirk::UsbCd, Quirk::SessionsOnly]),
    ("OpenBMC", &[Quirk::ProxyFirst, Quirk::HttpsOnly, Quirk::MediaOfManager]),
    ("NVIDIA HGX", &[Quirk::Baseboard, Quirk::ProxyFirst, Quirk::HttpsOnly]),
    ("AMI MegaRAC", &[Quirk::IfMatch, Quirk::Settings, Quirk::DescribedInsert, Quirk::TasksInBody]),
];

#[test]
fn every_recorded_vendor_shape_does_every_verb_and_is_documented() {
    let table = include_str!("../../../docs/compatibility.md");
    for (name, quirks) in VENDORS {
        VERBS.into_iter().for_each(|verb| check(quirks, verb, Done));
        assert!(table.contains(&format!("| {name} |")), "docs/compatibility.md lacks {name}");
    }
}

/// Each habit of requests together with each of collections and of HTTP: two at a time hide from a table of one.
#[test]
fn two_habits_at_once_do_not_add_up_to_a_refusal() {
    use Quirk as Q;
    let requests =
        [Q::IfMatch, Q::WeakEtag, Q::StaleEtag, Q::ImageAlone, Q::NeedProtocol, Q::HttpsOnly, Q::Settings, Q::BareSettings];
    let others = [Q::SlashRedirect, Q::SessionsOnly, Q::Tasks, Q::TasksForgotten, Q::LostAnswers, Q::MediaOfManager, Q::Blades];
    for first in requests {
        for second in others {
            [Cycle, NextBootPxe, InsertMedia, EjectMedia].into_iter().for_each(|verb| check(&[first, second], verb, Done));
        }
    }
}

#[test]
fn a_machine_that_is_known_to_boot_in_legacy_mode_is_asked_to() {
    let bmc = Bmc::new(&[]);
    let done = act(&bmc, &Wish { uefi: Some(false), ..wish(NextBootPxe) });
    assert!(done.unwrap().contains("in the mode Legacy"));
    assert_eq!(bmc.look(|m| m.boot.clone()), ["Pxe", "Once", "Legacy"].map(str::to_owned));
}

#[test]
fn an_override_goes_to_the_settings_object_only_where_the_system_has_one() {
    for (quirk, at) in [
        (Quirk::Settings, "/redfish/v1/Systems/1/SD"),
        (Quirk::BareSettings, "/redfish/v1/Systems/1/SD"),
        (Quirk::IfMatch, "/redfish/v1/Systems/1"),
    ] {
        let (bmc, done) = run(&[quirk], NextBootPxe);
        assert!(done.is_ok() && bmc.look(|m| m.boot_at.clone()) == at, "{quirk:?}");
    }
}

#[test]
fn a_controller_that_is_full_is_emptied_first_and_a_medium_that_cannot_be_started_is_not_inserted() {
    let bmc = Bmc::new(&[]);
    bmc.look(|m| m.media.insert("CD1".to_owned(), "http://10.0.0.9/other.iso".to_owned()));
    act(&bmc, &wish(InsertMedia)).unwrap();
    let log = bmc.look(|m| m.log.join("\n"));
    assert!(log.find("EjectMedia").unwrap() < log.find("InsertMedia {\"Image").unwrap(), "{log}");
    let (bmc, refused) = run(&[Quirk::NoCd], InsertMedia);
    assert!(refused.is_err() && bmc.look(|m| m.media.is_empty()));
}

#[test]
fn without_an_https_address_a_controller_that_wants_one_is_said_to() {
    let bmc = Bmc::new(&[Quirk::HttpsOnly]);
    let image = Image { http: Some(HTTP.to_owned()), https: None };
    let refused = act(&bmc, &Wish { image, ..wish(InsertMedia) }).unwrap_err();
    assert!(refused.contains("the format is not recognized") && refused.contains("https only"), "{refused}");
}

#[test]
fn a_wrong_password_is_tried_as_seldom_as_can_be_and_a_session_is_remembered() {
    let (bmc, refused) = run(&[Quirk::WrongPassword], Status);
    assert!(refused.is_err());
    let denied = |m: &mut Machine| m.log.iter().filter(|l| l.ends_with("-> 401")).count();
    // Basic authentication once, a session once: accounts lock after three or five.
    assert_eq!(bmc.look(denied), 2, "{}", bmc.look(|m| m.log.join("\n")));
    let bmc = Bmc::new(&[Quirk::SessionsOnly]);
    let first = act_at(&controller(&bmc), PASSWORD.as_bytes(), &wish(Status), PACE).unwrap();
    assert!(first.done.is_ok() && first.session);
    bmc.look(|m| m.log.clear());
    let again = act_at(&controller(&bmc), PASSWORD.as_bytes(), &Wish { session: true, ..wish(Status) }, PACE).unwrap();
    assert!(again.done.is_ok());
    assert_eq!(bmc.look(denied), 0, "no refused login the second time");
}
