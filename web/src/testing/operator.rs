//! The mock's [`OperatorApi`], except for what is about the site as a whole (`site.rs`).

use std::net::IpAddr;

use camino::Utf8PathBuf;
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::ids::EnrollmentId;
use cluster_seed::pairing::{CodeError, PairingCode};
use cluster_seed::people::Rights;
use cluster_seed::proof::ProofState;
use tokio::sync::watch;

use super::outputs::OUTPUT;
use super::people::actor_of;
use super::{CODE, METRICS_TOKEN, Mock, PASSWORD, SETUP_CODE, State, data};
use crate::api::{
    Actor, ApiError, Approve, BuildWish, ChartsView, ClockView, ConvergeAct, ConvergeView, EnrollmentView, EventPart, EventView,
    ExportWish, ImportWish, JobView, Login, MachineDetail, MachineRow, MeshView, OperatorApi, Origin, OutputsView, Overview,
    PackagesView, PlaceView, PowerAction, PowerDone, PowerView, SetPower, Setup, SiteView, Window,
};

fn session(state: &mut State) -> String {
    let token = format!("session-{}", state.sessions.len());
    state.sessions.push(token.clone());
    token
}

impl OperatorApi for Mock {
    fn ca_certificate(&self) -> Result<Option<String>, ApiError> {
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        Ok((!self.open()?.overview.setup_needed).then(|| pem.to_owned()))
    }

    fn packages(&self) -> Result<PackagesView, ApiError> {
        let overview = self.open()?.overview.clone();
        let id = overview.snapshot.ok_or(ApiError::NotFound { what: "snapshot" })?;
        Ok(data::packages(id, overview.proof.unwrap_or(ProofState::Unproven), &self.spice))
    }

    fn overview(&self) -> Result<Overview, ApiError> {
        Ok(self.open()?.overview.clone())
    }

    fn setup(&self, origin: &Origin, setup: &Setup) -> Result<String, ApiError> {
        self.note("setup");
        let mut state = self.open()?;
        state.callers.push(origin.address);
        if !state.overview.setup_needed {
            return Err(ApiError::Conflict { why: "there is an administrator already".into(), hint: None });
        }
        if setup.code != SETUP_CODE {
            return Err(ApiError::Forbidden { why: "wrong set-up code".into() });
        }
        state.overview.setup_needed = false;
        Ok(session(&mut state))
    }

    fn login(&self, origin: &Origin, login: &Login) -> Result<String, ApiError> {
        self.note("login");
        let mut state = self.open()?;
        state.callers.push(origin.address);
        match login.password.as_str() {
            PASSWORD => Ok(session(&mut state)),
            "too often" => Err(ApiError::TooMany { seconds: 30 }),
            _ => Err(ApiError::Unauthorized),
        }
    }

    fn session(&self, token: &str, _: bool) -> Result<Option<Actor>, ApiError> {
        let known = self.state().sessions.iter().any(|t| t == token);
        Ok(if known { Some(Actor::session("ada", Rights::Administrator, true)) } else { actor_of(token) })
    }

    fn logout(&self, _: &Actor, token: &str) -> Result<(), ApiError> {
        self.note("logout");
        self.open()?.sessions.retain(|t| t != token);
        Ok(())
    }

    fn seal(&self, _: &Actor) -> Result<(), ApiError> {
        self.note("seal");
        self.open()?.overview.sealed = true;
        Ok(())
    }

    fn unseal(&self, _: IpAddr, _: &Actor, passphrase: &str) -> Result<(), ApiError> {
        self.note("unseal");
        if passphrase != PASSWORD {
            return Err(ApiError::Forbidden { why: "wrong passphrase".into() });
        }
        self.open()?.overview.sealed = false;
        Ok(())
    }

    fn clock(&self) -> Result<ClockView, ApiError> {
        Ok(data::clock(self.open()?.overview.clock * 1000))
    }

    fn set_clock(&self, _: &Actor, to_ms: u64) -> Result<ClockView, ApiError> {
        self.note("set_clock");
        if to_ms < data::CLOCK * 1000 {
            return Err(ApiError::Conflict { why: "the seed may not set this machine's clock".into(), hint: None });
        }
        self.open()?.overview.clock = to_ms / 1000;
        self.clock()
    }

    fn machines(&self) -> Result<Vec<MachineRow>, ApiError> {
        Ok(self.open()?.machines.iter().map(|m| m.row.clone()).collect())
    }

