//! What Prometheus scrapes: the services of converged nodes on the metrics plane, and the seed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use cluster_seed::addressing::{SEED_HOST, address};
use cluster_seed::cluster::CONTROL_PLANE;
use web::api::{ApiError, TargetGroup};

use super::super::App;
use super::super::records::endpoint_of;

/// The plane that metrics are carried on, where it exists.
pub const METRICS_PLANE: &str = "wg2";

impl App {
    /// The plane for metrics.
    pub fn metrics_plane(&self) -> &'static str {
        if self.spec.spec.networking.planes.contains_key(METRICS_PLANE) { METRICS_PLANE } else { CONTROL_PLANE }
    }

    /// Fails unless a node with the monitoring play has this address on `plane`.
    fn must_monitor(&self, from: IpAddr, plane: &str) -> Result<(), ApiError> {
        let ip = endpoint_of(from);
        let found = self.store.read(|tx| {
            let scene = self.scene(tx)?;
            let mut nodes = scene.nodes.iter().filter(|n| scene.role_of(n).is_some_and(|r| r.monitors()));
            Ok::<_, ApiError>(nodes.any(|n| n.node.planes.get(plane).map(|(own, _)| *own) == ip))
        })?;
        if found { Ok(()) } else { Err(ApiError::forbidden("only nodes with the monitoring play may ask this")) }
    }

    pub fn targets_for(&self, from: IpAddr) -> Result<Vec<TargetGroup>, ApiError> {
        self.must_monitor(from, CONTROL_PLANE)?;
        let plane = self.metrics_plane();
        let mut groups = Vec::new();
        self.store.read(|tx| {
            let scene = self.scene(tx)?;
            for node in scene.nodes.iter().filter(|n| n.record.converged) {
                let (Some(role), Some((ip, _))) = (scene.role_of(node), node.node.planes.get(plane)) else { continue };
                for (job, port) in role.platform().flat_map(|play| play.metrics) {
                    groups.push(group(job, node.node.hostname.label(), &role.name, *ip, *port));
                }
            }
            Ok::<_, ApiError>(())
        })?;
        let cidr = self.spec.spec.networking.planes.get(plane).map(|p| p.value.cidr);
        if let Some(own) = cidr.and_then(|cidr| address(plane, cidr, SEED_HOST).ok()) {
            groups.push(group("seed", self.seed_name.label(), "seed", own, self.http.port()));
        }
        Ok(groups)
    }

    /// The seed's metrics, for Prometheus on the metrics plane.
    pub fn metrics_on_plane(&self, from: IpAddr) -> Result<String, ApiError> {
        self.must_monitor(from, self.metrics_plane())?;
        self.metrics()
    }
}

fn group(job: &str, node: &str, role: &str, ip: Ipv4Addr, port: u16) -> TargetGroup {
    let labels = [("job", job), ("node", node), ("instance", node), ("role", role)];
    let labels: BTreeMap<String, String> = labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    TargetGroup { targets: vec![format!("{ip}:{port}")], labels }
}
