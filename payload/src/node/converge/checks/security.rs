//! The check `security`: no password login, default-deny in force, nothing listens where it should not, every package source signed.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use camino::Utf8Path;
use cluster_seed::converge::orders::Run;
use cluster_seed::identity::IdentityInfo;
use cluster_seed::peers::PeersFile;
use host::tool::Tool;
use ipnet::IpNet;
use serde_json::Value;

use super::listening::{Allowed, Protocol, Socket, parse};
use crate::http::chain;

const LIMIT: Duration = Duration::from_secs(20);
/// Ports of every node on any address: SSH, which the firewall accepts from the control plane only, and the DHCP client.
const ANYWHERE: [(Protocol, u16); 2] = [(Protocol::Tcp, 22), (Protocol::Udp, 68)];
/// Ports of plays that cannot be bound to one address.
const OF_PLAYS: [(&str, Protocol, u16); 1] = [("storage", Protocol::Tcp, 2049)];
/// Variable of a role with further ports, as `tcp/8080`.
const VARIABLE: &str = "security_listen";
/// Variable of the load balancer's address on the boot network.
const VIRTUAL: &str = "lb_vip_underlay";
/// Most sockets named in the reason.
const MAX_NAMES: usize = 4;

/// Checks everything; the reasons of all failures, or what is in order.
pub fn check(root: &Utf8Path, info: &IdentityInfo, peers: &PeersFile, run: Option<&Run>) -> Result<String, String> {
    let parts = [password_login(), default_deny(), listening(root, info, peers, run), sources(root)];
    let bad: Vec<String> = parts.into_iter().filter_map(Result::err).collect();
    if bad.is_empty() {
        Ok("no password login, default-deny, only planes, signed sources".to_owned())
    } else {
        Err(bad.join("; "))
    }
}

fn password_login() -> Result<(), String> {
    let output = Tool::new("/usr/sbin/sshd").arg("-T").timeout(LIMIT).run().map_err(|e| chain(&e))?;
    judge_ssh(&output.text())
}

/// `text`: what `sshd -T` prints (sshd(8)).
fn judge_ssh(text: &str) -> Result<(), String> {
    let value = |key: &str| {
        let of = |line: &'_ str| line.split_once(' ').filter(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, v)| v.to_owned());
        text.lines().find_map(of).unwrap_or_default()
    };
    for key in ["passwordauthentication", "kbdinteractiveauthentication", "permitemptypasswords"] {
        if value(key) != "no" {
            return Err(format!("sshd: {key} is {:?}", value(key)));
        }
    }
    match value("permitrootlogin").as_str() {
        "no" | "prohibit-password" | "without-password" | "forced-commands-only" => Ok(()),
        other => Err(format!("sshd: permitrootlogin is {other:?}")),
    }
}

fn default_deny() -> Result<(), String> {
    let output = Tool::new("nft").args(["list", "table", "inet", "kubedos"]).timeout(LIMIT).run();
    judge_rules(&output.map_err(|e| format!("firewall: {}", chain(&e)))?.text())
}

/// Both chains must drop what no rule accepts.
fn judge_rules(text: &str) -> Result<(), String> {
    for hook in ["input", "forward"] {
        let denies = |line: &&str| line.contains(&format!("hook {hook} ")) && line.contains("policy drop");
        if !text.lines().any(|line| denies(&line)) {
            return Err(format!("firewall: the policy of {hook} is not drop"));
        }
    }
    Ok(())
}

fn listening(root: &Utf8Path, info: &IdentityInfo, peers: &PeersFile, run: Option<&Run>) -> Result<(), String> {
    let read = |name: &str| fs::read_to_string(root.join("proc/net").join(name)).unwrap_or_default();
    let mut open: BTreeSet<Socket> = BTreeSet::new();
    for (protocol, names) in [(Protocol::Tcp, ["tcp", "tcp6"]), (Protocol::Udp, ["udp", "udp6"])] {
        open.extend(names.iter().flat_map(|name| parse(protocol, &read(name))));
    }
    let allowed = allowed(root, info, peers, run);
    let bad: Vec<String> = open.iter().filter(|s| !allowed.allows(s)).map(Socket::to_string).collect();
    match bad.len() {
        0 => Ok(()),
        n if n <= MAX_NAMES => Err(format!("something listens on {}", bad.join(", "))),
        n => Err(format!("something listens on {} and {} more", bad[..MAX_NAMES].join(", "), n - MAX_NAMES)),
    }
}

