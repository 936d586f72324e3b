//! The flight recorder as the command line and the pages see it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use appliance::console::host::Host;
use appliance::control::answer::{Answer, EventPage, Packets};
use appliance::control::{Controlled as _, EventQuery, SiteRequest};
use cluster_seed::ids::Mac;
use flight::recorder::WireEvent;
use flight::recorder::ring::Packet;
use host::clock::now_ms;
use seedd::app::console::AtConsole;
use seedd::app::{App, Seed};
use site::store::events::PacketFacts;
use web::api::{OperatorApi as _, Tone};

use crate::support::sites::{Temp, admin, app, site_a, temp};

const MAC: Mac = Mac([0x52, 0x54, 0, 0xab, 0, 1]);

struct Bench {
    _dir: Temp,
    app: Arc<App>,
    console: AtConsole,
}

fn bench() -> Bench {
    let dir = temp();
    let site = site_a(&dir);
    let host = Host::server(&site.data);
    let app = app(&site);
    Bench { _dir: dir, console: AtConsole { app: app.clone(), host }, app }
}

fn event(kind: &'static str, mac: Mac, seconds_ago: u64) -> WireEvent {
    let facts = PacketFacts { arch: Some("efi-x64".into()), xid: Some("1".into()), ..PacketFacts::default() };
    WireEvent {
        text: format!("text of {kind}"),
        mac: Some(mac),
        facts,
        ..WireEvent::new(now_ms() - seconds_ago * 1_000, kind.parse().unwrap())
    }
}

/// Asked for 67, was answered, and never fetched its loader.
fn story(b: &Bench) {
    for kind in ["dhcp.discover", "dhcp.offer", "dhcp.request", "dhcp.ack"] {
        let mut e = event(kind, MAC, 60);
        if kind == "dhcp.ack" {
            (e.ip, e.facts.file) = (Some(Ipv4Addr::new(10, 44, 0, 100)), Some("snponly.efi".into()));
        }
        b.app.record(e);
    }
    b.app.record(event("dhcp.discover", Mac([2; 6]), 50));
}

#[test]
fn the_page_says_why_it_did_not_boot() {
    let b = bench();
    story(&b);
    let id = b.app.view_machines().unwrap().iter().find(|m| m.mac == MAC).unwrap().id;
    let detail = b.app.view_machine(id).unwrap();
    assert_eq!(detail.diagnosis.len(), 1);
    assert_eq!((detail.diagnosis[0].rule, detail.diagnosis[0].tone), ("loader_never_fetched", Tone::Bad));
    assert_eq!(detail.timeline.len(), 4);
    assert_eq!(detail.timeline[3].facts.as_ref().unwrap().file.as_deref(), Some("snponly.efi"));
    assert_eq!(b.app.store.read(|tx| tx.broken_event()).unwrap(), None);
}

#[test]
fn the_tail_begins_with_the_last_lines_goes_on_and_filters() {
    let b = bench();
    story(&b);
    let ask = |after, back, mac, kinds: &[&str]| {
        let kinds = kinds.iter().map(|k| (*k).to_owned()).collect();
        match b.console.site(SiteRequest::Events(EventQuery { after, back, limit: 100, mac, kinds })).unwrap() {
            Answer::Events(page) => page,
            other => panic!("{other:?}"),
        }
    };
    let kinds = |page: &EventPage| page.events.iter().map(|e| e.kind.clone()).collect::<Vec<_>>();
    let last = ask(None, 2, None, &[]);
    assert_eq!(kinds(&last), ["dhcp.ack", "dhcp.discover"]);
    assert_eq!(last.events[0].mac, Some(MAC));
    assert_eq!(kinds(&ask(None, 9, Some(MAC), &["dhcp.re", "dhcp.ack"])), ["dhcp.request", "dhcp.ack"]);
    let next = Some(last.next);
    assert!(kinds(&ask(next, 0, None, &[])).is_empty());
    b.app.record(event("tftp.started", MAC, 1));
    let on = ask(next, 0, None, &["tftp."]);
    assert_eq!((kinds(&on), on.more), (vec!["tftp.started".to_owned()], false));
    let query = EventQuery { back: 1, limit: 1, mac: Some(Mac([4; 6])), ..EventQuery::default() };
    let unknown = b.console.site(SiteRequest::Events(query));
    assert!(unknown.unwrap_err().to_string().contains("has been seen"));
}

