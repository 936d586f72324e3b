//! The mock's countersigning: one node waits.

use super::Mock;
use crate::api::{Actor, ApiError, CountersignApi, CountersignTaken, CountersignText, CountersignView, CountersignWaiting};
use cluster_seed::ids::{Hostname, IdError};

fn waiting() -> Result<Hostname, ApiError> {
    "n9.kubedos.lan".parse().map_err(|e: IdError| ApiError::Internal(e.to_string()))
}

impl CountersignApi for Mock {
    fn countersign(&self) -> Result<CountersignView, ApiError> {
        drop(self.open()?);
        let node = CountersignWaiting {
            name: waiting()?,
            role: format!("base{}", self.spice),
            fingerprint: "0a1b-2c3d-4e5f-6071-8293".into(),
            listed: false,
        };
        Ok(CountersignView {
            key: Some("07".repeat(32)),
            serial: 1,
            checked: true,
            next: Some("08".repeat(32)),
            problem: Some(format!("cluster.yaml has another key{}", self.spice)),
            waiting: vec![node],
        })
    }

    fn countersign_request(&self, all: bool) -> Result<CountersignText, ApiError> {
        drop(self.open()?);
        Ok(CountersignText { text: format!("{{\"all\":{all}}}\n") })
    }

    fn take_countersignatures(&self, _: &Actor, text: &str) -> Result<CountersignTaken, ApiError> {
        self.note("take_countersignatures");
        drop(self.open()?);
        if text != "{}" {
            return Err(ApiError::bad("this is not an answer of the countersigning key", "choose the file that it wrote"));
        }
        Ok(CountersignTaken { signed: vec![waiting()?], outdated: Vec::new(), change: false })
    }
}
