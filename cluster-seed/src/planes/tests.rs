use std::net::Ipv4Addr;

use super::*;
use crate::cluster::ClusterSpec;

const GOOD: &str = "\
apiVersion: kubedos/v1alpha1
kind: Cluster
metadata: {name: site-a}
spec:
  networking:
    domain: kubedos.lan
    underlay:
      subnet: 10.44.0.0/24
      seed: 10.44.0.1
      pool: {first: 10.44.0.100, last: 10.44.0.199}
    planes:
      wg1: {cidr: 10.78.0.0/16, port: 51821}
      wg2: {cidr: 10.79.0.0/16, port: 51822, policy: deny}
      wg4:
        cidr: 10.81.0.0/16
        port: 51824
        purpose: backup
        topology: hub
        hubs: [store]
        mtu: 8920
        policy: deny
    allows:
      - plane: wg4
        from: work
        to: store
        ports: [tcp/2049, udp/4000-4100]
        why: backups
      - {plane: wg4, from: seed, to: any, ports: [any]}
  darksite: {suite: trixie}
  roles:
    store: {plays: [exporters, storage]}
    work: {}
";

fn spec(text: &str) -> ClusterSpec {
    ClusterSpec::parse(text).unwrap()
}

#[test]
fn a_plane_is_a_mesh_that_carries_everything_unless_it_says_otherwise() {
    let spec = spec(GOOD);
    let planes = &spec.spec.networking.planes;
    let wg1 = &planes["wg1"].value;
    assert_eq!((wg1.topology, wg1.policy, wg1.hub_roles()), (Topology::Mesh, Policy::Open, None));
    let wg4 = &planes["wg4"].value;
    assert_eq!((wg4.topology, wg4.policy, wg4.hub_roles()), (Topology::Hub, Policy::Deny, Some(vec!["store".to_owned()])));
    assert_eq!(wg4.mtu.as_ref().map(|m| m.value), Some(8920));
}

/// Every allow as `plane from to ports`.
fn words(spec: &ClusterSpec) -> Vec<String> {
    let one = |plane: &String, r: &Reasoned| {
        let ports: Vec<String> = r.allow.ports.iter().map(Ports::to_string).collect();
        format!("{plane} {} {} {}{}", r.allow.from, r.allow.to, ports.join(","), if r.built_in { " built-in" } else { "" })
    };
    spec.allows().iter().flat_map(|(plane, list)| list.iter().map(move |r| one(plane, r))).collect()
}

#[test]
fn a_plane_that_denies_carries_what_is_listed_and_what_the_plays_need() {
    let found = words(&spec(GOOD));
    let expected = ["wg2 any store tcp/9100 built-in", "wg4 work store tcp/2049,udp/4000-4100", "wg4 seed any any"];
    assert_eq!(found, expected, "wg1 is open, so what storage needs there is not listed");
    let closed = GOOD.replace("port: 51821}", "port: 51821, policy: deny}");
    let found = words(&spec(&closed));
    assert_eq!(
        found[..2],
        ["wg1 seed any tcp/22 built-in", "wg1 any store tcp/2049 built-in"],
        "without wg3, wg1 carries its services"
    );
    assert_eq!(spec(&closed).allows()["wg1"][1].why, "play storage");
    // A plane that denies without any allow carries nothing.
    let empty = GOOD.replace("plays: [exporters, storage]", "");
    assert!(spec(&empty).allows()["wg2"].is_empty());
}

#[test]
fn what_the_platform_exports_is_carried_by_every_plane_that_has_it() {
    for play in crate::converge::platform::PLAYS.iter() {
        let text = GOOD.replace("exporters, storage", play.name).replace("port: 51821}", "port: 51821, policy: deny}");
        let Ok(spec) = ClusterSpec::parse(&text) else { continue };
        let all = words(&spec);
        for (_, port) in play.metrics {
            assert!(
                all.iter().any(|w| w.starts_with("wg2 any store") && w.contains(&format!("tcp/{port}"))),
                "{} {all:?}",
                play.name
            );
        }
    }
}

#[test]
fn a_plane_that_denies_carries_what_an_included_play_needs_and_once() {
    let closed = GOOD.replace("port: 51821}", "port: 51821, policy: deny}");
    for plays in ["loadbalancer", "vip, loadbalancer", "loadbalancer, vip"] {
        let text = closed.replace("exporters, storage]", &format!("{plays}], vars: {{lb_vip_wg3: 10.78.255.1}}"));
        let found = words(&spec(&text));
        let beacons = found.iter().filter(|w| *w == "wg1 any store udp/5787 built-in").count();
        assert_eq!(beacons, 1, "{plays}: {found:?}");
    }
}