#[test]
fn more_lines_than_fit_in_one_answer_are_all_told() {
    let b = bench();
    let before = b.app.store.read(|tx| tx.last_event()).unwrap();
    let many: Vec<WireEvent> = (0..1_300).map(|n| event(if n % 2 == 0 { "tftp.done" } else { "tftp.started" }, MAC, n)).collect();
    b.app.write_wire(&many);
    let told = |back, kinds: &[&str]| {
        let (mut after, mut ids) = (None, Vec::new());
        loop {
            let kinds = kinds.iter().map(|k| (*k).to_owned()).collect();
            let query = EventQuery { after, back, limit: 200, mac: None, kinds };
            let Answer::Events(page) = b.console.site(SiteRequest::Events(query)).unwrap() else { panic!() };
            ids.extend(page.events.iter().map(|e| e.id));
            after = Some(page.next);
            if !page.more {
                return ids;
            }
        }
    };
    let newest = before + 1_300;
    for (back, kinds, first, count) in [
        (0, &[][..], newest + 1, 0),
        (1, &[], newest, 1),
        (199, &[], newest - 198, 199),
        (200, &[], newest - 199, 200),
        (201, &[], newest - 200, 201),
        (1_250, &[], newest - 1_249, 1_250),
        (600, &["tftp.started"], newest - 1_198, 600),
        (100_000, &["tftp."], before + 1, 1_300),
    ] {
        let ids = told(back, kinds);
        assert_eq!((ids.len(), *ids.first().unwrap_or(&(newest + 1))), (count, first), "{back} {kinds:?}");
        assert!(ids.windows(2).all(|w| w[0] < w[1]));
    }
}

#[test]
fn a_machine_that_grub_cannot_name_boots_by_its_address() {
    let b = bench();
    story(&b);
    let ask = |from: &str, mac: Option<&str>, format: Option<&str>| {
        let query = web::api::BootQuery { mac: mac.map(str::to_owned), format: format.map(str::to_owned), ..Default::default() };
        b.app.script_to(from.parse().unwrap(), &query)
    };
    let named = ask("10.44.0.200", Some(&MAC.to_string()), Some("grub")).unwrap();
    assert!(named.contains(&MAC.to_string()));
    for mac in [None, Some(""), Some("$net_default_mac"), Some("${net_default_mac}"), Some("80:00:02:08:fe:80:00:00")] {
        assert_eq!(ask("10.44.0.100", mac, Some("grub")).unwrap(), named, "{mac:?}");
        let lost = ask("10.44.0.200", mac, Some("grub")).unwrap();
        assert!(lost.contains("no hardware address") && lost.contains("&mac=$net_default_mac"), "{lost}");
        assert!(ask("10.44.0.100", mac, None).unwrap().starts_with("#!ipxe"));
        assert!(ask("10.44.0.200", mac, None).is_err(), "iPXE always knows its address");
    }
    let told = b.app.store.read(|tx| tx.newest_of("boot.script", 50)).unwrap();
    assert!(told.iter().any(|e| e.text.contains("10.44.0.200 asks for its script without its hardware address")), "{told:?}");
    assert!(told.iter().any(|e| e.text.contains(&format!("which is {MAC}"))));
    assert!(ask("10.44.0.200", None, Some("grub-first")).unwrap().contains("while"));
}

#[test]
fn packets_are_given_away_with_the_diagnosis() {
    let b = bench();
    story(&b);
    b.app.flight.set_iface("br0");
    let packet = Packet { at: 1_795_377_600_000_000_000, length: 60, bytes: vec![7; 60].into() };
    b.app.flight.ring.push(MAC, true, packet);
    let packets = |mac| match b.console.site(SiteRequest::Packets { mac }).unwrap() {
        Answer::Packets(Packets { packets, pcapng }) => (packets, pcapng),
        other => panic!("{other:?}"),
    };
    let (count, bytes) = packets(MAC);
    assert_eq!((count, &bytes[..4]), (1, &[0x0a, 0x0d, 0x0d, 0x0a][..]));
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("did not download the loader snponly.efi") && text.contains("br0"));
    let id = b.app.view_machines().unwrap().iter().find(|m| m.mac == MAC).unwrap().id;
    assert_eq!(Seed(b.app.clone()).packets(&admin(), id).unwrap(), bytes);
    assert_eq!(packets(Mac([4; 6])).0, 0);
}

#[test]
fn made_up_machines_are_passed_over_only_while_a_rehearsal_was_announced() {
    let b = bench();
    let count = || b.app.view_machines().unwrap().len();
    let made_up = |n| WireEvent { at: now_ms(), ..event("dhcp.discover", seedd::doctor::rehearsal::mac(n), 0) };
    b.console.site(SiteRequest::Rehearsal { seconds: 60 }).unwrap();
    b.app.record(made_up(1));
    b.app.record(event("dhcp.discover", MAC, 0));
    assert_eq!(count(), 1, "the real one");
    b.console.site(SiteRequest::Rehearsal { seconds: 0 }).unwrap();
    b.app.record(made_up(2));
    assert_eq!(count(), 2, "nobody hides behind such an address");
}
