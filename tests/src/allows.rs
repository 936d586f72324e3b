//! One plane of a running site gets IPv6 and denies what is not allowed: TCP connections between two nodes over both families, and packets
//! that cross planes or have the address of another member. Counters on the node that is asked distinguish a packet that was dropped from one that never arrived.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::ask::{self, Node, PATIENCE, ask, cluster_text, until};
use crate::fleet::Fleet;
use crate::netns::{SEED_IP, sum_of_counters};
use crate::node_keys::counts;
use crate::say;

const PLANE: &str = "wg3";
/// The port that is allowed, and one that is not. The same program listens on both.
const OPEN: u16 = 7071;
const SHUT: u16 = 7072;
/// Port of the seed's HTTP server.
const HTTP: u16 = 80;
/// What a connection to a port gets whose packets are dropped.
const DROPPED: &str = "no answer: timed out";

/// As `seedd init` writes it.
const BEFORE: &str = "      wg3: {cidr: 10.80.0.0/16, port: 51823, purpose: kubernetes}\n";
const AFTER: &str = "      wg3: {cidr: 10.80.0.0/16, cidr6: \"fd00:80::/64\", port: 51823, purpose: kubernetes, policy: deny}
    allows:
      - {plane: wg3, from: base, to: base, ports: [tcp/7071], why: the lab}
";
/// Open again, and with IPv6 for the rest of the part.
const SIX: &str = "      wg3: {cidr: 10.80.0.0/16, cidr6: \"fd00:80::/64\", port: 51823, purpose: kubernetes}\n";

/// Answers every connection, of either family, with its own port and the peer's address. No single quotes: it is an argument of a shell.
const SERVER: &str = r#"
import select,socket
ports=[]
for port in (7071,7072):
    for family in (socket.AF_INET6,socket.AF_INET):
        s=socket.socket(family)
        s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)
        if family==socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6,socket.IPV6_V6ONLY,1)
        s.bind(("",port))
        s.listen(16)
        ports.append(s)
while True:
    for s in select.select(ports,[],[])[0]:
        c,peer=s.accept()
        c.settimeout(20)
        try:
            c.recv(99)
            c.sendall(("%d %s" % (s.getsockname()[1],peer[0])).encode())
        except OSError:
            pass
        c.close()
"#;
/// Where it writes; its pid is in a file beside.
const LOG: &str = "/run/kubedos-lab-ports";

/// Connects to each ADDRESS:PORT and prints a JSON list of what came back.
const PROBE: &str = r#"
import json,socket,sys
out=[]
for word in sys.argv[1:]:
    host,port=word.rsplit(":",1)
    try:
        s=socket.create_connection((host,int(port)),10)
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        out.append(s.recv(64).decode("ascii","replace"))
    except OSError as e:
        out.append("no answer: %s" % e)
print(json.dumps(out))
"#;

/// Bytes of the lab's pings as `ping -s` and as nft's `ip length` count them: nobody else sends this length.
const PING: u16 = 999;
const PING_LENGTH: u16 = PING + 28;
/// How many of them are sent at a time.
const PINGS: u64 = 3;

fn with_policy(text: &str) -> Result<String> {
    ask::replaced(text, BEFORE, AFTER)
}

fn with_ipv6(text: &str) -> Result<String> {
    ask::replaced(text, BEFORE, SIX)
}

fn connect(from: &Node<'_>, targets: &[String]) -> Result<Vec<String>> {
    let said = from.run(&format!("python3 -c '{PROBE}' {}", targets.join(" ")))?;
    serde_json::from_str(said.trim()).with_context(|| format!("reading {said:?}"))
}

/// The addresses that a case is about.
struct Pair<'a> {
    a: &'a Node<'a>,
    b: &'a Node<'a>,
    /// The seed's address on each plane.
    seed: BTreeMap<String, String>,
}

pub fn shown(fleet: &Fleet, key: &Path) -> Result<()> {
    let nodes = ask::nodes(fleet, key)?;
    let [a, b] = &nodes[..] else { bail!("{} nodes, not two", nodes.len()) };
    let pair = Pair { a, b, seed: seeds(fleet)? };
    let before = cluster_text(fleet)?;
    listen(b)?;
    both_answer(&pair)?;
    say::line(&format!("{PLANE} is open: ports {OPEN} and {SHUT} of {} answer {}", b.name, a.name));

    ask::apply(fleet, "allows", &with_policy(&before)?)?;
    rules_arrive(fleet, &pair)?;
    let errors = count(fleet, &pair)?;
    only_the_allowed_port(&pair)?;
    over_ipv6(fleet, &pair, false)?;
    across_planes(&pair)?;
    with_anothers_address(&pair)?;
    compare(fleet, &pair, errors)?;
    say::line(&format!("{PLANE} denies: of {} only port {OPEN} answers; wg1, wg2 and the seed's services as before", b.name));
    say::line(&format!("{PLANE} has IPv6: the nodes ping each other over it, and there too only port {OPEN} answers"));
    say::line("a packet for an address of wg3 that came over wg1, and those with another member's address, were dropped");

    ask::apply(fleet, "open", &with_ipv6(&before)?)?;
    both_answer(&pair)?;
    over_ipv6(fleet, &pair, true)?;
    say::line(&format!("{PLANE} is open again: port {SHUT} of {} answers over both families", b.name));
    fleet.ns.run(&["nft", "delete", "table", "inet", "kubedos_lab"])?;
    b.run(&format!("nft delete table inet kubedos_lab; kill $(cat {LOG}.pid)")).map(drop)
}

