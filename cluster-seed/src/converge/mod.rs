//! Convergence: what the nodes of a role run after the fabric gate, in which order, and the messages about it.
//!
//! The operator's payload is a signed archive of Ansible roles ([`payload`]). A role of cluster.yaml names plays of it or of the
//! platform ([`platform`]); [`role`] resolves that. The seed counts the nodes ([`survey`]), decides which may go on ([`stage`]) and says so in a signed
//! order ([`orders`]); the node asks for it over the control plane, runs its own plays and reports.

pub mod role;

pub mod platform;

pub mod payload;

pub mod orders;

pub mod survey;

pub mod stage;

/// The checks of `seedd accept`: name, and what it shows.
pub const CHECKS: [(&str, &str); 9] = [
    ("planes", "every node has a handshake with every other live node on every plane"),
    (
        "security",
        "no password login, nothing listens where it should not, default-deny is in force, every package source is signed",
    ),
    ("etcd", "every member of etcd is healthy, and a quorum answers"),
    ("vip", "the load balancers run, and the virtual address answers on every node that uses it"),
    ("containers", "the container runtime runs, and its registry is the seed"),
    ("kubernetes", "every node of Kubernetes is Ready, pods of other nodes answer, and so does a service"),
    ("monitoring", "Prometheus has every target, and each of them is up"),
    ("time", "the clock of every node is synchronised with the seed's"),
    ("egress", "no node has a default route, unless its packages come from upstream"),
];

/// Checks of a node itself, beside those of its plays: shown, and asked for by acceptance. They hold up nobody: a node that is off
/// fails the check of planes on every other.
pub const NODE_CHECKS: [&str; 4] = ["planes", "security", "time", "egress"];
