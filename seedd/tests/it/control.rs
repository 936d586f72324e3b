//! What the control socket answers, and what the command line makes of it with --json: scripts read both.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use appliance::console::host::Host;
use appliance::control::listen;
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Mac;
use flight::recorder::WireEvent;
use host::clock::now_ms;
use host::tool::Tool;
use seedd::app::console::AtConsole;
use serde_json::{Value, json};
use site::store::events::PacketFacts;

use crate::support::sites::{PASSPHRASE, Temp, app, site_a, temp};

const MAC: Mac = Mac([0x52, 0x54, 0, 0xab, 0, 1]);

struct Bench {
    _dir: Temp,
    data: Utf8PathBuf,
}

/// A sealed site with one machine in its log, behind its socket.
fn bench() -> Bench {
    let dir = temp();
    let site = site_a(&dir);
    let data = site.data.clone();
    let socket = listen(&site.control_socket()).unwrap();
    let host = Host::server(&site.data);
    let app = app(&site);
    let facts = PacketFacts {
        iface: Some("br0".into()),
        xid: Some("1".into()),
        arch: Some("efi-x64".into()),
        ipxe: true,
        ip: Some(Ipv4Addr::new(10, 44, 0, 100)),
        server: Some(Ipv4Addr::new(10, 44, 0, 2)),
        file: Some("snponly.efi".into()),
        bytes: Some(7),
        why: Some("why".into()),
        cause: None,
        vendor_class: Some("PXEClient".into()),
        hostname: Some("n1".into()),
        uuid: Some("u".into()),
        repeats: Some(2),
    };
    let kind = "dhcp.discover".parse().unwrap();
    app.record(WireEvent { text: "asks".into(), mac: Some(MAC), facts, ..WireEvent::new(now_ms(), kind) });
    socket.start(Arc::new(AtConsole { app, host }));
    Bench { _dir: dir, data }
}

fn raw(data: &Utf8Path, request: &Value) -> Value {
    let mut stream = UnixStream::connect(data.join(site::layout::CONTROL_SOCKET)).unwrap();
    writeln!(stream, "{request}").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

/// Keys, and the kinds of their values: true of a number, "" of a text, lists by their first member.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => json!(true),
        Value::Number(_) => json!(0),
        Value::String(_) => json!(""),
        Value::Array(list) => list.iter().take(1).map(shape).collect(),
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), shape(v))).collect(),
    }
}

fn role() -> Value {
    json!({"name": "", "description": "", "artifact": null, "minDisk": null})
}

fn status() -> Value {
    json!({
        "site": "", "version": "", "setupNeeded": true, "sealed": true, "mode": "", "epoch": 0, "snapshot": null,
        "proof": null, "roles": [role()], "clock": 0, "fingerprint": "", "sealedFingerprint": null, "warnings": [""], "lasting": [],
    })
}

fn event() -> Value {
    json!({
        "id": 0, "at": 0, "kind": "", "text": "", "machine": 0, "actor": null, "mac": "",
        "facts": {
            "iface": "", "xid": "", "arch": "", "ipxe": true, "ip": "", "server": "", "file": "", "bytes": 0, "why": "",
            "vendorClass": "", "hostname": "", "uuid": "", "repeats": 0,
        },
    })
}

fn clock() -> Value {
    json!({"clockMs": 0, "source": "", "synchronised": true, "stratum": null, "offset": null, "drift": null, "doubt": null})
}

/// Without what depends on the machine that the test runs on.
fn anywhere(mut clock: Value) -> Value {
    for key in ["stratum", "offset", "drift", "doubt"] {
        assert!(clock.get(key).is_some(), "{key} in {clock}");
        clock[key] = Value::Null;
    }
    clock
}

