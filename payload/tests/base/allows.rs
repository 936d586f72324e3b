//! Planes that deny: the rules as text, for nft(8), and with packets between network namespaces.

use cluster_seed::agent::StepResult;
use cluster_seed::identity::IdentityInfo;
use cluster_seed::ids::Hostname;
use cluster_seed::peers::{PeerNode, PeersFile};
use cluster_seed::planes::{Allow, Party, Ports, Transport};
use host::tool::Tool;
use payload::base::{Command, Step, firewall};

use crate::firewall::{nft, rules};
use crate::machine::{Machine, info, peers};

fn allow(from: &str, to: &str, ports: &[Ports]) -> Allow {
    Allow { from: Party::from(from.to_owned()), to: Party::from(to.to_owned()), ports: ports.to_vec() }
}

/// The list with two more nodes, `w4` and `w3` of the role `work`, and a plane wg2 that denies.
pub fn denying() -> PeersFile {
    let mut list = peers();
    for n in [4u8, 3] {
        let addresses = [51, 52, 53].map(|net| (format!("wg{}", net - 50), [10, net, 0, 5 + n].into())).into();
        let node = PeerNode { endpoint: None, role: "work".into(), keys: Default::default(), addresses };
        list.nodes.insert(format!("w{n}.kubedos.lan").parse::<Hostname>().unwrap(), node);
    }
    let range = Ports::Range { transport: Transport::Udp, first: 4000, last: 4100 };
    let allows = vec![
        allow("work", "base", &[Ports::tcp(8080), range]),
        allow("seed", "any", &[Ports::tcp(22)]),
        allow("any", "base", &[Ports::Vrrp]),
        allow("any", "work", &[Ports::tcp(1)]),
        allow("nobody", "base", &[Ports::Any]),
        allow("work", "base", &[Ports::tcp(8080)]),
    ];
    // A plane that this node is not on.
    let elsewhere = vec![allow("any", "any", &[Ports::Any])];
    list.policy = [("wg2".to_owned(), allows), ("wg9".to_owned(), elsewhere)].into();
    list
}

#[test]
fn a_plane_that_denies_gets_a_rule_for_each_allow_that_concerns_the_node() {
    let text = firewall::rules(&info(), &denying()).unwrap();
    assert_eq!(text, include_str!("../golden/kubedos-deny.nft"));
    let work = IdentityInfo { role: "work".into(), ..info() };
    let text = firewall::rules(&work, &denying()).unwrap();
    let rules: Vec<_> = text.lines().filter(|l| l.starts_with("add rule")).collect();
    let expected = [
        "add rule inet kubedos allows iifname \"wg2\" ip saddr { 10.52.0.1 } tcp dport 22 accept",
        "add rule inet kubedos allows iifname \"wg2\" tcp dport 1 accept",
    ];
    assert_eq!(rules, expected);
}

#[test]
fn a_changed_allow_is_loaded_once_and_a_load_that_failed_is_done_again() {
    let machine = Machine::new();
    let apply = |list: &PeersFile| {
        let outcomes = machine.apply_with(&info(), list);
        outcomes.iter().find(|o| o.step == Step::FirewallLoaded).unwrap().report().result
    };
    let query =
        || machine.ran.borrow().iter().find_map(|c| if let Command::QueryFirewall(q) = c { Some(q.clone()) } else { None });
    assert_eq!(apply(&denying()), StepResult::Changed);
    assert_eq!(apply(&denying()), StepResult::Ok);
    let first = query().unwrap();
    let mut list = denying();
    list.policy.get_mut("wg2").unwrap()[0].ports.pop();
    assert_eq!(apply(&list), StepResult::Changed);
    assert_eq!(apply(&list), StepResult::Ok);
    // The sets are the same: the digest of the rules is not.
    let second = query().unwrap();
    assert_ne!(first, second);
    assert_eq!(first.split("edition").next(), second.split("edition").next());
    machine.broken.set(true);
    assert_eq!(apply(&denying()), StepResult::Failed);
    machine.broken.set(false);
    // Another process: it knows only the file, and the kernel, which has the earlier rules.
    machine.loaded.set(false);
    assert_eq!(apply(&denying()), StepResult::Changed);
}

#[test]
fn nft_accepts_the_rules_of_allows() {
    if let Err(e) = nft(&["list", "ruleset"]) {
        return kubedos_skip::skip("nft", e);
    }
    let machine = Machine::new();
    machine.apply_with(&info(), &denying());
    nft(&["-c", "-f", &rules(&machine)]).expect("the rules load");
}