fn allowed(root: &Utf8Path, info: &IdentityInfo, peers: &PeersFile, run: Option<&Run>) -> Allowed {
    let mut anywhere: BTreeSet<_> = ANYWHERE.into();
    anywhere.extend(info.planes.values().map(|plane| (Protocol::Udp, plane.port)));
    if let Some(run) = run {
        let of_play = |play: &&str| run.plays.iter().any(|p| p == play);
        anywhere.extend(OF_PLAYS.iter().filter(|(play, ..)| of_play(play)).map(|(_, protocol, port)| (*protocol, *port)));
        anywhere.extend(variable(run));
    }
    let range = fs::read_to_string(root.join("proc/sys/net/ipv4/ip_local_port_range")).unwrap_or_default();
    let mut ports = range.split_ascii_whitespace().filter_map(|w| w.parse().ok());
    // The kernel's default (ip(7)).
    let ephemeral = (ports.next().unwrap_or(32_768), ports.next().unwrap_or(60_999));
    let second = info.planes.keys().filter_map(|plane| peers.planes.get(plane)?.range6());
    let planes = info.planes.values().map(|plane| plane.cidr).map(IpNet::V4).chain(second.map(IpNet::V6)).collect();
    let virtual_address = run.and_then(|r| r.vars.get(VIRTUAL)).and_then(Value::as_str).and_then(|v| v.parse().ok());
    let addresses = bridges(root).into_iter().chain(virtual_address).collect();
    Allowed { planes, addresses, anywhere, ephemeral }
}

/// The ports in the role's variables; what cannot be read allows nothing.
fn variable(run: &Run) -> Vec<(Protocol, u16)> {
    let words = run.vars.get(VARIABLE).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let port = |word: &Value| match word.as_str()?.split_once('/')? {
        ("tcp", port) => Some((Protocol::Tcp, port.parse().ok()?)),
        ("udp", port) => Some((Protocol::Udp, port.parse().ok()?)),
        _ => None,
    };
    words.iter().filter_map(port).collect()
}

/// Container networks: their name servers listen on the address of a bridge.
fn bridges(root: &Utf8Path) -> BTreeSet<std::net::IpAddr> {
    let output = Tool::new("ip").args(["-o", "address", "show"]).timeout(LIMIT).run();
    let text = output.map(|o| o.text()).unwrap_or_default();
    let of = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, name, _, address, ..] = words[..] else { return None };
        let bridge = root.join("sys/class/net").join(name).join("bridge").exists();
        if bridge { address.split('/').next()?.parse().ok() } else { None }
    };
    text.lines().filter_map(of).collect()
}

fn sources(root: &Utf8Path) -> Result<(), String> {
    let apt = root.join("etc/apt");
    let mut files = vec![apt.join("sources.list")];
    files.extend(apt.join("sources.list.d").read_dir_utf8().into_iter().flatten().filter_map(|e| Some(e.ok()?.into_path())));
    for path in files {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if let Some(line) = unsigned(&text) {
            return Err(format!("apt: {path} accepts unsigned packages: {line}"));
        }
    }
    match Tool::new("apt-config").arg("dump").timeout(LIMIT).run() {
        Ok(output) => judge_apt(&output.text()),
        Err(e) => Err(chain(&e)),
    }
}

/// The line of a source that turns off the check of signatures (sources.list(5)), in either format.
fn unsigned(text: &str) -> Option<&str> {
    let bad = |line: &&str| {
        let lower: String = line.to_ascii_lowercase().split_ascii_whitespace().collect();
        let comment = lower.starts_with('#');
        let options = ["trusted", "allow-insecure", "allow-weak", "allow-downgrade-to-insecure"];
        let on = |option: &&str| {
            let named = |separator: &str| ["yes", "true", "1"].iter().any(|v| lower.contains(&format!("{option}{separator}{v}")));
            named("=") || named(":")
        };
        !comment && options.iter().any(on)
    };
    text.lines().find(bad).map(str::trim)
}

