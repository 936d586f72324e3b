//! Packets between network namespaces: shell functions and scripts that the tests of the firewall share, for IPv4 and IPv6.

use host::tool::Tool;

use crate::firewall::{nft, rules};
use crate::machine::Machine;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Four,
    Six,
}

impl Family {
    /// `at NET HOST` prints an address, and the variables are words for ip(8) and sysctl(8).
    fn words(self) -> &'static str {
        match self {
            Family::Four => {
                "at() { echo 10.$1.0.$2; }
family=-4 size=24 all=32 options=
forwards='net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0'\n"
            }
            Family::Six => {
                "at() { echo fd00:$1::$2; }
family=-6 size=64 all=128 options=nodad
forwards=net.ipv6.conf.all.forwarding=1\n"
            }
        }
    }
}

/// - `namespace`: makes one; `$pid` is a process in it.
/// - `within PID COMMAND…`: runs a command in it.
/// - `joined HERE THERE PID`: a cable between two interfaces. It has neither ARP nor neighbour discovery, as WireGuard has none: both
///   ends have the same hardware address.
/// - `listens`: starts a program on the ports 8080 and 9090 of every address of the node.
/// - `connects FROM TO PORT`: connects from the namespace `$far`, and prints whether it was answered.
/// - `pings PID NAME TO OPTIONS…`: the same with ping(8).
const TOOLS: &str = r#"
set -e
started= cables=0
trap 'kill $started' EXIT
namespace() {
  unshare --net sleep 60 & pid=$!
  started="$started $pid"
  until [ "$(readlink /proc/$pid/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
}
within() { inside=$1; shift; nsenter --net=/proc/$inside/ns/net "$@"; }
joined() {
  cables=$((cables + 1))
  ip link add $1 address 02:00:00:00:00:0$cables type veth peer name $2 address 02:00:00:00:00:0$cables netns $3
  ip link set $1 arp off
  within $3 ip link set $2 arp off
  ip link set $1 up
  within $3 ip link set $2 up
}
listens() {
  python3 -c '
import socket, sys, time
six, held = sys.argv[1] == "-6", []
for port in (8080, 9090):
    s = socket.socket(socket.AF_INET6 if six else socket.AF_INET); s.bind(("::" if six else "0.0.0.0", port)); s.listen(); held.append(s)
print("listens", flush=True)
time.sleep(60)' $family > READY & started="$started $!"
  until grep -q listens READY; do :; done
}
connects() { within $far python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET); s.settimeout(1); s.bind((sys.argv[1], 0))
try: s.connect((sys.argv[2], int(sys.argv[3]))); print(*sys.argv[1:], "answers")
except OSError: print(*sys.argv[1:], "silent")' "$@"; }
pings() {
  from=$1 name=$2 to=$3; shift 3
  if within $from ping -n -q -c 2 -i 0.2 -W 2 "$@" $to >/dev/null 2>&1; then echo "$name $to answers"; else echo "$name $to silent"; fi
}
"#;

/// The node with eth0, wg1 and wg2, and a sender behind each; all of them end in the namespace `$far`, as far1, far2 and far3.
pub const BEHIND: &str = r#"
namespace; far=$pid
ip link set lo up
within $far ip link set lo up
n=0
for pair in eth0:44 wg1:51 wg2:52; do
  near=${pair%:*} net=${pair#*:} n=$((n + 1))
  joined $near far$n $far
  ip address add $(at $net 2)/$size dev $near $options
  for host in 33 9 8 1; do within $far ip address add $(at $net $host)/$size dev far$n $options; done
done
nft -f RULES
"#;

/// After [`BEHIND`]: connections that the list of `denying` allows on wg2, some that it does not, and one on wg1, which is open.
pub const CONNECTS: &str = r#"
listens
connects $(at 52 8) $(at 52 2) 8080
connects $(at 52 9) $(at 52 2) 8080
connects $(at 52 8) $(at 52 2) 9090
connects $(at 52 33) $(at 52 2) 8080
connects $(at 52 1) $(at 52 2) 8080
connects $(at 51 33) $(at 51 2) 9090
"#;

/// After [`BEHIND`]: each address by its own interface, and by wrong ones.
pub const PLACES: &str = r#"
pings $far far1 $(at 44 2) -I far1
pings $far far2 $(at 51 2) -I far2
pings $far far3 $(at 52 2) -I far3
# The next hop is the node itself, by the wrong interface.
within $far ip $family route add $(at 52 2)/$all via $(at 51 2) dev far2
pings $far far2 $(at 52 2) -I far2
within $far ip $family route replace $(at 52 2)/$all via $(at 44 2) dev far1
pings $far far1 $(at 52 2) -I far1
within $far ip $family route add $(at 44 2)/$all via $(at 51 2) dev far2
pings $far far2 $(at 44 2) -I far2
"#;

/// The node forwards, and there is a namespace behind each of wg1, wg2 and a third link, as of containers. Fails if the firewall has not
/// counted a packet that it dropped.
pub const CROSSES: &str = r#"
for n in 1 2 3; do namespace; eval far$n=$pid; done
sysctl -qw $forwards
ip link set lo up
n=0
for link in wg1 wg2 pods; do
  n=$((n + 1)); eval pid=\$far$n
  joined $link far $pid
  ip address add $(at 5$n 2)/$size dev $link $options
  within $pid ip address add $(at 5$n 9)/$size dev far $options
  within $pid ip $family route add default via $(at 5$n 2)
done
nft -f RULES
pings $far1 wg1 $(at 52 9)
pings $far2 wg2 $(at 51 9)
pings $far3 pods $(at 52 9)
nft list chain inet kubedos forward | grep -o 'packets [1-9].*drop' >&2
"#;

/// True if a test with packets can run here; says why not.
pub fn able(family: Family) -> bool {
    if let Err(e) = nft(&["list", "ruleset"]) {
        kubedos_skip::skip("nft", e);
        return false;
    }
    if let Err(e) = Tool::new("python3").arg("--version").run() {
        kubedos_skip::skip("python3", e);
        return false;
    }
    if let (Family::Six, Err(e)) = (family, std::fs::metadata("/proc/net/if_inet6")) {
        kubedos_skip::skip("IPv6", e);
        return false;
    }
    true
}

/// Runs scripts one after the other in a namespace of their own, with the rules that the machine has; the lines that they print.
pub fn lines(machine: &Machine, family: Family, scripts: &[&str]) -> Vec<String> {
    let tools = TOOLS.replace("READY", machine.at("/ready").as_str());
    let script = format!("{tools}{}{}", family.words(), scripts.concat().replace("RULES", &rules(machine)));
    let out = Tool::new("unshare").args(["--net", "sh", "-c", &script]).run().unwrap().text();
    out.lines().map(str::to_owned).collect()
}
