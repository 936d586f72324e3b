//! Nodes, enrollments and planes as flat lists.

use std::net::Ipv4Addr;

use cluster_seed::addressing::{SEED_HOST, address};
use cluster_seed::cluster::{ClusterSpec, PlaneSpec};
use cluster_seed::people::Permission;
use cluster_seed::planes::Reasoned;
use cluster_seed::wireguard::WgPublicKey;
use site::store::Tx;
use site::store::enrollments::EnrollmentRecord;
use site::store::nodes::NodeRecord;
use web::api::{
    Actor, AllowRow, ApiError, EnrollmentRow, EventView, InventoryApi, Listed, NodePlane, NodeView, PlaneRow, SshView,
};
use web::limits::{LIST_PAGE, MAX_EVENTS};

use super::lists_view::Standing;
use super::views::{event, view};
use super::{App, Seed, unexpected};

impl InventoryApi for Seed {
    fn nodes(&self, page: u32) -> Result<Listed<NodeView>, ApiError> {
        self.0.view_nodes(page)
    }

    fn enrollments(&self, page: u32) -> Result<Listed<EnrollmentRow>, ApiError> {
        self.0.view_enrollments(page)
    }

    fn planes(&self) -> Result<Vec<PlaneRow>, ApiError> {
        self.0.view_planes()
    }

    fn ssh(&self) -> Result<SshView, ApiError> {
        let authority = self.0.store.read(converge::ssh::authority).map_err(unexpected)?;
        Ok(SshView { authority, domain: self.0.spec.spec.networking.domain.to_string() })
    }

    fn last_events(&self, actor: &Actor, limit: u32) -> Result<Vec<EventView>, ApiError> {
        actor.must(Permission::Read)?;
        let limit = limit.min(MAX_EVENTS);
        let rows = self.0.store.read(|tx| {
            // Numbers have no gaps above the first event that is kept.
            let before = tx.last_event()?.saturating_sub(i64::from(limit)).max(0);
            tx.events_after(before, limit)
        })?;
        Ok(rows.into_iter().map(event).filter(|e| actor.sees(e)).collect())
    }
}

impl App {
    fn view_nodes(&self, page: u32) -> Result<Listed<NodeView>, ApiError> {
        self.store.read(|tx| {
            let nodes = tx.live_nodes_page(skipped(page), LIST_PAGE)?;
            let records: Vec<_> = nodes.iter().map(|node| tx.enrollment(node.enrollment)).collect::<Result<_, _>>()?;
            let standing = self.standing_of(tx, &records.iter().map(|r| (r.id, r.state)).collect::<Vec<_>>())?;
            let nodes = nodes.into_iter().zip(records);
            let rows =
                nodes.map(|(node, record)| self.node_view(tx, node, record, &standing)).collect::<Result<_, ApiError>>()?;
            Ok(Listed { rows, total: tx.count_live_nodes()? })
        })
    }

    fn node_view(
        &self,
        tx: &Tx<'_>,
        node: NodeRecord,
        record: EnrollmentRecord,
        standing: &Standing,
    ) -> Result<NodeView, ApiError> {
        let machine = tx.machine(record.machine)?;
        let facts = record.revealed.as_ref().map(|r| &r.facts).or(machine.facts.as_ref());
        let list = standing.of(record.id);
        let note = tx.note_of(record.machine)?;
        let plane = |(plane, (address, key)): (String, (Ipv4Addr, WgPublicKey))| NodePlane {
            address6: self.spec.spec.networking.planes.get(&plane).and_then(|p| p.value.address6(address)),
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

    fn view_enrollments(&self, page: u32) -> Result<Listed<EnrollmentRow>, ApiError> {
        self.store.read(|tx| {
            let (all, total) = tx.enrollments_page(skipped(page), LIST_PAGE)?;
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
            Ok(Listed { rows: all.iter().map(row).collect::<Result<_, _>>()?, total })
        })
    }

    fn view_planes(&self) -> Result<Vec<PlaneRow>, ApiError> {
        let nodes = self.store.read(|tx| tx.nodes_per_plane())?;
        let allows = self.spec.allows();
        let row = |name: &String, plane: &PlaneSpec| -> Result<PlaneRow, ApiError> {
            let seed = address(name, plane.cidr, SEED_HOST).map_err(unexpected)?;
            Ok(PlaneRow {
                name: name.clone(),
                cidr: plane.cidr,
                cidr6: plane.range6(),
                port: plane.port,
                seed,
                seed6: plane.address6(seed),
                public_key: self.public.planes.get(name).map(ToString::to_string),
                nodes: nodes.get(name).copied().unwrap_or(0),
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

/// Rows of the pages before this one.
fn skipped(page: u32) -> u32 {
    page.saturating_sub(1).saturating_mul(LIST_PAGE)
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