/// `text`: what `apt-config dump` prints.
fn judge_apt(text: &str) -> Result<(), String> {
    let options =
        ["apt::get::allowunauthenticated", "acquire::allowinsecurerepositories", "acquire::allowdowngradetoinsecurerepositories"];
    let on = |line: &&str| {
        let (key, value) = line.split_once(' ').unwrap_or_default();
        let set = matches!(value.trim_matches(['"', ';']).to_ascii_lowercase().as_str(), "true" | "yes" | "1" | "on" | "enable");
        set && options.contains(&key.to_ascii_lowercase().as_str())
    };
    text.lines().find(on).map_or(Ok(()), |line| Err(format!("apt accepts unsigned packages: {line}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_log_in_with_a_password_is_found() {
        let text = "port 22\npermitrootlogin prohibit-password\npasswordauthentication no\nkbdinteractiveauthentication no\npermitemptypasswords no\n";
        assert_eq!(judge_ssh(text), Ok(()));
        for (from, to) in [
            ("passwordauthentication no", "passwordauthentication yes"),
            ("kbdinteractiveauthentication no", "kbdinteractiveauthentication yes"),
            ("permitemptypasswords no", "permitemptypasswords yes"),
            ("prohibit-password", "yes"),
            ("passwordauthentication no\n", ""),
        ] {
            assert!(judge_ssh(&text.replacen(from, to, 1)).is_err(), "{to}");
        }
        assert!(judge_ssh("").is_err());
    }

    #[test]
    fn default_deny_holds_for_both_chains() {
        let text = "table inet kubedos {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n\
                    \tchain forward {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}";
        assert_eq!(judge_rules(text), Ok(()));
        assert!(judge_rules(&text.replacen("policy drop", "policy accept", 1)).unwrap_err().contains("input"));
        assert!(judge_rules(&text.replace("hook forward", "hook output")).unwrap_err().contains("forward"));
        assert!(judge_rules("").is_err());
    }

    #[test]
    fn a_source_without_signature_is_found_in_both_formats() {
        for good in [
            "deb [signed-by=/k.gpg] http://10.44.0.1 trixie main",
            "Types: deb\nSigned-By: /k.gpg\nTrusted: no\n",
            "# deb [trusted=yes] x",
            "",
        ] {
            assert_eq!(unsigned(good), None, "{good}");
        }
        for bad in [
            "deb [ arch=amd64 trusted=yes ] http://x y z",
            "deb [allow-insecure = yes] x",
            "Types: deb\nTrusted: yes\n",
            "TRUSTED:  True",
        ] {
            assert!(unsigned(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn settings_of_apt_that_accept_unsigned_packages_are_found() {
        assert_eq!(
            judge_apt("APT \"\";\nAPT::Get::AllowUnauthenticated \"false\";\nAcquire::AllowInsecureRepositories \"0\";\n"),
            Ok(())
        );
        for bad in ["APT::Get::AllowUnauthenticated \"true\";", "acquire::AllowInsecureRepositories \"1\";"] {
            assert!(judge_apt(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_role_may_name_more_ports() {
        let vars = [(VARIABLE.to_owned(), serde_json::json!(["tcp/8080", "udp/53", "tcp/x", "icmp/1", 7, "tcp/70000"]))];
        let run = Run {
            revision: cluster_seed::ids::Digest([1; 32]),
            attempt: 0,
            mode: cluster_seed::converge::orders::RunMode::Apply,
            payload: cluster_seed::ids::Digest([1; 32]),
            payload_size: 0,
            role: "r".into(),
            plays: vec![],
            vars: vars.into(),
            groups: [].into(),
        };
        assert_eq!(variable(&run), [(Protocol::Tcp, 8080), (Protocol::Udp, 53)]);
    }
}
