//! Nothing is left in the kernel, however the agent ends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use host::clock::Stopwatch;

use super::lab::{LONG, Lab, possible};

/// The kernel frees programs a little after their last user.
fn left(lab: &Lab, wanted: usize) {
    let watch = Stopwatch::start();
    while lab.left().len() != wanted {
        assert!(watch.elapsed() < LONG, "programs {:?} are left", lab.left());
        thread::sleep(Duration::from_millis(100));
    }
}

fn nothing_left(lab: &Lab) {
    left(lab, 0);
}

#[test]
fn a_request_to_stop_leaves_nothing() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::new(&["wg2", "wg3"]);
    let agent = lab.agent(&[]).watching(&["wg2", "wg3"]);
    assert!(lab.left().len() >= 5, "the programs are there: {:?}", lab.left());
    agent.stop();
    nothing_left(&lab);
}

#[test]
fn a_killed_agent_leaves_nothing() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::new(&["wg2", "wg3"]);
    lab.agent(&[]).watching(&["wg2", "wg3"]).kill();
    nothing_left(&lab);
}

#[test]
fn filters_of_older_kernels_are_removed_too() {
    if !possible(&["tc"]) {
        return;
    }
    let lab = Lab::new(&["wg2", "wg3"]);
    lab.agent(&["--filters"]).watching(&["wg2", "wg3"]).stop();
    nothing_left(&lab);
    // Killed: the kernel keeps them until they are removed.
    lab.agent(&["--filters"]).watching(&["wg2", "wg3"]).kill();
    left(&lab, 2);
    let mut removed: Vec<String> = lab.detach().lines().map(str::to_owned).collect();
    removed.sort();
    assert_eq!(removed, ["removed from wg2", "removed from wg3"]);
    nothing_left(&lab);
    // The next start does the same, and counts once.
    lab.agent(&["--filters"]).watching(&["wg2", "wg3"]).kill();
    let agent = lab.agent(&["--filters"]).watching(&["wg2", "wg3"]);
    super::traffic::udp(&lab.a, "10.80.0.3", 7600, 10, 100);
    let seen = agent
        .until("the datagrams", |r| super::counts::flow(r, "wg3", "udp", 7600, kubedos_flow::kernel::layout::Direction::Out));
    assert_eq!((seen.packets, seen.payload), (10, 1000));
    agent.stop();
    nothing_left(&lab);
}

#[test]
fn interfaces_come_and_go() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::new(&["wg2", "wg3"]);
    let agent = lab.agent(&[]).watching(&["wg2", "wg3"]);
    super::traffic::udp(&lab.a, "10.80.0.3", 7700, 5, 100);
    let out = kubedos_flow::kernel::layout::Direction::Out;
    agent.until("the first datagrams", |r| super::counts::flow(r, "wg3", "udp", 7700, out).filter(|f| f.packets == 5));
    lab.a.ip(&["link", "del", "wg3"]);
    agent.until("no wg3", |r| r.interfaces.iter().all(|i| i.plane != "wg3").then_some(()));
    super::lab::ip(&["link", "add", "wg3", "netns", &lab.a.name, "type", "veth", "peer", "name", "wg3", "netns", &lab.b.name]);
    for (node, address) in [(&lab.a, "10.80.0.2/24"), (&lab.b, "10.80.0.3/24")] {
        node.ip(&["address", "add", address, "dev", "wg3"]);
        node.ip(&["link", "set", "wg3", "up"]);
    }
    let agent = agent.watching(&["wg3"]);
    super::traffic::udp(&lab.a, "10.80.0.3", 7700, 5, 100);
    let seen = agent.until("both", |r| super::counts::flow(r, "wg3", "udp", 7700, out).filter(|f| f.packets >= 10));
    assert_eq!((seen.packets, seen.payload), (10, 1000));
}

#[test]
fn a_kernel_without_type_information_is_named_and_nothing_is_counted() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::new(&["wg2", "wg3"]);
    let agent = lab.agent(&["--btf", "/nowhere/vmlinux"]);
    let why = agent.until("the reason", |r| r.why.clone());
    assert!(why.contains("no type information"), "{why}");
    assert!(lab.left().is_empty());
    super::traffic::udp(&lab.a, "10.80.0.3", 7800, 5, 100);
    let text = lab.a.inside(|| {
        let watch = Stopwatch::start();
        let mut stream = loop {
            match TcpStream::connect("10.79.0.2:9437") {
                Ok(stream) => break stream,
                Err(e) => assert!(watch.elapsed() < LONG, "{e}"),
            }
            thread::sleep(Duration::from_millis(100));
        };
        stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    let text = text.join().unwrap();
    assert!(text.contains("\nkubedos_flow_counting 0\n") && !text.contains("plane="), "{text}");
    agent.until("no rows", |r| (!r.counting && r.total.flows.is_empty() && r.interfaces.is_empty()).then_some(()));
}
