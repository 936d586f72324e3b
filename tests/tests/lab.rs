//! Tests of the lab: its guard counts packets, its machines start, and everything is removed afterwards.

use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

use kubedos_tests::netns::{self, Netns};
use kubedos_tests::vm::{Accel, Firmware, Spec, Vm};
use kubedos_tests::{stop, tool};

/// An address for documentation (RFC 5737): outside of every lab.
const OUTSIDE: &str = "192.0.2.1:9";

fn cannot_run(needed: &[&str]) -> bool {
    if !nix::unistd::geteuid().is_root() {
        kubedos_skip::skip("root", "network namespaces need root");
        return true;
    }
    for program in needed {
        if tool::find(program).is_none() {
            kubedos_skip::skip(program, "is not installed");
            return true;
        }
    }
    false
}

/// A name whose owner is this test's process: nobody takes it for stale, since the guard's tests end before the process.
fn name(what: &str) -> String {
    format!("kdtest-{}-{what}", std::process::id())
}

fn exists(ns: &str) -> bool {
    Path::new("/run/netns").join(ns).exists()
}

#[test]
fn the_guard_counts_what_programs_and_machines_send_outside() {
    if cannot_run(&["ip", "nft"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (lab_name, machine_name) = (name("guard"), name("machine"));
    let other = Netns::empty(&name("other"), dir.path()).unwrap();
    {
        let lab = Netns::lab(&lab_name, dir.path()).unwrap();
        let machine = Netns::empty(&machine_name, dir.path()).unwrap();
        lab.cable("port0", &machine, "eth0", "52:54:00:6b:64:f0").unwrap();
        // A second port: the bridge passes packets on.
        lab.cable("port1", &other, "eth0", "52:54:00:6b:64:f1").unwrap();
        machine.ip(&["addr", "add", "10.44.0.50/24", "dev", "eth0"]).unwrap();
        machine.ip(&["route", "add", "default", "via", netns::SEED_IP]).unwrap();

        // Inside: from the machine to the seed and back.
        machine.run(&["ping", "-c", "1", "-W", "5", netns::SEED_IP]).unwrap();
        lab.run(&["ping", "-c", "1", "-W", "5", "10.44.0.50"]).unwrap();
        // Neighbour discovery and its kind stay on the link.
        machine.outcome(&["ping", "-6", "-c", "1", "-W", "2", "ff02::1%eth0"]).unwrap();
        lab.outcome(&["ping", "-6", "-c", "1", "-W", "2", "ff02::1%br0"]).unwrap();
        lab.must_be_quiet().unwrap();

        // A program of the seed tries to reach the outside. The kernel tells it (EPERM) or not; the guard counts.
        lab.enter(|| {
            let _ = UdpSocket::bind("0.0.0.0:0")?.send_to(b"out", OUTSIDE);
            Ok(())
        })
        .unwrap();
        assert_eq!(lab.escaped().unwrap(), 1);

        // A machine tries, through the seed as its router.
        machine
            .enter(|| {
                UdpSocket::bind("0.0.0.0:0")?.send_to(b"out", OUTSIDE)?;
                Ok(())
            })
            .unwrap();
        let seen =
            stop::wait_for("the machine's packet", Duration::from_secs(10), || Ok(Some(lab.escaped()?).filter(|n| *n > 1)));
        assert_eq!(seen.unwrap(), 2);
        let named = lab.must_be_quiet().unwrap_err().to_string();
        assert!(named.contains("192.0.2.1"), "{named}");
        assert!(exists(&lab_name) && exists(&machine_name));
    }
    assert!(!exists(&lab_name) && !exists(&machine_name), "dropping a namespace removes it");
}

#[test]
fn processes_in_a_namespace_end_with_it() {
    if cannot_run(&["ip"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ns = Netns::empty(&name("procs"), dir.path()).unwrap();
    let log = dir.path().join("sleep.log");
    // A grandchild that nobody waits for, as wireguard-go is.
    let argv = ns.argv(&tool::words(&["sh", "-c", "sleep 600 & echo $! >\"$0\"; wait", &log.to_string_lossy()]));
    let mut shell = tool::Background::spawn("sh", &argv, &dir.path().join("sh.log"), None).unwrap();
    let grandchild = stop::wait_for("the grandchild", Duration::from_secs(10), || {
        Ok(std::fs::read_to_string(&log).ok().and_then(|t| t.trim().parse::<u32>().ok()))
    })
    .unwrap();
    drop(ns);
    let state = || std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
    let gone = stop::wait_for("the grandchild's end", Duration::from_secs(10), || {
        let stat = state();
        Ok((stat.is_empty() || stat.contains(") Z ")).then_some(()))
    });
    assert!(gone.is_ok(), "still there: {}", state());
    shell.kill();
}

#[test]
fn both_firmwares_start_and_look_for_the_network() {
    if cannot_run(&["ip", "nft", "qemu-system-x86_64"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ns = Netns::lab(&name("vm"), dir.path()).unwrap();
    for (number, firmware, word) in [(1, Firmware::SeaBios, "iPXE"), (2, Firmware::Ovmf, "PXE over IPv4")] {
        let spec = Spec { memory: 512, disk: 64 << 20, ..Spec::new(&format!("test{number}"), number, firmware) };
        let mut vm = Vm::start(&ns, spec, Accel::Tcg, dir.path(), dir.path()).unwrap();
        vm.wait(0, word, Duration::from_secs(240)).unwrap();
        let picture = dir.path().join(format!("{number}.png"));
        vm.screenshot(&picture).unwrap();
        assert!(std::fs::read(&picture).unwrap().starts_with(b"\x89PNG"));
        vm.reset().unwrap();
        vm.power_off();
    }
    assert_eq!(ns.escaped().unwrap(), 0);
}