    fn machine(&self, id: i64) -> Result<MachineDetail, ApiError> {
        let state = self.open()?;
        let found = state.machines.iter().find(|m| m.row.id == id).cloned();
        let mut detail = found.ok_or(ApiError::NotFound { what: "machine" })?;
        detail.waiting.retain(|_| detail.row.enrollment.as_ref().is_some_and(|e| e.state == EnrollmentState::Pending));
        Ok(detail)
    }

    fn packets(&self, _: &Actor, id: i64) -> Result<Vec<u8>, ApiError> {
        self.machine(id).map(|_| vec![0x0a, 0x0d, 0x0d, 0x0a])
    }

    fn medium_path(&self, _: &str) -> Option<Utf8PathBuf> {
        None
    }

    fn power(&self, id: i64) -> Result<PowerView, ApiError> {
        self.machine(id).map(|_| data::power(&self.spice))
    }

    fn set_power(&self, _: &Actor, id: i64, _: &SetPower) -> Result<PowerView, ApiError> {
        self.note("set_power");
        self.open_keys()?;
        self.power(id)
    }

    fn forget_power(&self, _: &Actor, id: i64) -> Result<PowerView, ApiError> {
        self.note("forget_power");
        self.power(id)
    }

    fn read_certificate(&self, id: i64) -> Result<PowerView, ApiError> {
        self.note("read_certificate");
        self.power(id)
    }

    fn trust_certificate(&self, _: &Actor, id: i64, _: &str) -> Result<PowerView, ApiError> {
        self.note("trust_certificate");
        self.power(id)
    }

    fn act_power(&self, _: &Actor, id: i64, action: PowerAction) -> Result<PowerDone, ApiError> {
        self.note("act_power");
        self.open_keys()?;
        self.machine(id)?;
        match action {
            PowerAction::Off => Err(ApiError::TooMany { seconds: 2 }),
            _ => Ok(PowerDone { text: format!("done{}", self.spice) }),
        }
    }

    fn metrics(&self, from: IpAddr, token: Option<&str>) -> Result<String, ApiError> {
        match (from.is_loopback(), token) {
            (true, _) | (_, Some(METRICS_TOKEN)) => Ok("# EOF\n".to_owned()),
            _ => Err(ApiError::Forbidden {
                why: "metrics are available on this machine, on the planes, and with the metrics token".into(),
            }),
        }
    }

    fn approve(&self, _: &Actor, id: EnrollmentId, approve: &Approve) -> Result<EnrollmentView, ApiError> {
        self.note("approve");
        let code: PairingCode = approve.code.parse().map_err(|e: CodeError| ApiError::bad(e.to_string(), "reload the page"))?;
        let right = code.secret.shown(code.number) == CODE;
        self.enrollment(id, |e| {
            if e.state != EnrollmentState::Pending {
                return Err(ApiError::Conflict { why: "it is no longer pending".into(), hint: None });
            }
            if e.number != Some(code.number.get()) {
                return Err(ApiError::bad("this code belongs to another machine", ""));
            }
            // A real machine would need a moment to answer.
            e.state = if right { EnrollmentState::Confirming } else { EnrollmentState::Denied };
            if !right {
                (e.wrong_codes, e.reason) = (e.wrong_codes + 1, Some("the code was wrong".into()));
            }
            (e.hostname, e.role) = (Some(approve.hostname.clone()), Some(approve.role.clone()));
            Ok(())
        })
    }

    fn approve_code(&self, actor: &Actor, approve: &Approve) -> Result<EnrollmentView, ApiError> {
        let (_, id) = self.find_code(&approve.code)?;
        self.approve(actor, id, approve)
    }

    fn find_code(&self, code: &str) -> Result<(i64, EnrollmentId), ApiError> {
        self.note("find_code");
        let code: PairingCode = code.parse().map_err(|e: CodeError| ApiError::bad(e.to_string(), "reload the page"))?;
        let state = self.open()?;
        let mut all = state.machines.iter().filter_map(|m| Some((m.row.id, m.row.enrollment.as_ref()?)));
        let found = all.find(|(_, e)| e.number == Some(code.number.get()));
        found.map(|(id, e)| (id, e.id)).ok_or_else(|| ApiError::bad("no machine is waiting with this code", "check the code"))
    }

    fn deny(&self, _: &Actor, id: EnrollmentId, reason: &str) -> Result<EnrollmentView, ApiError> {
        self.note("deny");
        self.enrollment(id, |e| {
            if e.state != EnrollmentState::Pending {
                return Err(ApiError::Conflict { why: "it is no longer pending".into(), hint: None });
            }
            (e.state, e.reason) = (EnrollmentState::Denied, Some(reason.into()));
            Ok(())
        })
    }

