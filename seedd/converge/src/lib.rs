//! Convergence, on the seed's side: what nodes run after the fabric gate, with which certificates, and in which order. In reading order:

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

/// The operator's directory and the plays of the platform, checked and packed.
pub mod payload;

/// The certificate authorities of the site, and certificates for nodes.
pub mod pki;

/// The certificates of the nodes' SSH host keys.
pub mod ssh;

/// The registries that podman is configured with.
mod registries;

/// The site at one moment, and the orders of one node.
pub mod fleet;

/// Acceptance of a site.
pub mod accept;

/// What follows from cluster.yaml: stages, nodes, certificates, packages, and the difference to what runs.
pub mod plan;
