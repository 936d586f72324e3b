//! The servers together with other DHCP servers, relays, statically configured hosts, and a rack under a flood.

mod lab;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use lab::{Lab, SERVER, needs};

/// A udhcpc script that prints the lease.
const SAY: &[u8] = b"#!/bin/sh\necho \"$1 ip=$ip server=$serverid boot=$boot_file siaddr=$siaddr\"\n";

fn udhcpc(lab: &Lab, side: &str, more: &[&str]) -> String {
    let script = lab.file("say.sh", SAY);
    lab.run("", "chmod", &["+x", &script]);
    let dev = format!("{side}0");
    let side = if side == "far" { "cli" } else { side };
    let args = ["-i", &dev, "-f", "-n", "-q", "-t", "8", "-T", "1", "-s", &script];
    lab.run(side, "udhcpc", &[&args[..], more].concat())
}

/// The MAC and address of every `ack` line.
fn acks(text: &str) -> BTreeMap<String, String> {
    let words = |l: &str| l.strip_prefix("ack ")?.split_once(' ').map(|(m, i)| (m.to_owned(), i.to_owned()));
    text.lines().filter_map(words).collect()
}

fn dnsmasq(lab: &mut Lab) {
    lab.address("oth", "10.99.0.9/24");
    let leases = format!("--dhcp-leasefile={}", lab.path("dnsmasq.leases"));
    // One per test, as several run at once.
    let pid = format!("--pid-file={}", lab.path("dnsmasq.pid"));
    let range = "--dhcp-range=10.99.0.200,10.99.0.220,10m";
    lab.background(
        "oth",
        "dnsmasq",
        &["-k", "-C", "/dev/null", "-p", "0", "-i", "oth0", "--no-ping", "--user=root", range, &leases, &pid],
    );
}

#[test]
fn hole_1_auto_is_a_proxy_next_to_another_server_and_boots_machines() {
    let Some(mut lab) = Lab::without_server(&needs(&["dnsmasq", "udhcpc"]), &[("snponly.efi", b"x")], &["mode=auto"]) else {
        return;
    };
    dnsmasq(&mut lab);
    lab.serve_again();
    lab.wait_for("OtherServer { server: 10.99.0.9,");
    lab.wait_for("Serving { proxy: true }");
    let plain = udhcpc(&lab, "cli", &[]);
    assert!(plain.contains("server=10.99.0.9") && !lab.events().contains("event Offer"), "{plain}");
    // Like firmware: dnsmasq offers the address, and our server the boot file.
    lab.rack_address();
    let pxe = lab.run("cli", &Lab::example("rack"), &[SERVER, "1", "7", "0"]);
    assert!(acks(&pxe).values().all(|ip| ip.starts_with("10.99.0.2")) && pxe.ends_with("booted 1 of 1\n"), "{pxe}");
    lab.wait_for("event Offer");
    assert!(lab.events().contains("file=Some(\"snponly.efi\")"), "{}", lab.events());
}

