//! Planes with IPv6: the rules as text, for nft(8), and with packets between network namespaces.

use cluster_seed::peers::PeersFile;
use host::tool::Tool;
use payload::base::{firewall, hosts};

use crate::allows::denying;
use crate::firewall::{nft, rules};
use crate::machine::{Machine, info, peers};

/// The same list, with IPv6 on wg1 and wg2.
fn six(mut list: PeersFile) -> PeersFile {
    for (plane, range) in [("wg1", "fd00:51::/64"), ("wg2", "fd00:52::/64")] {
        list.planes.get_mut(plane).unwrap().cidr6 = Some(range.parse().unwrap());
    }
    list
}

/// True if a test with packets can run here; says why not.
fn able() -> bool {
    if let Err(e) = nft(&["list", "ruleset"]) {
        kubedos_skip::skip("nft", e);
        return false;
    }
    if let Err(e) = Tool::new("python3").arg("--version").run() {
        kubedos_skip::skip("python3", e);
        return false;
    }
    if let Err(e) = std::fs::metadata("/proc/net/if_inet6") {
        kubedos_skip::skip("IPv6", e);
        return false;
    }
    true
}

#[test]
fn a_plane_with_ipv6_has_the_same_rules_for_both_families() {
    let text = firewall::rules(&info(), &six(denying())).unwrap();
    assert_eq!(text, include_str!("../golden/kubedos-six.nft"));
}

#[test]
fn without_ipv6_the_rules_are_those_of_before() {
    assert_eq!(firewall::rules(&info(), &peers()).unwrap(), include_str!("../golden/kubedos.nft"));
    assert_eq!(firewall::rules(&info(), &denying()).unwrap(), include_str!("../golden/kubedos-deny.nft"));
    // Of a plane that this node is not on.
    let mut list = peers();
    let mut other = list.planes["wg1"].clone();
    other.cidr6 = Some("fd00:59::/64".parse().unwrap());
    list.planes.insert("wg9".to_owned(), other);
    assert_eq!(firewall::rules(&info(), &list).unwrap(), include_str!("../golden/kubedos.nft"));
}

/// A name with an IPv6 address would be tried by it first, and services of the platform listen on IPv4.
#[test]
fn names_of_nodes_mean_their_ipv4_addresses() {
    assert_eq!(hosts::hosts(&info(), &six(peers())), hosts::hosts(&info(), &peers()));
}

#[test]
fn nft_accepts_the_rules_of_planes_with_ipv6() {
    if let Err(e) = nft(&["list", "ruleset"]) {
        return kubedos_skip::skip("nft", e);
    }
    let machine = Machine::new();
    machine.apply_with(&info(), &six(denying()));
    nft(&["-c", "-f", &rules(&machine)]).expect("the rules load");
}