/// One change to the good file, the line it must be reported at (0: the whole file) and a word of the message.
const BAD: &[(&str, &str, u64, &str)] = &[
    ("topology: hub", "topology: star", 0, "star"),
    ("hubs: [store]", "hubs: [stores]", 19, "no role \"stores\""),
    ("        topology: hub\n", "", 18, "is a mesh and has hubs"),
    ("mtu: 8920", "mtu: 575", 20, "mtu 575"),
    ("mtu: 8920", "mtu: 65456", 20, "mtu 65456"),
    ("51822,", "51822, cidr6: \"fd00:79::1/64\",", 13, "cidr6 fd00:79::1/64 has host bits"),
    ("51822,", "51822, cidr6: \"fd00::/47\",", 13, "not /48 to /96"),
    ("51822,", "51822, cidr6: \"fd00:79::/97\",", 13, "not /48 to /96"),
    ("51822,", "51822, cidr6: \"fe80::/64\",", 13, "unicast"),
    ("51822,", "51822, cidr6: \"ff05::/64\",", 13, "unicast"),
    ("51822,", "51822, cidr6: \"10.90.0.0/16\",", 0, ""),
    ("mtu: 8920", "mtu: 1279\n        cidr6: fd00:81::/64", 21, "no IPv6 with mtu 1279"),
    ("policy: deny\n    allows", "policy: open\n    allows", 23, "wg4 is open"),
    ("- plane: wg4", "- plane: wg9", 23, "no plane \"wg9\""),
    ("from: work", "from: worker", 24, "no role \"worker\""),
    ("to: store", "to: seed", 25, "the seed is not a node"),
    ("tcp/2049,", "tcp/2049, tcp/0,", 26, "\"tcp/0\""),
    ("tcp/2049,", "\"tcp/1; accept\",", 26, "not a port"),
    ("ports: [tcp/2049, udp/4000-4100]", "ports: []", 23, "0 ports"),
    ("why: backups", "why: \"a\\nb\"", 23, "reason"),
    ("why: backups", "whi: backups", 27, "whi"),
];

#[test]
fn every_mistake_in_planes_and_allows_is_named_with_its_place() {
    for (from, to, line, word) in BAD {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(&text, GOOD, "{from}");
        let error = ClusterSpec::parse(&text).unwrap_err();
        assert!(*line == 0 || error.line == *line, "{to}: line {} ({})", error.line, error.message);
        assert!(error.message.contains(word), "{to}: {}", error.message);
        assert!(*line == 0 || error.column > 0, "{to}");
    }
}

#[test]
fn planes_have_separate_ipv6_ranges() {
    let with = |one: &str, four: &str| {
        let text = GOOD.replace("port: 51821}", &format!("port: 51821, cidr6: \"{one}\"}}"));
        ClusterSpec::parse(&text.replace("mtu: 8920", &format!("mtu: 1280\n        cidr6: {four}")))
    };
    let good = with("fd00:0:0:78::/64", "fd00:0:0:81::/64").unwrap();
    let planes = &good.spec.networking.planes;
    let own = planes["wg4"].value.address6(Ipv4Addr::new(10, 81, 0, 7));
    assert_eq!(own.unwrap().to_string(), "fd00:0:0:81::7");
    assert_eq!(planes["wg1"].value.range6().unwrap().to_string(), "fd00:0:0:78::/64");
    assert_eq!((planes["wg2"].value.range6(), planes["wg2"].value.address6(Ipv4Addr::new(10, 79, 0, 7))), (None, None));
    for (one, four) in [
        ("fd00:0:0:78::/64", "fd00:0:0:78::/64"),
        ("fd00::/48", "fd00:0:0:81::/64"),
        ("fd00:0:0:81::/64", "fd00::/48"),
        ("fd00:0:0:81::/96", "fd00:0:0:81::/64"),
    ] {
        let error = with(one, four).unwrap_err();
        assert_eq!((error.line, error.column > 0), (21, true), "{error}");
        assert!(error.message.contains("overlaps that of plane wg1"), "{error}");
    }
}

#[test]
fn the_plane_of_pods_is_a_mesh() {
    let text = GOOD.replace("plays: [exporters, storage]", "").replace("    allows:", "    kubernetes: {}\n    allows:");
    assert!(ClusterSpec::parse(&text).is_ok(), "wg1 carries the pods");
    let hub = text.replace("port: 51821}", "port: 51821, topology: hub}");
    assert!(ClusterSpec::parse(&hub).unwrap_err().message.contains("carries pods"));
}

#[test]
fn at_most_so_many_allows() {
    let with = |n: usize| {
        let more = "      - {plane: wg4, from: any, to: any, ports: [any]}\n".repeat(n - 2);
        ClusterSpec::parse(&GOOD.replace("  darksite:", &format!("{more}  darksite:")))
    };
    assert!(with(MAX_ALLOWS).is_ok());
    assert!(with(MAX_ALLOWS + 1).unwrap_err().message.contains("257 allows"));
}

#[test]
fn a_party_is_a_word_in_the_list() {
    for (text, seed, work) in [("any", true, true), ("seed", true, false), ("work", false, true)] {
        let party: Party = serde_json::from_str(&format!("\"{text}\"")).unwrap();
        assert_eq!((party.includes("seed"), party.includes("work")), (seed, work), "{text}");
        assert_eq!(serde_json::to_string(&party).unwrap(), format!("\"{text}\""));
    }
    assert!(!Party::Role("store".to_owned()).includes("work"));
}