#[test]
fn hole_1_auto_serves_alone_and_reports_a_server_that_appears_later() {
    let Some(mut lab) = Lab::start_with(&needs(&["dnsmasq", "udhcpc"]), &[], &["mode=auto", "noprobe"]) else { return };
    lab.wait_for("Serving { proxy: false }");
    let got = udhcpc(&lab, "cli", &[]);
    assert!(got.contains("server=10.99.0.1"), "{got}");
    dnsmasq(&mut lab);
    // The next probe is at most half a minute away.
    for _ in 0..400 {
        if lab.events().contains("OtherServer { server: 10.99.0.9,") {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    lab.wait_for("Serving { proxy: true }");
    // The earlier lease is still renewed.
    let again = udhcpc(&lab, "cli", &["-r", "10.99.0.100"]);
    assert!(again.contains("bound ip=10.99.0."), "{again}");
}

#[test]
fn next_to_kea_only_booting_machines_are_answered() {
    let Some(mut lab) = Lab::without_server(&needs(&["kea-dhcp4", "udhcpc"]), &[("snponly.efi", b"x")], &["mode=proxy"]) else {
        return;
    };
    lab.address("oth", "10.99.0.9/24");
    let config = format!(
        "{{\"Dhcp4\":{{\"interfaces-config\":{{\"interfaces\":[\"oth0\"]}},\"valid-lifetime\":600,\
         \"lease-database\":{{\"type\":\"memfile\",\"persist\":true,\"name\":\"{}\"}},\
         \"subnet4\":[{{\"id\":1,\"subnet\":\"10.99.0.0/24\",\"pools\":[{{\"pool\":\"10.99.0.200-10.99.0.220\"}}]}}]}}}}",
        lab.path("kea.csv")
    );
    let file = lab.file("kea.json", config.as_bytes());
    let env = format!("KEA_PIDFILE_DIR={}", lab.path(""));
    lab.background("oth", "env", &[&env, "KEA_LOCKFILE_DIR=none", "kea-dhcp4", "-c", &file]);
    lab.serve_again();
    let plain = udhcpc(&lab, "cli", &[]);
    assert!(plain.contains("server=10.99.0.9"), "{plain}");
    lab.rack_address();
    let pxe = lab.run("cli", &Lab::example("rack"), &[SERVER, "3", "7", "0"]);
    assert!(acks(&pxe).values().all(|ip| ip.starts_with("10.99.0.2")) && pxe.ends_with("booted 3 of 3\n"), "{pxe}");
    lab.wait_for("file=Some(\"snponly.efi\")");
}

#[test]
fn a_statically_configured_address_is_not_offered() {
    let Some(lab) = Lab::start(&needs(&["udhcpc"]), &[]) else { return };
    lab.address("oth", "10.99.0.100/24");
    let got = udhcpc(&lab, "cli", &[]);
    assert!(got.contains("bound ip=10.99.0.101"), "{got}");
    assert!(lab.events().contains("AddressInUse"), "{}", lab.events());
}

#[test]
fn only_reserved_machines_are_served_in_that_mode() {
    let words = ["mode=reservation", "reserve=02:00:00:00:00:05,10.99.0.55"];
    let Some(lab) = Lab::start_with(&needs(&["udhcpc"]), &[], &words) else { return };
    lab.set_client_mac("02:00:00:00:00:05");
    let got = udhcpc(&lab, "cli", &[]);
    assert!(got.contains("bound ip=10.99.0.55"), "{got}");
    lab.set_client_mac("02:00:00:00:00:06");
    let script = lab.path("say.sh");
    let got = lab.run("cli", "sh", &["-c", &format!("udhcpc -i cli0 -f -n -q -t 2 -T 1 -s {script} || true")]);
    assert!(!got.contains("bound"), "{got}");
    assert!(lab.events().contains("NotReserved"), "{}", lab.events());
}

#[test]
fn a_relay_forwards_machines_of_another_network() {
    let relay = "relay=10.98.0.0/24,10.98.0.50,10.98.0.60";
    let Some(mut lab) = Lab::start_with(&needs(&["dhcrelay", "udhcpc"]), &[], &[relay]) else { return };
    // The other namespace is the relay, with one interface on the server's network and one on the clients'.
    lab.address("oth", "10.99.0.8/24");
    let client = lab.ns("cli");
    lab.ip_of("oth", &["link", "add", "leg0", "type", "veth", "peer", "name", "far0", "netns", &client]);
    lab.ip_of("oth", &["address", "add", "10.98.0.1/24", "dev", "leg0"]);
    lab.ip_of("oth", &["link", "set", "leg0", "up"]);
    lab.ip_of("cli", &["link", "set", "cli0", "down"]);
    lab.ip_of("cli", &["link", "set", "far0", "up"]);
    lab.ip_of("srv", &["route", "add", "10.98.0.0/24", "via", "10.99.0.8"]);
    lab.run("oth", "sh", &["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
    lab.background("oth", "dhcrelay", &["-4", "-d", "-a", "-i", "leg0", "-i", "oth0", SERVER]);
    let got = udhcpc(&lab, "far", &[]);
    assert!(got.contains("bound ip=10.98.0.50 server=10.99.0.1"), "{got}");
}

#[test]
fn hole_19_a_rack_boots_while_a_stranger_floods() {
    let loader = vec![7u8; 200_000];
    let words = ["quiet", "transfers=512", "pools=10.99.0.10,10.99.0.250", "noprobe", "nowatch"];
    let Some(lab) = Lab::start_with(&needs(&[]), &[("snponly.efi", &loader)], &words) else { return };
    lab.rack_address();
    let said = lab.run("cli", &Lab::example("rack"), &[SERVER, "200", "1", "50000", "snponly.efi"]);
    assert!(said.ends_with("booted 200 of 200\n"), "{said}");
    assert_eq!(acks(&said).len(), 200);
}

#[test]
fn no_acknowledged_lease_is_lost_or_assigned_twice_after_kill_9() {
    let words = ["quiet", "pools=10.99.0.10,10.99.0.250", "noprobe", "nowatch"];
    let Some(mut lab) = Lab::start_with(&needs(&[]), &[], &words) else { return };
    lab.rack_address();
    let rack = |lab: &Lab, count: &str, first: &str| {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &lab.ns("cli"), &Lab::example("rack"), SERVER, count, first, "0"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for round in 0..5u32 {
        // The same machines in each round, killed at different moments of their boot.
        let machines = rack(&lab, "60", "1000");
        std::thread::sleep(Duration::from_millis(4 + 9 * u64::from(round)));
        lab.kill_and_restart();
        let out = machines.wait_with_output().unwrap();
        for (mac, ip) in acks(&String::from_utf8(out.stdout).unwrap()) {
            let before = known.insert(mac.clone(), ip.clone());
            assert!(before.is_none_or(|b| b == ip), "{mac} had another address before");
        }
    }
    let said = lab.run("cli", &Lab::example("rack"), &[SERVER, "60", "1000", "0"]);
    assert_eq!(acks(&said), known, "the same machines, the same addresses");
    let others = acks(&lab.run("cli", &Lab::example("rack"), &[SERVER, "100", "5000", "0"]));
    assert_eq!(others.len(), 100);
    assert!(others.values().all(|ip| !known.values().any(|k| k == ip)), "an address was assigned twice");
}
