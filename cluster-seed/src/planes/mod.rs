//! Planes: the WireGuard networks of cluster.yaml, who is a peer of whom on them, and what they carry. In reading order:

mod ports;
mod spec;

mod allow;

pub(crate) use allow::check as check_allows;
pub use allow::{Allow, AllowSpec, MAX_ALLOWS, Party, Reasoned, allows};
pub use ports::{BadPorts, Ports, Transport};
pub use spec::{BACKEND_PLANE, CONTROL_PLANE, METRICS_PLANE, PlaneSpec, Policy, Topology};
pub(crate) use spec::{check as check_planes, check_hubs, overlap};

#[cfg(test)]
mod tests;
