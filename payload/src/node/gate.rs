//! The fabric gate: links, addresses and routes, a handshake with the seed on every plane, SSH on the control plane.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use camino::Utf8Path;
use cluster_seed::agent::GateCheck;
use cluster_seed::cluster::CONTROL_PLANE;
use cluster_seed::identity::NodeIdentity;
use cluster_seed::peers::PeersFile;
use cluster_seed::wireguard::WgPublicKey;

use crate::http::{Wait, chain};
use host::tool::Tool;

/// Rounds before the gate fails, and the pause between them: 180 seconds plus the duration of the checks.
pub const ROUNDS: u32 = 60;
const PAUSE: Duration = Duration::from_secs(3);
const LIMIT: Duration = Duration::from_secs(20);

/// Runs every check once; returns passed and failed checks.
pub fn look(root: &Utf8Path, identity: &NodeIdentity, peers: &PeersFile) -> Vec<GateCheck> {
    let mut checks = Vec::new();
    for (plane, place) in &identity.info.planes {
        checks.push(link(root, plane));
        checks.push(route(plane, place.address));
        checks.push(handshake(plane, identity, peers));
    }
    if let Some(place) = identity.info.planes.get(CONTROL_PLANE) {
        checks.push(ssh(SocketAddr::from((place.address, 22))));
    }
    checks
}

/// Repeats the checks until all pass, at most `rounds` times; returns the last results.
pub fn pass(rounds: u32, wait: Wait<'_>, mut look: impl FnMut() -> Vec<GateCheck>) -> Vec<GateCheck> {
    let mut checks = look();
    for _ in 1..rounds {
        if passed(&checks) {
            break;
        }
        wait(PAUSE);
        checks = look();
    }
    checks
}

/// True if there were checks and all passed.
pub fn passed(checks: &[GateCheck]) -> bool {
    !checks.is_empty() && checks.iter().all(|c| c.ok)
}

fn check(name: String, result: Result<String, String>) -> GateCheck {
    let ok = result.is_ok();
    GateCheck { name, ok, detail: result.unwrap_or_else(|e| e).chars().take(300).collect() }
}

fn link(root: &Utf8Path, plane: &str) -> GateCheck {
    let flags = std::fs::read_to_string(root.join("sys/class/net").join(plane).join("flags")).unwrap_or_default();
    let up = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).map(|f| f & 1 == 1);
    let result = match up {
        Ok(true) => Ok("up".to_owned()),
        Ok(false) => Err("down".to_owned()),
        Err(_) => Err("no such interface".to_owned()),
    };
    check(format!("{plane} link"), result)
}

/// The plane's route exists once the address does.
fn route(plane: &str, address: Ipv4Addr) -> GateCheck {
    let output = Tool::new("ip").args(["-o", "-4", "address", "show", "dev", plane]).timeout(LIMIT).run();
    let result = match output {
        Ok(out) if out.text().split_ascii_whitespace().any(|w| w.split('/').next() == Some(&address.to_string())) => {
            Ok(address.to_string())
        }
        Ok(_) => Err(format!("{address} is missing")),
        Err(e) => Err(chain(&e)),
    };
    check(format!("{plane} address"), result)
}

fn handshake(plane: &str, identity: &NodeIdentity, peers: &PeersFile) -> GateCheck {
    let name = format!("{plane} handshake with seed");
    let seed = peers.nodes.get(&identity.info.seed_hostname);
    let Some((key, address)) = seed.and_then(|s| Some((*s.keys.get(plane)?, *s.addresses.get(plane)?))) else {
        return check(name, Err("the peer list has no seed on this plane".to_owned()));
    };
    // Any packet starts a WireGuard handshake; a reply to the ping is not needed.
    let ping = Tool::new("ping").args(["-n", "-c", "1", "-W", "2", "-I", plane, &address.to_string()]).timeout(LIMIT).run_any();
    let answered = ping.is_ok_and(|(status, _)| status.success());
    let result = match Tool::new("wg").args(["show", plane, "latest-handshakes"]).timeout(LIMIT).run() {
        Ok(out) if shook(&out.text(), &key) => Ok(format!("{address}{}", if answered { " answers ping" } else { "" })),
        Ok(_) => Err(format!("no handshake with {address} yet")),
        Err(e) => Err(chain(&e)),
    };
    check(name, result)
}

/// `wg show IF latest-handshakes` prints key, tab, Unix time, 0 for never (wg(8)).
fn shook(text: &str, key: &WgPublicKey) -> bool {
    let line = text.lines().filter_map(|l| l.split_once('\t')).find(|(k, _)| *k == key.to_string());
    line.is_some_and(|(_, time)| time.trim().parse::<u64>().is_ok_and(|t| t > 0))
}

/// The server sends its identification string first (RFC 4253 section 4.2).
fn ssh(address: SocketAddr) -> GateCheck {
    let name = format!("ssh on {CONTROL_PLANE}");
    let greeting = || {
        let limit = Duration::from_secs(5);
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        let mut bytes = [0u8; 64];
        let n = stream.read(&mut bytes)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes[..n]).trim().to_owned())
    };
    let result = match greeting() {
        Ok(text) if text.starts_with("SSH-2.0-") => Ok(text),
        Ok(text) => Err(format!("{address} sent {text:?}")),
        Err(e) => Err(format!("{address}: {e}")),
    };
    check(name, result)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;

    fn one(ok: bool) -> Vec<GateCheck> {
        vec![GateCheck { name: "a".into(), ok, detail: String::new() }]
    }

    #[test]
    fn the_gate_gives_up() {
        let mut looks = 0;
        let mut after = |n: u32| {
            looks = 0;
            let checks = pass(5, &|_| (), || {
                looks += 1;
                one(looks >= n)
            });
            (passed(&checks), looks)
        };
        assert_eq!(after(1), (true, 1));
        assert_eq!(after(5), (true, 5));
        assert_eq!(after(6), (false, 5));
        assert!(!passed(&[]));
    }

    #[test]
    fn a_handshake_has_a_time() {
        let key = WgPublicKey([1; 32]);
        let other = WgPublicKey([2; 32]);
        assert!(shook(&format!("{other}\t0\n{key}\t1732300000\n"), &key));
        assert!(!shook(&format!("{other}\t1732300000\n{key}\t0\n"), &key));
        assert!(!shook("", &key));
    }

    #[test]
    fn only_an_ssh_server_counts() {
        for (greeting, ok) in [("SSH-2.0-OpenSSH_10.0\r\n", true), ("HTTP/1.1 400\r\n", false), ("", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = std::thread::spawn(move || listener.accept().unwrap().0.write_all(greeting.as_bytes()).unwrap());
            assert_eq!(ssh(address).ok, ok, "{greeting}");
            server.join().unwrap();
        }
    }
}
