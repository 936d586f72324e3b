//! A plane of WireGuard, which has no Ethernet header; in user space, since not every host's kernel has it.

use std::thread;
use std::time::Duration;

use host::clock::Stopwatch;
use host::files::{Start, open};
use host::tool::{Running, Tool};
use kubedos_flow::kernel::layout::{Direction, Role};

use super::counts::{flow, transferred};
use super::lab::{LONG, Lab, Node, possible};
use super::traffic::{tcp, udp};

/// Stops wireguard-go when dropped.
struct Tunnel(Running);

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _ = self.0.stop();
    }
}

fn key() -> (String, String) {
    let private = Tool::new("wg").arg("genkey").timeout(LONG).run().unwrap().text();
    let public = Tool::new("wg").arg("pubkey").stdin(private.as_bytes()).timeout(LONG).run().unwrap().text();
    (private, public)
}

fn tunnel(lab: &Lab, node: &Node, own: &str, private: &str, (peer, peer_key): (&str, &str)) -> Tunnel {
    // Its control socket is named after the interface, and the same in both namespaces.
    let private_run = "mkdir -p /run/wireguard && mount -t tmpfs none /run/wireguard; exec wireguard-go -f wg3";
    let log = open(&lab.file(&format!("wireguard-{own}")), Start::End, 0o600).unwrap();
    let argv = ["unshare", "--mount", "sh", "-c", private_run];
    let running = node.tool(&argv).spawn(log).unwrap();
    let pid = running.pid().to_string();
    let key_file = lab.file(&format!("key-{own}"));
    std::fs::write(&key_file, private).unwrap();
    let endpoint = format!("10.44.0.{peer}:51823");
    let set = ["wg", "set", "wg3", "private-key", key_file.as_str(), "listen-port", "51823", "peer", peer_key];
    let set = [&set[..], &["endpoint", &endpoint, "allowed-ips", "10.80.0.0/24"]].concat();
    let watch = Stopwatch::start();
    // The process enters namespaces before it makes the interface.
    while let Err(e) = Tool::new("nsenter").args(["--target", &pid, "--mount", "--net"]).args(&set).timeout(LONG).run() {
        assert!(watch.elapsed() < LONG, "{e:?}");
        thread::sleep(Duration::from_millis(200));
    }
    node.ip(&["address", "add", &format!("10.80.0.{own}/24"), "dev", "wg3"]);
    node.ip(&["link", "set", "wg3", "mtu", "1420", "up"]);
    Tunnel(running)
}

#[test]
fn a_plane_without_a_link_layer_is_counted_to_the_byte() {
    if !possible(&["wg", "wireguard-go", "unshare"]) {
        return;
    }
    let lab = Lab::new(&["eth0", "wg2"]);
    let ((private_a, public_a), (private_b, public_b)) = (key(), key());
    let _a = tunnel(&lab, &lab.a, "2", &private_a, ("3", &public_b));
    let _b = tunnel(&lab, &lab.b, "3", &private_b, ("2", &public_a));
    let agent = lab.agent(&[]).watching(&["underlay", "wg2", "wg3"]);
    // Few: wireguard-go drops packets of a fast sender, and what is sent again is counted again.
    let bytes = 100_017;
    let sent = transferred(&agent, Direction::Out, 7000, bytes, |port| tcp(&lab.a, &lab.b, "10.80.0.3", port, bytes));
    assert_eq!((sent.payload, sent.role), (bytes as u64, Role::Client), "{sent:?}");
    let got = transferred(&agent, Direction::In, 7050, bytes, |port| tcp(&lab.b, &lab.a, "10.80.0.2", port, bytes));
    assert_eq!((got.payload, got.role), (bytes as u64, Role::Server), "{got:?}");
    udp(&lab.a, "10.80.0.3", 7200, 50, 333);
    let sent = agent.until("the datagrams", |r| flow(r, "wg3", "udp", 7200, Direction::Out).filter(|f| f.packets >= 50));
    assert_eq!((sent.bytes, sent.payload), (50 * (333 + 28), 50 * 333));
    // And the tunnel itself on the underlay.
    let below = agent.until("the tunnel", |r| flow(r, "underlay", "udp", 51_823, Direction::Out));
    assert!(below.payload > sent.payload, "{below:?}");
}
