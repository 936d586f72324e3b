//! Mesh of the mock.

use crate::api::{MeshDrop, MeshLink, MeshView, MeshViolation};

/// `spice` is appended to every text from outside.
pub fn mesh(spice: &str) -> MeshView {
    let name = |text: &str| format!("{text}{spice}");
    let link = |plane: &str, from: &str, to: &str, rate: f64, rtt: Option<f64>| MeshLink {
        plane: name(plane),
        from: name(from),
        to: name(to),
        bytes_per_second: rate,
        rtt,
    };
    MeshView {
        source: Some(name("mon-1")),
        missing: None,
        at: 1_763_800_000,
        nodes: ["etcd-1", "etcd-2", "etcd-3", "mon-1", "seed"].map(name).to_vec(),
        links: vec![
            link("wg3", "etcd-1", "etcd-2", 4_200_000.0, Some(0.000_8)),
            link("wg3", "etcd-2", "etcd-1", 910_000.0, Some(0.000_9)),
            link("wg3", "etcd-1", "etcd-3", 88_000.0, Some(0.012)),
            link("wg2", "mon-1", "etcd-1", 5_100.0, None),
            link("wg1", "seed", "mon-1", 740.0, None),
        ],
        violations: vec![MeshViolation {
            node: name("etcd-3"),
            peer: name("mon-1"),
            plane: name("wg2"),
            protocol: "tcp".to_owned(),
            port: "10250".to_owned(),
        }],
        drops: vec![MeshDrop { node: name("etcd-2"), plane: name("wg3"), reason: name("NETFILTER_DROP"), packets: 31.0 }],
        blind: vec![name("mon-1")],
        left_out: 0,
    }
}