fn seeds(fleet: &Fleet) -> Result<BTreeMap<String, String>> {
    let said = ask(fleet, &["plane", "list"])?;
    let rows = said["planes"].as_array().with_context(|| format!("no planes: {said}"))?;
    let row = |row: &serde_json::Value| Some((row["name"].as_str()?.to_owned(), row["seed"].as_str()?.to_owned()));
    Ok(rows.iter().filter_map(row).collect())
}

impl Pair<'_> {
    fn seed_on(&self, plane: &str) -> Result<&str> {
        self.seed.get(plane).map(String::as_str).with_context(|| format!("the seed has no address on {plane}"))
    }
}

/// Starts the program on a node, on every address that it has.
fn listen(node: &Node<'_>) -> Result<()> {
    node.run(&format!(
        "nohup python3 -c '{SERVER}' > {LOG} 2>&1 < /dev/null & echo $! > {LOG}.pid; for i in $(seq 1 90); do \
         ss -Hltn 'sport = :{SHUT}' | grep -q . && exit 0; sleep 1; done; cat {LOG}; exit 1"
    ))
    .map(drop)
}

fn both_answer(pair: &Pair<'_>) -> Result<()> {
    let (own, other) = (pair.a.on(PLANE)?, pair.b.on(PLANE)?);
    let targets = [OPEN, SHUT].map(|port| format!("{other}:{port}"));
    let expected = [OPEN, SHUT].map(|port| format!("{port} {own}"));
    until(&format!("ports {OPEN} and {SHUT} of {other} to answer {own}"), PATIENCE, |seen| {
        let answers = connect(pair.a, &targets)?;
        *seen = format!("{answers:?}");
        Ok((answers == expected).then_some(()))
    })
}

/// The seed shows the policy, and the kernel of each node has the rule for the other one.
fn rules_arrive(fleet: &Fleet, pair: &Pair<'_>) -> Result<()> {
    until(&format!("the seed to deny on {PLANE}"), PATIENCE, |seen| {
        let plane = ask(fleet, &["plane", "show", PLANE])?;
        *seen = plane.to_string();
        let one = plane["allows"].as_array().is_some_and(|allows| allows.len() == 1);
        Ok((plane["policy"] == "deny" && one).then_some(()))
    })?;
    for (node, other) in [(pair.a, pair.b), (pair.b, pair.a)] {
        let (from, port) = (other.on(PLANE)?, format!("tcp dport {OPEN} accept"));
        until(&format!("the firewall of {} to deny on {PLANE}", node.name), PATIENCE, |seen| {
            *seen = node.run("nft list set inet kubedos guarded; nft list chain inet kubedos allows")?;
            let rule = seen.lines().any(|l| l.contains("\"wg3\"") && l.contains(from) && l.contains(&port));
            let alone = !seen.contains("\"wg1\"") && !seen.contains("\"wg2\"");
            Ok((rule && alone).then_some(()))
        })?;
    }
    Ok(())
}