/// The node, with wg1 and wg2, and a sender behind each; both planes of the sender end in one namespace. A program listens on the
/// ports 8080 and 9090 of every address. Prints which connections are made.
const SENDS: &str = r#"
set -e
unshare --net sleep 60 & far=$!
trap 'kill $far $server' EXIT
until [ "$(readlink /proc/$far/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
out() { nsenter --net=/proc/$far/ns/net "$@"; }
ip link set lo up
out ip link set lo up
for plane in 1 2; do
  ip link add wg$plane type veth peer name far$plane netns $far
  ip address add 10.5$plane.0.2/24 dev wg$plane
  ip link set wg$plane up
  for host in 1 8 9 33; do out ip address add 10.5$plane.0.$host/24 dev far$plane; done
  out ip link set far$plane up
done
nft -f RULES
python3 -c '
import socket, time
for port in (8080, 9090):
    s = socket.socket(); s.bind(("0.0.0.0", port)); s.listen(); globals()["s%d" % port] = s
print("listens", flush=True)
time.sleep(60)' > ready & server=$!
until grep -q listens ready; do :; done
asks() { out python3 -c '
import socket, sys
s = socket.socket(); s.settimeout(1); s.bind((sys.argv[1], 0))
try: s.connect((sys.argv[2], int(sys.argv[3]))); print(*sys.argv[1:], "answers")
except OSError: print(*sys.argv[1:], "silent")' "$@"; }
asks 10.52.0.8 10.52.0.2 8080
asks 10.52.0.9 10.52.0.2 8080
asks 10.52.0.8 10.52.0.2 9090
asks 10.52.0.33 10.52.0.2 8080
asks 10.52.0.1 10.52.0.2 8080
asks 10.51.0.33 10.51.0.2 9090
"#;

#[test]
fn a_plane_that_denies_carries_what_is_allowed_from_whom_and_nothing_else() {
    if let Err(e) = nft(&["list", "ruleset"]) {
        return kubedos_skip::skip("nft", e);
    }
    if let Err(e) = Tool::new("python3").arg("--version").run() {
        return kubedos_skip::skip("python3", e);
    }
    let machine = Machine::new();
    machine.apply_with(&info(), &denying());
    let script = SENDS.replace("RULES", &rules(&machine)).replace(" ready", &format!(" {}", machine.at("/ready")));
    let out = Tool::new("unshare").args(["--net", "sh", "-c", &script]).run().unwrap().text();
    let expected = [
        "10.52.0.8 10.52.0.2 8080 answers",
        "10.52.0.9 10.52.0.2 8080 answers",
        // Another port, an address of nobody in the list, and the seed, which is not of the role.
        "10.52.0.8 10.52.0.2 9090 silent",
        "10.52.0.33 10.52.0.2 8080 silent",
        "10.52.0.1 10.52.0.2 8080 silent",
        // wg1 is open.
        "10.51.0.33 10.51.0.2 9090 answers",
    ];
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
}

/// The node forwards, and a file of an operator accepts whatever is forwarded. Behind wg1 and wg2 there is a namespace each, and behind
/// eth0 a third one, as of containers.
const CROSSES: &str = r#"
set -e
for n in 1 2 3; do unshare --net sleep 60 & eval far$n=$!; done
trap 'kill $far1 $far2 $far3' EXIT
for pid in $far1 $far2 $far3; do until [ "$(readlink /proc/$pid/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done; done
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
ip link set lo up
n=0
for link in wg1 wg2 pods; do
  n=$((n + 1)); eval pid=\$far$n
  ip link add $link type veth peer name far netns $pid
  ip address add 10.5$n.0.2/24 dev $link
  ip link set $link up
  nsenter --net=/proc/$pid/ns/net ip address add 10.5$n.0.9/24 dev far
  nsenter --net=/proc/$pid/ns/net ip link set far up
  nsenter --net=/proc/$pid/ns/net ip route add default via 10.5$n.0.2
done
nft -f RULES
asks() { if nsenter --net=/proc/$1/ns/net ping -n -q -c 2 -i 0.2 -W 2 $2 >/dev/null 2>&1; then echo "$3 $2 answers"; else echo "$3 $2 silent"; fi; }
asks $far1 10.52.0.9 wg1
asks $far2 10.51.0.9 wg2
asks $far3 10.52.0.9 pods
nft list chain inet kubedos forward | grep -o 'packets [1-9].*drop' >&2
"#;

/// Whatever the files of plays and of operators accept.
#[test]
fn nothing_is_forwarded_from_one_plane_to_another() {
    if let Err(e) = nft(&["list", "ruleset"]) {
        return kubedos_skip::skip("nft", e);
    }
    let machine = Machine::new();
    machine.apply_with(&info(), &denying());
    machine.write("/etc/nftables.d/zz.nft", b"add rule inet kubedos forward accept\n");
    let script = CROSSES.replace("RULES", &rules(&machine));
    let out = Tool::new("unshare").args(["--net", "sh", "-c", &script]).run().unwrap().text();
    let expected = ["wg1 10.52.0.9 silent", "wg2 10.51.0.9 silent", "pods 10.52.0.9 answers"];
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
}
