use std::os::unix::fs::MetadataExt as _;

use camino::Utf8Path;
use cluster_seed::identity::{DarksiteSource, PlaneAddress};
use cluster_seed::ids::{Digest, EnrollmentId, NodeId};
use cluster_seed::seal::{Sealed, SigningKey, key_text};

use super::*;

fn peers() -> PeersFile {
    serde_json::from_str(
        r#"{"epoch":1,"version":4,"planes":{"wg1":{"cidr":"10.78.0.0/16","port":51821}},"nodes":{
            "seed.kubedos.lan":{"endpoint":"10.44.0.1","role":"seed","wg1":"10.78.0.1","keys":{}},
            "e1.kubedos.lan":{"endpoint":"10.44.0.101","role":"etcd","wg1":"10.78.0.2","wg3":"10.80.0.2","keys":{}},
            "x1.kubedos.lan":{"endpoint":null,"role":"base","wg1":"10.78.0.9","keys":{}}}}"#,
    )
    .unwrap()
}

fn info(planes: &[(&str, [u8; 4])]) -> IdentityInfo {
    let site = SigningKey::from_bytes(&[1; 32]);
    let plane = |(name, address): &(&str, [u8; 4])| {
        let address: Ipv4Addr = (*address).into();
        let cidr = format!("{address}/16").parse().unwrap();
        ((*name).to_owned(), PlaneAddress { cidr, address, port: 51821 })
    };
    IdentityInfo {
        node: NodeId([1; 16]),
        enrollment: EnrollmentId([2; 16]),
        site: "site-a".into(),
        epoch: 1,
        site_key: key_text(&site.verifying_key()),
        hostname: "e1.kubedos.lan".parse().unwrap(),
        role: "etcd".into(),
        seed_url: "http://10.44.0.1:8080/".into(),
        seed_hostname: "seed.kubedos.lan".parse().unwrap(),
        planes: planes.iter().map(plane).collect(),
        authorized_keys: vec![],
        darksite: DarksiteSource::default(),
        peers: Sealed::sign(&peers(), &site).unwrap(),
        grub: None,
        apt: None,
        operator: None,
    }
}

fn run(mode: RunMode) -> Run {
    let member = Member {
        name: "e1.kubedos.lan".parse().unwrap(),
        planes: [("wg3".to_owned(), Ipv4Addr::new(10, 80, 0, 2))].into(),
        underlay: Some(Ipv4Addr::new(10, 44, 0, 101)),
    };
    Run {
        revision: Digest([1; 32]),
        attempt: 0,
        mode,
        payload: Digest([2; 32]),
        payload_size: 1,
        role: "etcd".into(),
        plays: vec!["etcd".into()],
        vars: [("etcd_snapshots".to_owned(), json!(5)), ("kubedos".to_owned(), json!("mine"))].into(),
        groups: [("etcd".to_owned(), vec![member])].into(),
    }
}

const PLANES: [(&str, [u8; 4]); 3] = [("wg1", [10, 78, 0, 2]), ("wg2", [10, 79, 0, 2]), ("wg3", [10, 80, 0, 2])];

#[test]
fn the_variables_are_what_the_plays_expect() {
    let (info, peers, run) = (info(&PLANES), peers(), run(RunMode::Apply));
    let facts = Facts { info: &info, peers: &peers, run: &run, certificates: 77 };
    let found = variables(Places { root: "/".into() }, &facts);
    let seed = json!({ "name": "seed.kubedos.lan", "label": "seed", "url": "http://10.44.0.1:8080/", "addresses": { "wg1": "10.78.0.1" } });
    let e1 = json!({ "name": "e1.kubedos.lan", "label": "e1", "addresses": { "wg3": "10.80.0.2" }, "underlay": "10.44.0.101" });
    let expected = json!({
        "etcd_snapshots": 5,
        "kubedos": {
            "name": "e1.kubedos.lan", "label": "e1", "domain": "kubedos.lan", "site": "site-a", "role": "etcd", "plays": ["etcd"],
            "addresses": { "wg1": "10.78.0.2", "wg2": "10.79.0.2", "wg3": "10.80.0.2" },
            "planes": {
                "wg1": { "address": "10.78.0.2", "cidr": "10.78.0.0/16", "port": 51821 },
                "wg2": { "address": "10.79.0.2", "cidr": "10.79.0.0/16", "port": 51821 },
                "wg3": { "address": "10.80.0.2", "cidr": "10.80.0.0/16", "port": 51821 },
            },
            "underlay": "10.44.0.101", "control_plane": "wg1", "metrics_plane": "wg2", "backend_plane": "wg3",
            "seed": seed, "registry": "10.44.0.1:8080", "groups": { "etcd": [e1] },
            "members": [
                { "name": "e1.kubedos.lan", "label": "e1", "role": "etcd", "addresses": { "wg1": "10.78.0.2", "wg3": "10.80.0.2" }, "underlay": "10.44.0.101" },
                { "name": "x1.kubedos.lan", "label": "x1", "role": "base", "addresses": { "wg1": "10.78.0.9" }, "underlay": null },
            ],
            "kubernetes": null, "pki": "/etc/kubedos/pki", "mode": "apply", "certificates": 77,
        },
    });
    assert_eq!(found, expected);
}

