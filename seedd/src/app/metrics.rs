//! The metrics, and who may read them.
//!
//! They contain no secrets but reveal the state of the site. So they are served to programs on this machine, to nodes on a
//! plane that is up (WireGuard admits only their addresses), and with the metrics token, which gives no other access.

use std::net::{IpAddr, Ipv4Addr};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use cluster_seed::addressing::{SEED_HOST, address};
use cluster_seed::events::EventKind;
use cluster_seed::ids::Digest;
use host::clock::{now, now_ms, steady};
use host::files::free_space;
use host::interfaces::is_up_with;
use host::random;
use serde::{Deserialize, Serialize};
use site::mode::Mode;
use site::store::events::NewEvent;
use site::store::{StoreError, Tx};
use subtle::ConstantTimeEq as _;
use web::api::ApiError;
use zeroize::Zeroizing;

use super::{App, unexpected};
use crate::clock;
use crate::metrics::{Now, render};

/// Setting that stores the token; it is local to this installation.
pub const TOKEN: &str = "local:metrics-token";

/// The token as it is stored: only its hash.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricsToken {
    pub sha256: Digest,
    /// Unix seconds.
    pub expires: u64,
}

impl MetricsToken {
    /// True for the right token until it expires.
    pub fn opens(&self, token: &str, now: u64) -> bool {
        let same = Digest::of(token.as_bytes()).0.ct_eq(&self.sha256.0);
        bool::from(same) && now < self.expires
    }
}

/// Makes a token that is valid for so many days, in place of the one before. Returns its text, which is shown this once, and when it
/// expires in Unix seconds.
pub(crate) fn make_token(tx: &Tx<'_>, actor: &str, days: u32) -> Result<(Zeroizing<String>, u64), ApiError> {
    let random = Zeroizing::new(random::bytes::<32>().map_err(unexpected)?);
    let text = Zeroizing::new(format!("kdm-{}", B64.encode(*random)));
    let expires = now().saturating_add(u64::from(days) * 86_400);
    let kept = MetricsToken { sha256: Digest::of(text.as_bytes()), expires };
    tx.set(TOKEN, &serde_json::to_string(&kept).map_err(unexpected)?)?;
    let said = format!("metrics token created, for {days} days");
    tx.event(now_ms(), &NewEvent { actor: Some(actor), ..NewEvent::new(EventKind::ApiTokenCreated, &said) })?;
    Ok((text, expires))
}

/// Revokes the token, if there is one.
pub(crate) fn revoke_token(tx: &Tx<'_>, actor: &str) -> Result<(), ApiError> {
    if tx.unset(TOKEN)? {
        let revoked = NewEvent::new(EventKind::ApiTokenRevoked, "metrics token revoked");
        tx.event(now_ms(), &NewEvent { actor: Some(actor), ..revoked })?;
    }
    Ok(())
}

impl App {
    pub fn metrics_for(&self, from: IpAddr, token: Option<&str>) -> Result<String, ApiError> {
        if !(from.is_loopback() || self.is_on_a_plane(from, &is_up_with) || self.is_metrics_token(token)?) {
            let why = "metrics are available on this machine, on the planes, and with the metrics token".to_owned();
            return Err(ApiError::Forbidden { why });
        }
        self.metrics()
    }

    /// True for an address of a plane that is up here. While it is up, answers to such an address leave through WireGuard, so
    /// only that node can complete a connection from it. While it is down, any host on the boot network can.
    fn is_on_a_plane(&self, from: IpAddr, is_up: &dyn Fn(&str, Ipv4Addr) -> bool) -> bool {
        let IpAddr::V4(ip) = from else { return false };
        let planes = self.spec.spec.networking.planes.iter();
        let mut of = planes.filter(|(_, plane)| plane.value.cidr.contains(&ip));
        of.any(|(name, plane)| address(name, plane.value.cidr, SEED_HOST).is_ok_and(|own| is_up(name, own)))
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
            unheard: self.unheard_nodes()?,
        };
        render(self.meters.get(), &self.flight, &state).map_err(unexpected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L15: on the boot network any host can send from an address of a plane.
    #[test]
    fn an_address_of_a_plane_counts_only_while_the_plane_is_up() {
        let dir = tempfile::tempdir().unwrap();
        let site = site::Site::new(camino::Utf8Path::from_path(dir.path()).unwrap());
        site.make_folders().unwrap();
        let text = site::default_cluster_yaml("a");
        let spec = cluster_seed::cluster::ClusterSpec::parse(&text).unwrap();
        let planes: Vec<String> = spec.spec.networking.planes.keys().cloned().collect();
        site.keys().create_with(10, "a passphrase", "a", &planes, 1_760_000_000).unwrap();
        std::fs::write(site.cluster_file(), text).unwrap();
        site::store::Store::open(&site.database()).unwrap().set(site::setting::EPOCH, "1").unwrap();
        let app = App::open(site, "10.44.0.1:80".parse().unwrap()).unwrap();
        let cidr = spec.spec.networking.planes["wg1"].value.cidr;
        let own = address("wg1", cidr, SEED_HOST).unwrap();
        let from = IpAddr::V4(address("wg1", cidr, 7).unwrap());
        assert!(!app.is_on_a_plane(from, &|_, _| false));
        assert!(app.is_on_a_plane(from, &|name, ip| (name, ip) == ("wg1", own)));
        assert!(!app.is_on_a_plane(from, &|name, _| name == "wg2"), "another plane is up");
        assert!(!app.is_on_a_plane("10.44.0.9".parse().unwrap(), &|_, _| true));
        // No test has an interface of this name.
        assert!(matches!(app.metrics_for(from, None), Err(ApiError::Forbidden { .. })));
        assert!(app.metrics_for("127.0.0.1".parse().unwrap(), None).is_ok());
    }

    #[test]
    fn a_token_expires_and_is_stored_as_its_hash() {
        let kept = MetricsToken { sha256: Digest::of(b"kdm-right"), expires: 100 };
        for (token, now, opens) in [("kdm-right", 99, true), ("kdm-right", 100, false), ("kdm-wrong", 99, false), ("", 99, false)]
        {
            assert_eq!(kept.opens(token, now), opens, "{token} at {now}");
        }
        assert!(!serde_json::to_string(&kept).unwrap().contains("kdm"));
    }
}