#[test]
fn the_socket_speaks_as_before() {
    let b = bench();
    let done = |request: Value| {
        let answer = raw(&b.data, &request);
        let done = answer.get("done").unwrap_or_else(|| panic!("{request}: {answer}"));
        shape(done)
    };
    let site = |ask: Value| done(json!({"op": "site", "ask": ask}));
    let mac = MAC.to_string();
    assert_eq!(done(json!({"op": "status"})), status());
    assert_eq!(anywhere(done(json!({"op": "clock"}))), clock());
    let events = json!({"what": "events", "after": null, "back": 9, "limit": 9, "mac": mac, "kinds": ["dhcp."]});
    assert_eq!(site(events), json!({"events": [event()], "next": 0, "more": true}));
    assert_eq!(site(json!({"what": "packets", "mac": mac})), json!({"packets": 0, "pcapng": ""}));
    assert_eq!(site(json!({"what": "metrics"})), json!({"text": ""}));
    assert_eq!(site(json!({"what": "power", "mac": mac})), json!({"controller": null, "medium": null}));
    assert_eq!(site(json!({"what": "rehearsal", "seconds": 0})), json!({}));
    let doctor = json!({"iface": "", "listen": "", "active": true, "sealed": true, "pid": 0});
    assert_eq!(site(json!({"what": "doctor"})), doctor);
    assert_eq!(done(json!({"op": "unseal", "passphrase": PASSPHRASE})), json!({"sealed": true}));
    let controller = json!({
        "what": "controller", "mac": mac, "kind": "redfish", "address": "https://10.44.9.1", "user": "u", "password": "p",
    });
    let saved = json!({
        "kind": "", "address": "", "user": "", "tls": true, "pin": null, "weakness": null, "offered": null, "cipherSuite": null,
        "privilege": null,
    });
    assert_eq!(site(controller), json!({"controller": saved, "medium": null}));
    assert_eq!(site(json!({"what": "forgetController", "mac": mac})), json!({"controller": null, "medium": null}));
    let view = done(json!({"op": "view"}));
    let keys: Vec<_> = view.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = "appliance clock disks fingerprint hostname interfaces nodes pages pending phase sealed settings setupCode \
                    site state takesEffect version warnings";
    assert_eq!(keys.join(" "), expected);
    for (request, why) in [
        (json!({"op": "reboot"}), "not an appliance"),
        (json!({"op": "promote"}), "not a standby"),
        (json!({"op": "site", "ask": {"what": "act", "mac": mac, "action": "status"}}), "controller"),
        (json!({"op": "site", "ask": {"what": "act", "mac": mac, "action": "juggle"}}), "juggle"),
        (json!({"op": "setClock", "toMs": 1, "more": 1}), "reading the control socket's line"),
    ] {
        let answer = raw(&b.data, &request);
        assert!(answer["error"].as_str().is_some_and(|e| e.contains(why)), "{request}: {answer}");
    }
    assert_eq!(done(json!({"op": "reload"})), json!({"reloading": true}));
}

#[test]
fn the_command_line_answers_json_as_before() {
    let b = bench();
    let run = |words: &[&str]| {
        let output = Tool::new(env!("CARGO_BIN_EXE_seedd")).args(words).args(["--data", b.data.as_str()]).run().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let lines = |words: &[&str]| run(words).lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).collect::<Vec<_>>();
    let mac = MAC.to_string();
    let mut with_keys = status();
    with_keys["siteKey"] = json!("");
    with_keys["operator"] = json!("");
    assert_eq!(shape(&lines(&["status", "--json"])[0]), with_keys);
    assert_eq!(anywhere(shape(&lines(&["clock", "show", "--json"])[0])), clock());
    let tail = lines(&["tail", "--once", "--json", "--mac", &mac]);
    assert_eq!((tail.len(), shape(&tail[0])), (1, event()));
    assert_eq!(shape(&lines(&["power", "show", &mac, "--json"])[0]), json!({"controller": null, "medium": null}));
    let text = run(&["status"]);
    assert!(
        text.starts_with("site site-a is sealed\n  snapshot  none\n  site key  ") && text.contains("\n  warning   "),
        "{text}"
    );
    assert!(run(&["tail", "--once"]).contains("  52:54:00:ab:00:01  dhcp.discover         asks"));
    assert_eq!(run(&["power", "show", &mac]), "no controller configured\n");
    assert!(run(&["metrics", "show"]).contains("# HELP"));
    assert!(run(&["clock", "show"]).contains("\n  source  "));
}