    fn deny_address(&self, _: &Actor, _: IpAddr) -> Result<u32, ApiError> {
        self.note("deny_address");
        Ok(3)
    }

    fn forget(&self, _: &Actor, id: i64) -> Result<(), ApiError> {
        self.note("forget");
        self.machine(id).map(|_| ())
    }

    fn revoke(&self, _: &Actor, id: EnrollmentId, reason: &str) -> Result<EnrollmentView, ApiError> {
        self.note("revoke");
        self.enrollment(id, |e| {
            if !e.state.is_member() {
                return Err(ApiError::Conflict { why: "it is not a node".into(), hint: None });
            }
            (e.state, e.reason) = (EnrollmentState::Revoked, Some(reason.into()));
            Ok(())
        })
    }

    fn events(&self, actor: &Actor, after: i64, limit: u32) -> Result<EventPart, ApiError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let rows: Vec<EventView> = self.open()?.events.iter().filter(|e| e.id > after).take(limit).cloned().collect();
        let (read, more) = (rows.last().map_or(after, |e| e.id), rows.len() == limit);
        Ok(EventPart { events: rows.into_iter().filter(|e| actor.sees(e)).collect(), read, more })
    }

    fn subscribe(&self) -> watch::Receiver<i64> {
        self.newest.subscribe()
    }

    fn converge_view(&self) -> Result<ConvergeView, ApiError> {
        drop(self.open()?);
        Ok(super::converge::converging(&self.spice))
    }
    fn mesh(&self) -> Result<MeshView, ApiError> {
        drop(self.open()?);
        Ok(super::mesh::mesh(&self.spice))
    }
    fn charts(&self, window: Window) -> Result<ChartsView, ApiError> {
        drop(self.open()?);
        Ok(super::charts::charts(&self.spice, window))
    }
    fn act_on_converge(&self, _: &Actor, act: &ConvergeAct) -> Result<(), ApiError> {
        self.note("act_on_converge");
        let known = act.role.as_deref().is_none_or(|role| role == "etcd");
        if known { Ok(()) } else { Err(ApiError::bad("there is no such role", "roles are in cluster.yaml")) }
    }

    fn outputs(&self) -> Result<OutputsView, ApiError> {
        self.view_outputs()
    }
    fn build_output(&self, _: &Actor, wish: &BuildWish) -> Result<JobView, ApiError> {
        self.note("build_output");
        self.open_keys()?;
        self.start_build(wish)
    }
    fn verify_output(&self, _: &Actor, name: &str) -> Result<JobView, ApiError> {
        self.note("verify_output");
        self.start_verify(name)
    }
    fn output_path(&self, _: &Actor, name: &str) -> Result<Option<Utf8PathBuf>, ApiError> {
        Ok((name == OUTPUT).then(|| self.file("manifest.json")))
    }

    fn site(&self) -> Result<SiteView, ApiError> {
        self.view_site()
    }
    fn export(&self, _: IpAddr, _: &Actor, wish: &ExportWish) -> Result<JobView, ApiError> {
        self.note("export");
        self.start_export(wish)
    }
    fn import(&self, _: IpAddr, _: &Actor, wish: &ImportWish) -> Result<JobView, ApiError> {
        self.note("import");
        self.start_import(wish)
    }
    fn drill(&self, _: IpAddr, _: &Actor, passphrase: &str) -> Result<JobView, ApiError> {
        self.note("drill");
        self.start_drill(passphrase)
    }
    fn promote(&self, _: &Actor, name: &str) -> Result<u64, ApiError> {
        self.note("promote");
        self.activate(name)
    }
    fn set_place(&self, _: &Actor, place: Option<&PlaceView>) -> Result<PlaceView, ApiError> {
        self.note("set_place");
        self.move_to(place)
    }
    fn capsule_path(&self, _: &Actor, name: &str) -> Result<Option<Utf8PathBuf>, ApiError> {
        Ok((name == "site-a.capsule").then(|| self.file("manifest.json")))
    }
    fn put_capsule(&self, _: &Actor, name: &str, at: u64, _: u64, piece: &[u8]) -> Result<u64, ApiError> {
        self.note("put_capsule");
        self.append(name, at, piece)
    }
    fn remove_capsule(&self, _: &Actor, name: &str) -> Result<(), ApiError> {
        self.note("remove_capsule");
        self.remove(name)
    }
}
