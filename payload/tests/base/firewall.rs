//! The rules, checked with nft(8).

use std::fs;

use cluster_seed::identity::IdentityInfo;
use host::tool::{Tool, ToolError};
use payload::assets;
use payload::base::{Base, Command};

use crate::machine::{Machine, info, peers};

/// The rules for nft(8), with the paths of a temporary root.
pub fn rules(machine: &Machine) -> String {
    let text = machine.text(assets::FIREWALL.path).replace("\"/", &format!("\"{}/", machine.root()));
    machine.write("/rules.nft", text.as_bytes());
    machine.at("/rules.nft").into_string()
}

pub fn nft(args: &[&str]) -> Result<String, ToolError> {
    Tool::new("unshare").args(["--net", "nft"]).args(args).run().map(|out| out.text())
}

#[test]
fn nft_accepts_the_rules_with_and_without_an_identity() {
    if let Err(e) = nft(&["list", "ruleset"]) {
        println!("skipped: no nft ({e})");
        return;
    }
    let machine = Machine::new();
    nft(&["-c", "-f", &rules(&machine)]).expect("the base rules load on their own");
    machine.apply(&info());
    nft(&["-c", "-f", &rules(&machine)]).expect("the base rules load with a node's rules");
    let none = IdentityInfo { planes: Default::default(), ..info() };
    machine.apply(&none);
    nft(&["-c", "-f", &rules(&machine)]).expect("a node without planes has rules");
    machine.write("/etc/nftables.d/other.nft", b"add rule inet nothing\n");
    assert!(nft(&["-c", "-f", &rules(&machine)]).is_err(), "the check can fail");
}

#[test]
fn the_firewall_is_there_while_the_kernel_has_it_and_asking_loads_nothing() {
    let machine = Machine::new();
    let has = || {
        let run = |c: &Command| machine.run(c);
        let (info, list) = (info(), peers());
        let base = Base::new(machine.root(), &info, &list, &run);
        base.has_firewall()
    };
    assert!(!has());
    machine.apply(&info());
    machine.ran.borrow_mut().clear();
    assert!(has());
    machine.loaded.set(false);
    assert!(!has(), "somebody flushed it");
    assert!(machine.ran.borrow().iter().all(|c| matches!(c, Command::QueryFirewall(_))));
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
    // Before there is an identity: nothing is admitted, and the query fails.
    assert!(run("list table inet kubedos").unwrap().contains("policy drop"));
    let query = ran(&machine);
    let rules = run(&query).unwrap();
    let order = [
        "policy drop;",
        "iif \"lo\" accept",
        "iifname @planes iifname . ip daddr != @places drop",
        "iifname @planes iifname . ip6 daddr != @places6 drop",
        "iifname != @planes ip daddr @addresses drop",
        "iifname != @planes ip6 daddr @addresses6 drop",
        "ct state established,related accept",
        "ct state invalid drop",
        "meta l4proto { icmp, ipv6-icmp } accept",
        "udp sport 67 udp dport 68 accept",
        "udp dport @wireguard accept",
        "iifname != \"wg1\" tcp dport 22 drop",
        "iifname @guarded jump allows",
        "iifname != @guarded iifname @planes accept",
        "type filter hook forward priority filter; policy drop;",
        "iifname @planes oifname @planes iifname . oifname != @hairpins counter",
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

/// Two namespaces joined by veth pairs: the first is the node, with interfaces named like its planes; the second sends to it
/// over each. Prints what answers.
const ACROSS: &str = r#"
set -e
unshare --net sleep 60 & far=$!
trap 'kill $far' EXIT
until [ "$(readlink /proc/$far/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
out() { nsenter --net=/proc/$far/ns/net "$@"; }
sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
ip link set lo up
for plane in 1 2; do
  ip link add wg$plane type veth peer name far$plane netns $far
  ip address add 10.5$plane.0.2/24 dev wg$plane
  ip link set wg$plane up
  out ip address add 10.5$plane.0.9/24 dev far$plane
  out ip link set far$plane up
done
ip link add eth0 type veth peer name far0 netns $far
ip address add 10.44.0.2/24 dev eth0
ip link set eth0 up
out ip address add 10.44.0.9/24 dev far0
out ip link set far0 up
nft -f RULES
asks() { if out ping -n -q -c 2 -i 0.2 -W 2 -I $1 $2 >/dev/null 2>&1; then echo "$1 $2 answers"; else echo "$1 $2 silent"; fi; }
asks far1 10.51.0.2
asks far2 10.52.0.2
asks far0 10.44.0.2
# The next hop is the node itself, by the wrong interface.
out ip route replace 10.52.0.2/32 via 10.51.0.2 dev far1
asks far1 10.52.0.2
out ip route replace 10.52.0.2/32 via 10.44.0.2 dev far0
asks far0 10.52.0.2
out ip route replace 10.44.0.2/32 via 10.51.0.2 dev far1
asks far1 10.44.0.2
"#;

/// L8: packets that arrive on a plane for another plane's address are dropped, and so are packets for a plane's address that
/// arrive on any other interface.
#[test]
fn a_plane_reaches_its_own_address_only() {
    let machine = Machine::new();
    machine.apply(&info());
    let script = ACROSS.replace("RULES", &rules(&machine));
    if let Err(e) = nft(&["list", "ruleset"]) {
        return kubedos_skip::skip("nft", e);
    }
    let out = Tool::new("unshare").args(["--net", "sh", "-c", &script]).run().unwrap().text();
    let expected = [
        "far1 10.51.0.2 answers",
        "far2 10.52.0.2 answers",
        "far0 10.44.0.2 answers",
        "far1 10.52.0.2 silent",
        "far0 10.52.0.2 silent",
        "far1 10.44.0.2 silent",
    ];
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
}

/// The planes come up in these units only, after the rules are loaded.
#[test]
fn no_plane_comes_up_before_the_rules() {
    for name in ["/kubedos-node.service", "/kubedos-peers.service"] {
        let unit = assets::files().into_iter().find(|a| a.path.ends_with(name)).unwrap();
        let text = String::from_utf8_lossy(unit.bytes).into_owned();
        let after: Vec<_> = text.lines().filter_map(|l| l.strip_prefix("After=")).flat_map(str::split_whitespace).collect();
        assert!(after.contains(&assets::FIREWALL_UNIT), "{name}: {after:?}");
    }
}