#[test]
fn planes_with_ipv6_have_a_second_address_and_the_others_are_as_before() {
    let (info, mut peers, run) = (info(&PLANES), peers(), run(RunMode::Apply));
    let plain = variables(Places { root: "/".into() }, &Facts { info: &info, peers: &peers, run: &run, certificates: 77 });
    peers.planes.get_mut("wg1").unwrap().cidr6 = Some("fd00:78::/64".parse().unwrap());
    let mut found = variables(Places { root: "/".into() }, &Facts { info: &info, peers: &peers, run: &run, certificates: 77 });
    let own = found["kubedos"]["planes"]["wg1"].as_object_mut().unwrap();
    assert_eq!((own.remove("address6"), own.remove("cidr6")), (Some(json!("fd00:78::2")), Some(json!("fd00:78::/64"))));
    for (n, address) in ["fd00:78::2", "fd00:78::9"].into_iter().enumerate() {
        let member = found["kubedos"]["members"][n].as_object_mut().unwrap();
        assert_eq!(member.remove("addresses6"), Some(json!({ "wg1": address })));
    }
    assert_eq!(found, plain);
}

#[test]
fn a_node_with_pods_knows_their_networks() {
    let (info, mut peers, run) = (info(&PLANES), peers(), run(RunMode::Apply));
    let pods = r#"{"plane":"wg3","cidr":"10.244.0.0/16","services":"10.96.0.0/16","domain":"cluster.local",
        "nodes":{"e1.kubedos.lan":"10.244.2.0/24"}}"#;
    peers.pods = serde_json::from_str(pods).unwrap();
    let facts = Facts { info: &info, peers: &peers, run: &run, certificates: 77 };
    let found = &variables(Places { root: "/".into() }, &facts)["kubedos"]["kubernetes"];
    let expected = json!({ "plane": "wg3", "pods": "10.244.0.0/16", "services": "10.96.0.0/16", "domain": "cluster.local",
        "range": "10.244.2.0/24" });
    assert_eq!(*found, expected);
}

#[test]
fn a_site_with_one_plane_uses_it_for_everything() {
    let (info, peers, run) = (info(&PLANES[..1]), peers(), run(RunMode::Check));
    let facts = Facts { info: &info, peers: &peers, run: &run, certificates: 0 };
    let found = &variables(Places { root: "/".into() }, &facts)["kubedos"];
    assert_eq!(
        (&found["metrics_plane"], &found["backend_plane"], &found["mode"]),
        (&json!("wg1"), &json!("wg1"), &json!("check"))
    );
}

#[test]
fn only_root_reads_the_variables_and_equal_ones_are_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let places = Places { root: Utf8Path::from_path(dir.path()).unwrap() };
    let (info, peers, run) = (info(&PLANES), peers(), run(RunMode::Apply));
    let facts = Facts { info: &info, peers: &peers, run: &run, certificates: 1 };
    write(places, &facts).unwrap();
    let meta = || fs::metadata(places.vars()).unwrap();
    assert_eq!((meta().mode() & 0o777, fs::metadata(places.run()).unwrap().mode() & 0o777), (0o600, 0o700));
    let first = meta().ino();
    write(places, &facts).unwrap();
    assert_eq!(meta().ino(), first);
    write(places, &Facts { certificates: 2, ..facts }).unwrap();
    assert_ne!(meta().ino(), first);
}
