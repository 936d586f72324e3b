//! The mock's planes, and keys that are being replaced.

use super::{Mock, data};
use crate::api::{Actor, AllowRow, ApiError, PlaneRow, RotateWish, RotationApi, RotationRow, RotationStage};

/// `spice` is appended to every text from outside.
pub fn planes(spice: &str) -> Result<Vec<PlaneRow>, ApiError> {
    let plane = |n: u8| -> Result<PlaneRow, ApiError> {
        let cidr = format!("10.{}.0.0/16", 77 + n).parse().map_err(|_| ApiError::Internal("the mock's plane".into()))?;
        Ok(PlaneRow {
            name: format!("wg{n}"),
            cidr,
            cidr6: None,
            port: 51820 + u16::from(n),
            seed: [10, 77 + n, 0, 1].into(),
            seed6: None,
            public_key: Some(format!("key{spice}")),
            nodes: 3,
            purpose: format!("control{spice}"),
            topology: "mesh".into(),
            hubs: Vec::new(),
            mtu: None,
            policy: "open".into(),
            allows: Vec::new(),
        })
    };
    let allow = |from: &str, ports: &[&str], built_in| AllowRow {
        from: format!("{from}{spice}"),
        to: format!("store{spice}"),
        ports: ports.iter().map(|p| (*p).to_owned()).collect(),
        why: format!("backups{spice}"),
        built_in,
    };
    let hub = PlaneRow {
        topology: "hub".into(),
        hubs: vec![format!("store{spice}")],
        mtu: Some(8920),
        cidr6: "fd00:81::/64".parse().ok(),
        seed6: "fd00:81::1".parse().ok(),
        policy: "deny".into(),
        allows: vec![allow("worker", &["tcp/2049", "udp/4000-4100"], false), allow("any", &["tcp/9100"], true)],
        ..plane(4)?
    };
    Ok(vec![plane(1)?, hub])
}

impl RotationApi for Mock {
    fn rotations(&self) -> Result<Vec<RotationRow>, ApiError> {
        drop(self.open()?);
        let row = |node: &str, stage| RotationRow {
            node: format!("{node}{}", self.spice),
            plane: "wg1".into(),
            stage,
            since: data::CLOCK - 40,
            actor: format!("ada{}", self.spice),
        };
        Ok(vec![row("n-1.lab.lan", RotationStage::Announced), row("n-2.lab.lan", RotationStage::Queued)])
    }

    fn rotate(&self, _: &Actor, wish: &RotateWish) -> Result<Vec<RotationRow>, ApiError> {
        self.note("rotate");
        self.open_keys()?;
        if wish.node.is_none() && wish.plane.is_none() && !wish.all {
            return Err(ApiError::bad("it is not clear which keys are meant", "name a node, a plane or both, or ask for all"));
        }
        if wish.plane.as_ref().is_some_and(|plane| !["wg1", "wg4"].contains(&plane.as_str())) {
            return Err(ApiError::NotFound { what: "plane" });
        }
        self.rotations()
    }
}
