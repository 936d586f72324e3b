//! The rules as nft(8) sees them.

use std::fs;

use cluster_seed::identity::IdentityInfo;
use host::tool::{Tool, ToolError};
use payload::assets;
use payload::base::Command;

use crate::machine::{Machine, info};

/// What nft(8) would load, with the paths of a temporary root.
fn rules(machine: &Machine) -> String {
    let text = machine.text(assets::FIREWALL.path).replace("\"/", &format!("\"{}/", machine.root()));
    machine.write("/rules.nft", text.as_bytes());
    machine.at("/rules.nft").into_string()
}

fn nft(args: &[&str]) -> Result<String, ToolError> {
    Tool::new("unshare").args(["--net", "nft"]).args(args).run().map(|out| out.text())
}

#[test]
fn nft_accepts_the_rules_with_and_without_an_identity() {
    if let Err(e) = nft(&["list", "ruleset"]) {
        println!("skipped: no nft ({e})");
        return;
    }
    let machine = Machine::new();
    nft(&["-c", "-f", &rules(&machine)]).expect("the base rules load by themselves");
    machine.apply(&info());
    nft(&["-c", "-f", &rules(&machine)]).expect("the base rules load with a node's own");
    let none = IdentityInfo { planes: Default::default(), ..info() };
    machine.apply(&none);
    nft(&["-c", "-f", &rules(&machine)]).expect("a node without planes has rules");
    machine.write("/etc/nftables.d/other.nft", b"add rule inet nothing\n");
    assert!(nft(&["-c", "-f", &rules(&machine)]).is_err(), "the check checks");
}

#[test]
fn the_loaded_rules_answer_the_query_and_let_in_what_they_should() {
    let machine = Machine::new();
    let path = rules(&machine);
    let script = |query: &str| format!("nft -f {path} && nft '{query}' >&2 && nft -s list ruleset");
    let run = |query: &str| Tool::new("unshare").args(["--net", "sh", "-c", &script(query)]).run().map(|out| out.text());
    if let Err(e) = nft(&["list", "ruleset"]) {
        println!("skipped: no nft ({e})");
        return;
    }
    let ran = |machine: &Machine| {
        machine.loaded.set(true);
        machine.apply(&info());
        machine.apply(&info());
        machine.ran.borrow().iter().find_map(|c| if let Command::QueryFirewall(q) = c { Some(q.clone()) } else { None }).unwrap()
    };
    // Before there is an identity: nothing is let in, and the query says so.
    assert!(run("list table inet kubedos").unwrap().contains("policy drop"));
    let query = ran(&machine);
    let rules = run(&query).unwrap();
    let order = [
        "policy drop;",
        "iif \"lo\" accept",
        "ct state established,related accept",
        "ct state invalid drop",
        "meta l4proto { icmp, ipv6-icmp } accept",
        "udp sport 67 udp dport 68 accept",
        "udp dport @wireguard accept",
        "iifname != \"wg1\" tcp dport 22 drop",
        "iifname @planes accept",
        "type filter hook forward priority filter; policy drop;",
    ];
    let places: Vec<_> = order.iter().map(|rule| rules.find(rule).unwrap_or_else(|| panic!("no {rule} in {rules}"))).collect();
    assert!(places.is_sorted(), "{rules}");
    fs::remove_file(machine.at("/etc/nftables.d/kubedos.nft")).unwrap();
    assert!(run(&query).is_err(), "without its elements the query fails");
}

#[test]
fn the_firewall_is_loaded_before_the_network() {
    let unit = assets::files().into_iter().find(|a| a.path.ends_with("nftables.service.d/kubedos.conf")).unwrap();
    let unit = String::from_utf8_lossy(unit.bytes);
    let lines: Vec<_> = unit.lines().filter(|l| !l.starts_with('#')).collect();
    for line in ["Wants=network-pre.target", "Before=network-pre.target"] {
        assert!(lines.contains(&line), "{line}");
    }
    let starts: Vec<_> = lines.iter().filter_map(|l| l.strip_prefix("ExecStart=")).collect();
    let (base, all) =
        (format!("/usr/sbin/nft -f {}", assets::BASE_RULES.path), format!("-/usr/sbin/nft -f {}", assets::FIREWALL.path));
    assert_eq!(starts, ["", base.as_str(), all.as_str()], "the base rules first, then the rest, which may fail");
    assert!(assets::enabled_units().contains(&"nftables.service"));
    let node = assets::files().into_iter().find(|a| a.path.ends_with("/kubedos-node.service")).unwrap();
    assert!(String::from_utf8_lossy(node.bytes).contains("After=network.target nftables.service "));
}
