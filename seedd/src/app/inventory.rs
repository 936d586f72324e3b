//! Nodes, enrollments and planes as flat lists.

use std::cmp::Reverse;
use std::net::Ipv4Addr;

use cluster_seed::addressing::{SEED_HOST, address};
use cluster_seed::cluster::{ClusterSpec, PlaneSpec};
use cluster_seed::planes::Reasoned;
use cluster_seed::wireguard::WgPublicKey;
use site::store::Tx;
use site::store::enrollments::EnrollmentRecord;
use site::store::nodes::NodeRecord;
use web::api::{AllowRow, ApiError, EnrollmentRow, EventView, InventoryApi, NodePlane, NodeView, PlaneRow, SshView};
use web::limits::{MAX_ENROLLMENTS, MAX_EVENTS};

use super::lists_view::Standing;
use super::views::{event, view};
use super::{App, Seed, unexpected};

impl InventoryApi for Seed {
    fn nodes(&self) -> Result<Vec<NodeView>, ApiError> {
        self.0.view_nodes()
    }

    fn enrollments(&self) -> Result<Vec<EnrollmentRow>, ApiError> {
        self.0.view_enrollments()
    }

    fn planes(&self) -> Result<Vec<PlaneRow>, ApiError> {
        self.0.view_planes()
    }

    fn ssh(&self) -> Result<SshView, ApiError> {
        let authority = self.0.store.read(converge::ssh::authority).map_err(unexpected)?;
        Ok(SshView { authority, domain: self.0.spec.spec.networking.domain.to_string() })
    }

    fn last_events(&self, limit: u32) -> Result<Vec<EventView>, ApiError> {
        let limit = limit.min(MAX_EVENTS);
        let rows = self.0.store.read(|tx| {
            // Numbers have no gaps above the first event that is kept.
            let before = tx.last_event()?.saturating_sub(i64::from(limit)).max(0);
            tx.events_after(before, limit)
        })?;
        Ok(rows.into_iter().map(event).collect())
    }
}

impl App {
    fn view_nodes(&self) -> Result<Vec<NodeView>, ApiError> {
        self.store.read(|tx| {
            let standing = self.standing(tx)?;
            tx.live_nodes()?.into_iter().map(|node| self.node_view(tx, node, &standing)).collect()
        })
    }

    fn node_view(&self, tx: &Tx<'_>, node: NodeRecord, standing: &Standing) -> Result<NodeView, ApiError> {
        let record = tx.enrollment(node.enrollment)?;
        let machine = tx.machine(record.machine)?;
        let facts = record.revealed.as_ref().map(|r| &r.facts).or(machine.facts.as_ref());
        let list = standing.of(record.id);
        let note = tx.note_of(record.machine)?;
        let plane = |(plane, (address, key)): (String, (Ipv4Addr, WgPublicKey))| NodePlane {
            plane,
            address,
            public_key: key.to_string(),
        };
        Ok(NodeView {
            failure_domain: failure_domain(&self.spec, node.hostname.label()),
            hostname: node.hostname.to_string(),
            role: node.role,
            state: record.state,
            since: record.since,
            enrollment: record.id,
            machine: record.machine,
            mac: machine.mac,
            endpoint: node.endpoint,
            planes: node.planes.into_iter().map(plane).collect(),
            model: facts.map(|f| format!("{} {}", f.vendor, f.product).trim().to_owned()).unwrap_or_default(),
            serial: facts.map(|f| f.serial.clone()).unwrap_or_default(),
            artifact: node.artifact,
            last_seen: record.touched.max(list.map_or(0, |(_, at)| at)),
            list: list.map(|(view, _)| view),
            place: note.place,
            labels: note.labels,
        })
    }

    fn view_enrollments(&self) -> Result<Vec<EnrollmentRow>, ApiError> {
        self.store.read(|tx| {
            let mut all = tx.every_enrollment()?;
            all.sort_by_key(|r| Reverse(r.created));
            all.truncate(MAX_ENROLLMENTS);
            let macs = tx.macs_of(all.iter().map(|r| r.machine))?;
            let row = |record: &EnrollmentRecord| -> Result<EnrollmentRow, ApiError> {
                Ok(EnrollmentRow {
                    enrollment: view(tx, record)?,
                    machine: record.machine,
                    mac: macs.get(&record.machine).copied(),
                    created: record.created,
                    token: record.token.map(|t| t.to_string()),
                })
            };
            all.iter().map(row).collect()
        })
    }

    fn view_planes(&self) -> Result<Vec<PlaneRow>, ApiError> {
        let nodes = self.store.read(|tx| tx.live_nodes())?;
        let allows = self.spec.allows();
        let row = |name: &String, plane: &PlaneSpec| -> Result<PlaneRow, ApiError> {
            Ok(PlaneRow {
                name: name.clone(),
                cidr: plane.cidr,
                port: plane.port,
                seed: address(name, plane.cidr, SEED_HOST).map_err(unexpected)?,
                public_key: self.public.planes.get(name).map(ToString::to_string),
                nodes: u32::try_from(nodes.iter().filter(|n| n.planes.contains_key(name)).count()).unwrap_or(u32::MAX),
                purpose: cluster_seed::machine::tame(&plane.purpose),
                topology: plane.topology.as_str().to_owned(),
                hubs: plane.hubs.iter().map(|role| role.value.clone()).collect(),
                mtu: plane.mtu.as_ref().map(|mtu| mtu.value),
                policy: plane.policy.as_str().to_owned(),
                allows: allows.get(name).into_iter().flatten().map(allow_row).collect(),
            })
        };
        self.spec.spec.networking.planes.iter().map(|(name, p)| row(name, &p.value)).collect()
    }
}

fn allow_row(reasoned: &Reasoned) -> AllowRow {
    let Reasoned { allow, why, built_in } = reasoned;
    AllowRow {
        from: allow.from.to_string(),
        to: allow.to.to_string(),
        ports: allow.ports.iter().map(ToString::to_string).collect(),
        why: why.clone(),
        built_in: *built_in,
    }
}

/// What fails together with the planned node of this name: its own word, or that of its host.
fn failure_domain(spec: &ClusterSpec, label: &str) -> Option<String> {
    let node = spec.spec.nodes.iter().find(|n| n.name.value.as_str() == label)?;
    if let Some(own) = &node.failure_domain {
        return Some(own.value.to_string());
    }
    let host = node.host.as_ref()?;
    let mut hosts = spec.spec.substrate.iter().flat_map(|s| &s.hosts);
    Some(hosts.find(|h| h.name.value == host.value)?.failure_domain.as_ref()?.value.to_string())
}