/// Adds tables that only count, on the second node and on the seed: before the rules of the firewall, and after them. Returns the node's
/// errors on the plane so far.
fn count(fleet: &Fleet, pair: &Pair<'_>) -> Result<u64> {
    let (a, b, seed) = (pair.a.on(PLANE)?, pair.b.on(PLANE)?, pair.seed_on(PLANE)?);
    let counters = ["shut_seen", "shut_taken", "open_taken", "crossed_seen", "crossed_taken", "honest_seen", "forged_seen"];
    let counters = counters.map(|name| format!("counter {name} {{ }}\n")).concat();
    let pings = |forged: &str| {
        format!(
            "iifname \"{PLANE}\" ip length {PING_LENGTH} ip saddr {a} counter name honest_seen
             iifname \"{PLANE}\" ip length {PING_LENGTH} ip saddr {forged} counter name forged_seen"
        )
    };
    let seen = "type filter hook prerouting priority -300; policy accept;";
    let table = format!(
        "table inet kubedos_lab {{
            {counters}
            chain seen {{
                {seen}
                iifname \"{PLANE}\" tcp dport {SHUT} counter name shut_seen
                iifname \"wg1\" ip daddr {b} counter name crossed_seen
                {}
            }}
            chain taken {{
                type filter hook input priority 10; policy accept;
                iifname \"{PLANE}\" tcp dport {SHUT} counter name shut_taken
                iifname \"{PLANE}\" tcp dport {OPEN} counter name open_taken
                iifname \"wg1\" ip daddr {b} counter name crossed_taken
            }}
        }}",
        pings(seed)
    );
    let errors = pair.b.run(&format!("echo '{table}' | nft -f - && cat /sys/class/net/{PLANE}/statistics/rx_errors"))?;
    let own = format!("table inet kubedos_lab {{\n{counters}\nchain seen {{\n{seen}\n{}\n}}\n}}\n", pings(b));
    let file = fleet.work.join("counters.nft");
    std::fs::write(&file, own).context("writing the counters of the seed")?;
    fleet.ns.run(&["nft", "-f", &file.to_string_lossy()])?;
    errors.trim().parse::<u64>().with_context(|| format!("reading {errors:?}"))
}

/// The other planes carry what they carried, and the seed answers on each plane and on the boot network.
fn only_the_allowed_port(pair: &Pair<'_>) -> Result<()> {
    let (a, b) = (pair.a, pair.b);
    let mut expected = vec![
        (format!("{}:{OPEN}", b.on(PLANE)?), format!("{OPEN} {}", a.on(PLANE)?)),
        (format!("{}:{SHUT}", b.on(PLANE)?), DROPPED.to_owned()),
    ];
    for plane in ["wg1", "wg2"] {
        expected.push((format!("{}:{SHUT}", b.on(plane)?), format!("{SHUT} {}", a.on(plane)?)));
        expected.push((format!("{}:{HTTP}", pair.seed_on(plane)?), "HTTP/1".to_owned()));
    }
    expected.push((format!("{SEED_IP}:{HTTP}"), "HTTP/1".to_owned()));
    let targets: Vec<String> = expected.iter().map(|(target, _)| target.clone()).collect();
    until(&format!("{} to answer {} on port {OPEN} only", b.name, a.name), PATIENCE, |seen| {
        let answers = connect(a, &targets)?;
        *seen = format!("{targets:?}: {answers:?}");
        let right = expected.iter().zip(&answers).all(|((_, expected), answer)| answer.starts_with(expected.as_str()));
        Ok((right && answers.len() == expected.len()).then_some(()))
    })
}

/// The IPv6 address of a node on the plane, as the seed says it.
fn second(shown: &Value, node: &Node<'_>) -> Result<String> {
    let own = |member: &&Value| member["hostname"].as_str().and_then(|name| name.split('.').next()) == Some(node.name);
    let member = shown["members"].as_array().and_then(|all| all.iter().find(own));
    let address = member.and_then(|member| member["address6"].as_str());
    Ok(address.with_context(|| format!("{} has no IPv6 address on {PLANE}: {shown}", node.name))?.to_owned())
}

/// The nodes ping each other over IPv6; a port answers the allowed node there, and one that is not allowed if the plane is open.
fn over_ipv6(fleet: &Fleet, pair: &Pair<'_>, open: bool) -> Result<()> {
    let shown = ask(fleet, &["plane", "show", PLANE])?;
    let (a, b) = (second(&shown, pair.a)?, second(&shown, pair.b)?);
    for (from, to) in [(pair.a, &b), (pair.b, &a)] {
        until(&format!("{to} to answer pings of {}", from.name), PATIENCE, |seen| {
            *seen = from.run(&format!("ping -n -c {PINGS} -W 5 {to} | tail -n 2"))?;
            Ok(counts(seen).is_some_and(|(_, received)| received > 0).then_some(()))
        })?;
    }
    let targets = [OPEN, SHUT].map(|port| format!("{b}:{port}"));
    let expected = [format!("{OPEN} {a}"), if open { format!("{SHUT} {a}") } else { DROPPED.to_owned() }];
    until(&format!("ports {OPEN} and {SHUT} of {b} to answer {a} as they should"), PATIENCE, |seen| {
        let answers = connect(pair.a, &targets)?;
        *seen = format!("{targets:?}: {answers:?}");
        Ok((answers == expected).then_some(()))
    })
}

/// The first node sends packets for the second one's address of one plane over another one, where every port is open.
fn across_planes(pair: &Pair<'_>) -> Result<()> {
    let (own, other, address) = (pair.a.on("wg1")?, pair.b.on("wg1")?, pair.b.on(PLANE)?);
    let said = pair.a.run(&format!(
        "k=$(wg show wg1 allowed-ips | grep -F '{other}/32' | cut -f1); \
         trap 'ip route del {address}/32 dev wg1; wg set wg1 peer \"$k\" allowed-ips {other}/32' EXIT; \
         wg set wg1 peer \"$k\" allowed-ips {other}/32,{address}/32 && ip route add {address}/32 dev wg1 src {own} && \
         python3 -c '{PROBE}' {address}:{OPEN}"
    ))?;
    ensure!(said.contains(DROPPED), "{address}:{OPEN} by way of wg1 answered {said}");
    Ok(())
}

