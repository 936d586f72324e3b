//! Who may read the metrics, and what they are now.
//!
//! They name no secret, yet they tell how a site is doing. So they are for programs on this machine, for nodes on a plane
//! (whose addresses only WireGuard lets in), and for holders of the metrics token, which opens nothing else.

use std::net::IpAddr;

use cluster_seed::ids::Digest;
use host::clock::{now, steady};
use host::files::free_space;
use serde::{Deserialize, Serialize};
use site::mode::Mode;
use site::store::StoreError;
use subtle::ConstantTimeEq as _;
use web::api::ApiError;

use super::{App, unexpected};
use crate::clock;
use crate::metrics::{Now, render};

/// Setting of the token; it stays with this installation.
pub const TOKEN: &str = "local:metrics-token";

/// The token as it is kept: nobody can read it again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricsToken {
    pub sha256: Digest,
    /// Unix seconds.
    pub expires: u64,
}

impl MetricsToken {
    /// True for the right token in its time.
    pub fn opens(&self, token: &str, now: u64) -> bool {
        let same = Digest::of(token.as_bytes()).0.ct_eq(&self.sha256.0);
        bool::from(same) && now < self.expires
    }
}

impl App {
    pub fn metrics_for(&self, from: IpAddr, token: Option<&str>) -> Result<String, ApiError> {
        let on_a_plane = match from {
            IpAddr::V4(ip) => self.spec.spec.networking.planes.values().any(|p| p.value.cidr.contains(&ip)),
            IpAddr::V6(_) => false,
        };
        if !(from.is_loopback() || on_a_plane || self.is_metrics_token(token)?) {
            let why = "metrics are for this machine, the planes and holders of the metrics token".to_owned();
            return Err(ApiError::Forbidden { why });
        }
        self.metrics()
    }

    fn is_metrics_token(&self, token: Option<&str>) -> Result<bool, ApiError> {
        let (Some(token), Some(kept)) = (token, self.store.setting(TOKEN)?) else { return Ok(false) };
        let kept: MetricsToken = serde_json::from_str(&kept).map_err(unexpected)?;
        Ok(kept.opens(token, now()))
    }

    pub fn metrics(&self) -> Result<String, ApiError> {
        let tallies = self.store.read(|tx| Ok::<_, StoreError>((tx.tallies(steady())?, Mode::of(tx)?)))?;
        let clock = clock::tool::tracking();
        let pool = self.spec.spec.networking.underlay.pool.value;
        let size = u64::from(u32::from(pool.last)).saturating_sub(u64::from(u32::from(pool.first))) + 1;
        let mode = match tallies.1 {
            Mode::Active => "active",
            Mode::Standby => "standby",
            Mode::Fenced { .. } => "fenced",
        };
        let state = Now {
            tallies: tallies.0,
            sealed: self.is_sealed(),
            mode,
            epoch: self.write(|tx| self.epoch(tx))?,
            clock: now(),
            synchronised: clock.as_ref().is_some_and(|t| t.state == cluster_seed::time::TimeState::Synchronised),
            offset: clock.as_ref().map(|t| t.offset),
            pool: size,
            free: free_space(&self.site.data).ok(),
            administrators_needed: self.setup_code().is_some(),
            peers_refused: self.heard.refused(),
            behind: self.store.read(|tx| self.standing(tx))?.lists.behind,
        };
        render(self.meters.get(), &self.flight, &state).map_err(unexpected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_in_its_time_only_and_is_kept_as_its_hash() {
        let kept = MetricsToken { sha256: Digest::of(b"kdm-right"), expires: 100 };
        for (token, now, opens) in [("kdm-right", 99, true), ("kdm-right", 100, false), ("kdm-wrong", 99, false), ("", 99, false)]
        {
            assert_eq!(kept.opens(token, now), opens, "{token} at {now}");
        }
        assert!(!serde_json::to_string(&kept).unwrap().contains("kdm"));
    }
}