/// The node, and a sender behind each of wg1, wg2 and eth0; all of them end in one namespace. The links have no neighbour discovery, as
/// WireGuard has none: both ends have the same hardware address. A program listens on the ports 8080 and 9090 of every IPv6 address.
/// Prints what answers.
const ARRIVES: &str = r#"
set -e
unshare --net sleep 60 & far=$!
trap 'kill $far $server' EXIT
until [ "$(readlink /proc/$far/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
out() { nsenter --net=/proc/$far/ns/net "$@"; }
ip link set lo up
out ip link set lo up
n=0
for pair in eth0:44 wg1:51 wg2:52; do
  near=${pair%:*} net=${pair#*:} n=$((n + 1))
  ip link add $near address 02:00:00:00:00:0$n type veth peer name far$n address 02:00:00:00:00:0$n netns $far
  ip link set $near arp off
  out ip link set far$n arp off
  ip link set $near up
  out ip link set far$n up
  ip address add fd00:$net::2/64 dev $near nodad
  for host in 33 9 8 1; do out ip address add fd00:$net::$host/64 dev far$n nodad; done
done
nft -f RULES
python3 -c '
import socket, time
for port in (8080, 9090):
    s = socket.socket(socket.AF_INET6); s.bind(("::", port)); s.listen(); globals()["s%d" % port] = s
print("listens", flush=True)
time.sleep(60)' > ready & server=$!
until grep -q listens ready; do :; done
connects() { out python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET6); s.settimeout(1); s.bind((sys.argv[1], 0))
try: s.connect((sys.argv[2], int(sys.argv[3]))); print(*sys.argv[1:], "answers")
except OSError: print(*sys.argv[1:], "silent")' "$@"; }
connects fd00:52::8 fd00:52::2 8080
connects fd00:52::9 fd00:52::2 8080
connects fd00:52::8 fd00:52::2 9090
connects fd00:52::33 fd00:52::2 8080
connects fd00:52::1 fd00:52::2 8080
connects fd00:51::33 fd00:51::2 9090
asks() { if out ping -n -q -c 2 -i 0.2 -W 2 -I $1 $2 >/dev/null 2>&1; then echo "$1 $2 answers"; else echo "$1 $2 silent"; fi; }
asks far1 fd00:44::2
asks far2 fd00:51::2
asks far3 fd00:52::2
# The next hop is the node itself, by the wrong interface.
out ip -6 route add fd00:52::2/128 via fd00:51::2 dev far2
asks far2 fd00:52::2
out ip -6 route replace fd00:52::2/128 via fd00:44::2 dev far1
asks far1 fd00:52::2
out ip -6 route add fd00:44::2/128 via fd00:51::2 dev far2
asks far2 fd00:44::2
"#;

#[test]
fn an_ipv6_address_of_a_plane_is_reached_on_that_plane_and_by_the_allowed_only() {
    if !able() {
        return;
    }
    let machine = Machine::new();
    machine.apply_with(&info(), &six(denying()));
    let script = ARRIVES.replace("RULES", &rules(&machine)).replace(" ready", &format!(" {}", machine.at("/ready")));
    let out = Tool::new("unshare").args(["--net", "sh", "-c", &script]).run().unwrap().text();
    let expected = [
        "fd00:52::8 fd00:52::2 8080 answers",
        "fd00:52::9 fd00:52::2 8080 answers",
        // Another port, an address of nobody in the list, and the seed, which is not of the role.
        "fd00:52::8 fd00:52::2 9090 silent",
        "fd00:52::33 fd00:52::2 8080 silent",
        "fd00:52::1 fd00:52::2 8080 silent",
        // wg1 is open.
        "fd00:51::33 fd00:51::2 9090 answers",
        "far1 fd00:44::2 answers",
        "far2 fd00:51::2 answers",
        "far3 fd00:52::2 answers",
        "far2 fd00:52::2 silent",
        "far1 fd00:52::2 silent",
        "far2 fd00:44::2 silent",
    ];
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
}

/// The node forwards IPv6, and a file of an operator accepts whatever is forwarded. Behind wg1, wg2 and a third link there is a namespace
/// each.
const CROSSES: &str = r#"
set -e
for n in 1 2 3; do unshare --net sleep 60 & eval far$n=$!; done
trap 'kill $far1 $far2 $far3' EXIT
for pid in $far1 $far2 $far3; do until [ "$(readlink /proc/$pid/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done; done
sysctl -qw net.ipv6.conf.all.forwarding=1
ip link set lo up
n=0
for link in wg1 wg2 pods; do
  n=$((n + 1)); eval pid=\$far$n
  ip link add $link address 02:00:00:00:00:0$n type veth peer name far address 02:00:00:00:00:0$n netns $pid
  ip link set $link arp off
  nsenter --net=/proc/$pid/ns/net ip link set far arp off
  ip link set $link up
  nsenter --net=/proc/$pid/ns/net ip link set far up
  ip address add fd00:5$n::2/64 dev $link nodad
  nsenter --net=/proc/$pid/ns/net ip address add fd00:5$n::9/64 dev far nodad
  nsenter --net=/proc/$pid/ns/net ip -6 route add default via fd00:5$n::2
done
nft -f RULES
asks() { if nsenter --net=/proc/$1/ns/net ping -n -q -c 2 -i 0.2 -W 2 $2 >/dev/null 2>&1; then echo "$3 $2 answers"; else echo "$3 $2 silent"; fi; }
asks $far1 fd00:52::9 wg1
asks $far2 fd00:51::9 wg2
asks $far3 fd00:52::9 pods
nft list chain inet kubedos forward | grep -o 'packets [1-9].*drop' >&2
"#;

#[test]
fn no_ipv6_packet_is_forwarded_from_one_plane_to_another() {
    if !able() {
        return;
    }
    let machine = Machine::new();
    machine.apply_with(&info(), &six(denying()));
    machine.write("/etc/nftables.d/zz.nft", b"add rule inet kubedos forward accept\n");
    let script = CROSSES.replace("RULES", &rules(&machine));
    let out = Tool::new("unshare").args(["--net", "sh", "-c", &script]).run().unwrap().text();
    let expected = ["wg1 fd00:52::9 silent", "wg2 fd00:51::9 silent", "pods fd00:52::9 answers"];
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
}