/// The first node pings with its own address, then the second node as if it were the seed, and the seed as if it were the second node.
fn with_anothers_address(pair: &Pair<'_>) -> Result<()> {
    let (a, b, seed) = (pair.a.on(PLANE)?, pair.b.on(PLANE)?, pair.seed_on(PLANE)?);
    let said = pair.a.run(&format!(
        "p() {{ ping -n -c {PINGS} -W 5 -s {PING} -I \"$1\" \"$2\" | grep 'packets transmitted'; }}; \
         trap 'ip addr del {seed}/32 dev {PLANE} 2>/dev/null; ip addr del {b}/32 dev {PLANE} 2>/dev/null' EXIT; \
         p {a} {b} && p {a} {seed} && ip addr add {seed}/32 dev {PLANE} && p {seed} {b} && ip addr del {seed}/32 dev {PLANE} && \
         ip addr add {b}/32 dev {PLANE} && p {b} {seed}"
    ))?;
    let pings: Vec<(u64, u64)> = said.lines().filter_map(counts).collect();
    let [honest, to_seed, as_seed, as_other] = pings[..] else { bail!("ping said {said}") };
    ensure!(honest.1 > 0 && to_seed.1 > 0, "{} has no answers with its own address: {said}", pair.a.name);
    ensure!(as_seed == (PINGS, 0) && as_other == (PINGS, 0), "{} with another's address: {said}", pair.a.name);
    Ok(())
}

/// What arrived at the second node and at the seed, and what passed the firewall.
fn compare(fleet: &Fleet, pair: &Pair<'_>, before: u64) -> Result<()> {
    let said = pair.b.run(&format!(
        "nft -j list counters table inet kubedos_lab && echo && cat /sys/class/net/{PLANE}/statistics/rx_errors"
    ))?;
    let (node, errors) = said.trim().rsplit_once('\n').with_context(|| format!("reading {said:?}"))?;
    let errors = errors.trim().parse::<u64>().with_context(|| format!("reading {said:?}"))?;
    let own = fleet.ns.run(&["nft", "-j", "list", "counters", "table", "inet", "kubedos_lab"])?;
    for (text, name, some) in [
        (node, "open_taken", true),
        (node, "shut_seen", true),
        (node, "shut_taken", false),
        (node, "crossed_seen", true),
        (node, "crossed_taken", false),
        (node, "honest_seen", true),
        (node, "forged_seen", false),
        (own.as_str(), "honest_seen", true),
        (own.as_str(), "forged_seen", false),
    ] {
        let packets = sum_of_counters(text.trim(), name)?;
        ensure!((packets > 0) == some, "{packets} packets are counted as {name}: {text}");
    }
    // WireGuard counts a packet of a peer that has another source address as an error of the interface.
    ensure!(errors > before, "WireGuard on {} dropped nothing: {errors} errors on {PLANE}, as before", pair.b.name);
    Ok(())
}

#[cfg(test)]
mod tests {
    use cluster_seed::cluster::ClusterSpec;

    use super::*;

    #[test]
    fn the_policy_fits_the_file_of_init_and_allows_the_one_port() {
        let text = with_policy(&site::default_cluster_yaml("lab")).unwrap();
        let all = ClusterSpec::parse(&text).unwrap().allows();
        assert_eq!(all.keys().collect::<Vec<_>>(), [PLANE]);
        let ports: Vec<_> = all[PLANE].iter().flat_map(|a| &a.allow.ports).map(ToString::to_string).collect();
        assert_eq!(ports, [format!("tcp/{OPEN}")]);
        assert!(with_policy("spec: {}").is_err());
        let open = ClusterSpec::parse(&with_ipv6(&site::default_cluster_yaml("lab")).unwrap()).unwrap();
        let six = |spec: &ClusterSpec| spec.spec.networking.planes[PLANE].value.range6().map(|net| net.to_string());
        assert_eq!((open.allows().len(), six(&open).as_deref()), (0, Some(crate::netns::PLANE6)));
        assert_eq!(six(&ClusterSpec::parse(&text).unwrap()), six(&open), "with the policy, and without it");
    }

    #[test]
    fn programs_for_a_shell_have_no_single_quotes_and_listen_where_they_are_asked() {
        assert!(!SERVER.contains('\'') && !PROBE.contains('\''));
        assert!(SERVER.contains(&format!("({OPEN},{SHUT})")), "{SERVER}");
    }
}
