//! The mock's lists for the command line, made from its machines.

use cluster_seed::ids::Digest;

use super::Mock;
use crate::api::{Actor, ApiError, EnrollmentRow, EventView, InventoryApi, Listed, NodePlane, NodeView, PlaneRow, SshView};
use crate::limits::LIST_PAGE;

fn listed<T>(all: Vec<T>, page: u32) -> Listed<T> {
    let total = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let skip = (page.max(1) - 1).saturating_mul(LIST_PAGE) as usize;
    Listed { rows: all.into_iter().skip(skip).take(LIST_PAGE as usize).collect(), total }
}

impl InventoryApi for Mock {
    fn nodes(&self, page: u32) -> Result<Listed<NodeView>, ApiError> {
        let state = self.open()?;
        let mut nodes = Vec::new();
        for machine in &state.machines {
            let Some(e) = machine.row.enrollment.as_ref().filter(|e| e.state.is_member()) else { continue };
            let plane = |(plane, address): &(String, String)| {
                let public_key = format!("key{}", self.spice);
                Some(NodePlane { plane: plane.clone(), address: address.parse().ok()?, address6: None, public_key })
            };
            nodes.push(NodeView {
                hostname: e.hostname.clone().unwrap_or_default(),
                role: e.role.clone().unwrap_or_default(),
                state: e.state,
                since: e.since,
                enrollment: e.id,
                machine: machine.row.id,
                mac: machine.row.mac,
                endpoint: None,
                planes: e.addresses.iter().filter_map(plane).collect(),
                model: machine.row.model.clone(),
                serial: machine.facts.as_ref().map(|f| f.serial.clone()).unwrap_or_default(),
                artifact: Digest([1; 32]),
                last_seen: machine.row.last_seen,
                list: machine.row.list,
                failure_domain: Some(format!("rack-a{}", self.spice)),
                place: format!("hall 2{}", self.spice),
                labels: vec![format!("rack=r1{}", self.spice)],
            });
        }
        Ok(listed(nodes, page))
    }

    fn enrollments(&self, page: u32) -> Result<Listed<EnrollmentRow>, ApiError> {
        let state = self.open()?;
        let row = |m: &crate::api::MachineDetail| {
            let enrollment = m.row.enrollment.clone()?;
            let created = enrollment.since;
            Some(EnrollmentRow { enrollment, machine: m.row.id, mac: Some(m.row.mac), created, token: None })
        };
        Ok(listed(state.machines.iter().filter_map(row).collect(), page))
    }

    fn planes(&self) -> Result<Vec<PlaneRow>, ApiError> {
        drop(self.open()?);
        super::planes::planes(&self.spice)
    }

    fn ssh(&self) -> Result<SshView, ApiError> {
        drop(self.open()?);
        Ok(SshView { authority: Some(format!("ssh-ed25519 AAAA{}", self.spice)), domain: format!("lab.lan{}", self.spice) })
    }

    fn last_events(&self, actor: &Actor, limit: u32) -> Result<Vec<EventView>, ApiError> {
        let state = self.open()?;
        let skip = state.events.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(state.events.iter().skip(skip).filter(|e| actor.sees(e)).cloned().collect())
    }
}
