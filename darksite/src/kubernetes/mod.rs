//! What a snapshot and its extras must have so that nodes run Kubernetes without a network, and whether they do. Pure: files
//! are read in [`crate::audit::kubernetes`], and the network is used in [`crate::extras::bundle`].

// `1.36.2`.
pub mod version;

// `registry.k8s.io/pause:3.10.2`.
pub mod reference;

// What kubeadm of each minor version asks for.
pub mod facts;

// The images that a chart's values enable.
pub mod chart;

// What is wanted, from facts and charts.
pub mod need;

// What there is.
pub mod have;

// What is wanted, from roles of cluster.yaml and what the extras pin.
pub mod choose;

// What is missing or wrong.
pub mod finding;
pub mod lint;
pub mod packages;

// A section of cluster.yaml with what is needed.
pub mod section;

#[cfg(test)]
mod testing;
