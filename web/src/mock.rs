//! The second implementation of [`SeedApi`]: a small site in memory, for the tests and for `examples/mock.rs`.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::agent::{Claim, ClaimReply, Hello, HelloReply, Report, ReportReply, Reveal, RevealReply, StatusReply};
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::epoch::{EpochProof, EpochReply};
use cluster_seed::ids::{Digest, EnrollmentId};
use cluster_seed::pairing::{Code, Nonce};
use cluster_seed::peers::PeersFile;
use cluster_seed::proof::ProofState;
use cluster_seed::seal::{Sealed, SigningKey};
use tokio::sync::watch;

use crate::api::{
    Actor, ApiError, Approve, BootQuery, ClockView, EnrollmentView, EventView, ImageManifest, Login, MachineDetail, MachineRow,
    Overview, PackagesView, PowerAction, PowerDone, PowerView, SeedApi, SetPower, Setup,
};
use crate::mock_data;
use crate::site_api::SiteView;

/// The session that is there from the start.
pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";
pub const PASSWORD: &str = "correct horse";
pub const SETUP_CODE: &str = "one-time";
pub const METRICS_TOKEN: &str = "metrics-of-the-mock";
pub const CODE: &str = "123 456";
const IMAGE: &str = "registry.k8s.io/pause";

pub struct State {
    pub overview: Overview,
    pub site: SiteView,
    pub sessions: Vec<String>,
    pub machines: Vec<MachineDetail>,
    pub events: Vec<EventView>,
    /// The manifest of `registry.k8s.io/pause`, in `oci/` as every blob.
    pub image: Option<Digest>,
    /// Every call fails with [`ApiError::Internal`].
    pub broken: bool,
    /// Addresses that calls came from.
    pub callers: Vec<IpAddr>,
}

/// Files lie in `dir`: `boot/<name>`, `snapshot/`, `chunks/<digest>`, `manifest.json`.
pub struct Mock {
    dir: Utf8PathBuf,
    spice: String,
    state: Mutex<State>,
    newest: watch::Sender<i64>,
}

fn bad(why: &str) -> ApiError {
    ApiError::BadRequest { why: why.into(), hint: Some("look at it again".into()) }
}

impl Mock {
    /// `spice` is added to every text that comes from outside.
    pub fn new(dir: &Utf8Path, spice: &str) -> Self {
        let machines = mock_data::machines(spice);
        let events = mock_data::events(spice);
        let newest = events.last().map_or(0, |e| e.id);
        let state = State {
            overview: mock_data::overview(spice),
            site: crate::mock_site::view(spice),
            sessions: vec![TOKEN.into()],
            machines,
            events,
            image: None,
            broken: false,
            callers: Vec::new(),
        };
        Mock { dir: dir.to_owned(), spice: spice.to_owned(), state: Mutex::new(state), newest: watch::Sender::new(newest) }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn file(&self, name: &str) -> Utf8PathBuf {
        self.dir.join(name)
    }

    pub fn open(&self) -> Result<MutexGuard<'_, State>, ApiError> {
        let state = self.state();
        if state.broken { Err(ApiError::Internal("SQL logic error in /var/lib/kubedos/seed.db".into())) } else { Ok(state) }
    }

    fn open_keys(&self) -> Result<(), ApiError> {
        if self.open()?.overview.sealed { Err(ApiError::Sealed) } else { Ok(()) }
    }

    pub fn push(&self, kind: &str, text: &str, machine: Option<i64>) {
        let mut state = self.state();
        let id = state.events.last().map_or(1, |e| e.id + 1);
        let at = state.overview.clock * 1000;
        state.events.push(EventView { id, at, kind: kind.into(), text: text.into(), machine, actor: None, facts: None });
        drop(state);
        self.newest.send_replace(id);
    }

    fn enrollment(
        &self,
        id: EnrollmentId,
        f: impl FnOnce(&mut EnrollmentView) -> Result<(), ApiError>,
    ) -> Result<EnrollmentView, ApiError> {
        let mut state = self.open()?;
        let sealed = state.overview.sealed;
        let mut all = state.machines.iter_mut().filter_map(|m| m.row.enrollment.as_mut());
        let found = all.find(|e| e.id == id).ok_or(ApiError::NotFound { what: "enrollment" })?;
        if sealed {
            return Err(ApiError::Sealed);
        }
        f(found)?;
        Ok(found.clone())
    }
}

fn session(state: &mut State) -> String {
    let token = format!("session-{}", state.sessions.len());
    state.sessions.push(token.clone());
    token
}

fn existing(path: Utf8PathBuf) -> Option<Utf8PathBuf> {
    path.exists().then_some(path)
}

impl SeedApi for Mock {
    fn boot_script(&self, from: IpAddr, query: &BootQuery) -> Result<String, ApiError> {
        self.open()?.callers.push(from);
        let mac = query.mac.as_deref().ok_or_else(|| bad("the mac is missing"))?;
        let mac: cluster_seed::ids::Mac = mac.parse().map_err(|_| bad("not a MAC address"))?;
        Ok(format!("#!ipxe\n# {mac}\nboot\n"))
    }
    fn boot_file(&self, _: IpAddr, name: &str) -> Option<Utf8PathBuf> {
        ["vmlinuz", "initrd.img"].contains(&name).then(|| self.dir.join("boot").join(name)).and_then(existing)
    }
    fn preseed(&self, query: &BootQuery) -> Result<String, ApiError> {
        let mac = query.mac.as_deref().ok_or_else(|| bad("the mac is missing"))?;
        Ok(format!("# for {mac}\n"))
    }
    fn snapshot_dir(&self, id: Option<Digest>) -> Option<Utf8PathBuf> {
        id.is_none_or(|id| Some(id) == self.state().overview.snapshot).then(|| self.dir.join("snapshot")).and_then(existing)
    }
    fn proof_path(&self, id: Option<Digest>) -> Option<Utf8PathBuf> {
        id.is_none_or(|id| Some(id) == self.state().overview.snapshot).then(|| self.dir.join("proof.json")).and_then(existing)
    }
    fn extras_dir(&self) -> Option<Utf8PathBuf> {
        existing(self.dir.join("extras"))
    }
    fn image_repositories(&self) -> Vec<String> {
        self.state().image.map(|_| IMAGE.to_owned()).into_iter().collect()
    }
    fn image_tags(&self, repository: &str) -> Option<Vec<String>> {
        (repository == IMAGE).then(|| ["latest", "3.9", "3.10"].map(str::to_owned).to_vec())
    }
    fn image_manifest(&self, repository: &str, reference: &str) -> Option<ImageManifest> {
        let digest = self.state().image.filter(|_| repository == IMAGE)?;
        let media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
        let known = reference == "3.10" || reference == format!("sha256:{digest}");
        known.then(|| ImageManifest { digest, media_type, path: self.dir.join("oci").join(digest.to_string()) })
    }
    fn image_blob(&self, repository: &str, digest: Digest) -> Option<Utf8PathBuf> {
        (repository == IMAGE).then(|| self.dir.join("oci").join(digest.to_string())).and_then(existing)
    }
    fn chunk_path(&self, stored: Digest) -> Option<Utf8PathBuf> {
        existing(self.dir.join("chunks").join(stored.to_string()))
    }
    fn manifest_path(&self, _: Digest) -> Option<Utf8PathBuf> {
        existing(self.dir.join("manifest.json"))
    }
    fn medium_path(&self, name: &str) -> Option<Utf8PathBuf> {
        (name == "seed-ab.iso").then(|| self.dir.join(name)).and_then(existing)
    }
    fn hello(&self, from: IpAddr, hello: Hello) -> Result<HelloReply, ApiError> {
        self.open()?.callers.push(from);
        if hello.protocol != cluster_seed::agent::PROTOCOL {
            return Err(bad("another protocol"));
        }
        let seed_nonce = Nonce::from_random([3; 32]);
        Ok(HelloReply { enrollment: EnrollmentId([7; 16]), site_key: "00".into(), seed_nonce })
    }
    fn reveal(&self, _: IpAddr, _: EnrollmentId, _: Reveal) -> Result<RevealReply, ApiError> {
        Err(ApiError::Forbidden { why: "the keys do not open the commitment".into() })
    }
    fn enrollment_status(&self, id: EnrollmentId) -> Result<StatusReply, ApiError> {
        let state = self.open()?;
        let all = state.machines.iter().filter_map(|m| m.row.enrollment.as_ref());
        let found = all.into_iter().find(|e| e.id == id).ok_or(ApiError::NotFound { what: "enrollment" })?;
        Ok(StatusReply { state: found.state, challenge: None, reason: found.reason.clone() })
    }
    fn claim(&self, _: IpAddr, _: EnrollmentId, _: &Sealed<Claim>) -> Result<ClaimReply, ApiError> {
        Err(ApiError::Conflict { why: "this identity has been issued".into(), hint: None })
    }
    fn report(&self, _: IpAddr, _: EnrollmentId, _: &Sealed<Report>) -> Result<ReportReply, ApiError> {
        Ok(ReportReply { state: EnrollmentState::Installing, fresh: true })
    }
    fn peers(&self) -> Result<Sealed<PeersFile>, ApiError> {
        let file = PeersFile { epoch: 1, version: 1, planes: Default::default(), nodes: Default::default() };
        Sealed::sign(&file, &SigningKey::from_bytes(&[1; 32])).map_err(|e| ApiError::Internal(e.to_string()))
    }

    fn ca_certificate(&self) -> Result<Option<String>, ApiError> {
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        Ok((!self.open()?.overview.setup_needed).then(|| pem.to_owned()))
    }
    fn epoch(&self) -> Result<Sealed<EpochProof>, ApiError> {
        Sealed::sign(&EpochProof { epoch: 1 }, &SigningKey::from_bytes(&[1; 32])).map_err(|e| ApiError::Internal(e.to_string()))
    }
    fn hear_epoch(&self, _: IpAddr, proof: &Sealed<EpochProof>) -> Result<EpochReply, ApiError> {
        let own = SigningKey::from_bytes(&[1; 32]).verifying_key();
        let heard = proof.open(&own).map_err(|_| ApiError::Forbidden { why: "not signed by this site".into() })?;
        Ok(EpochReply { epoch: 1, fenced: heard.epoch > 1 })
    }

    fn packages(&self) -> Result<PackagesView, ApiError> {
        let overview = self.open()?.overview.clone();
        let id = overview.snapshot.ok_or(ApiError::NotFound { what: "snapshot" })?;
        Ok(mock_data::packages(id, overview.proof.unwrap_or(ProofState::Unproven), &self.spice))
    }
    fn overview(&self) -> Result<Overview, ApiError> {
        Ok(self.open()?.overview.clone())
    }
    fn setup(&self, from: IpAddr, setup: &Setup) -> Result<String, ApiError> {
        let mut state = self.open()?;
        state.callers.push(from);
        if !state.overview.setup_needed {
            return Err(ApiError::Conflict { why: "there is an administrator already".into(), hint: None });
        }
        if setup.code != SETUP_CODE {
            return Err(ApiError::Forbidden { why: "this is not the code".into() });
        }
        state.overview.setup_needed = false;
        Ok(session(&mut state))
    }
    fn login(&self, from: IpAddr, login: &Login) -> Result<String, ApiError> {
        let mut state = self.open()?;
        state.callers.push(from);
        match login.password.as_str() {
            PASSWORD => Ok(session(&mut state)),
            "too often" => Err(ApiError::TooMany { seconds: 30 }),
            _ => Err(ApiError::Unauthorized),
        }
    }
    fn session(&self, token: &str) -> Result<Option<Actor>, ApiError> {
        Ok(self.state().sessions.iter().any(|t| t == token).then(|| Actor { user: "ada".into() }))
    }
    fn logout(&self, token: &str) -> Result<(), ApiError> {
        self.open()?.sessions.retain(|t| t != token);
        Ok(())
    }
    fn unseal(&self, _: IpAddr, _: &Actor, passphrase: &str) -> Result<(), ApiError> {
        if passphrase != PASSWORD {
            return Err(ApiError::Forbidden { why: "this is not the site's passphrase".into() });
        }
        self.open()?.overview.sealed = false;
        Ok(())
    }
    fn clock(&self) -> Result<ClockView, ApiError> {
        Ok(mock_data::clock(self.open()?.overview.clock * 1000))
    }
    fn set_clock(&self, _: &Actor, to_ms: u64) -> Result<ClockView, ApiError> {
        if to_ms < mock_data::CLOCK * 1000 {
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
        state.machines.iter().find(|m| m.row.id == id).cloned().ok_or(ApiError::NotFound { what: "machine" })
    }
    fn packets(&self, id: i64) -> Result<Vec<u8>, ApiError> {
        self.machine(id).map(|_| vec![0x0a, 0x0d, 0x0d, 0x0a])
    }
    fn power(&self, id: i64) -> Result<PowerView, ApiError> {
        self.machine(id).map(|_| mock_data::power(&self.spice))
    }
    fn set_power(&self, _: &Actor, id: i64, _: &SetPower) -> Result<PowerView, ApiError> {
        self.open_keys()?;
        self.power(id)
    }
    fn forget_power(&self, _: &Actor, id: i64) -> Result<PowerView, ApiError> {
        self.power(id)
    }
    fn act_power(&self, _: &Actor, id: i64, action: PowerAction) -> Result<PowerDone, ApiError> {
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
            _ => Err(ApiError::Forbidden { why: "metrics are for this machine, the planes and holders of the token".into() }),
        }
    }
    fn approve(&self, _: &Actor, id: EnrollmentId, approve: &Approve) -> Result<EnrollmentView, ApiError> {
        let right = Code::parse(CODE).zip(Code::parse(&approve.code)).is_some_and(|(a, b)| a.matches(&b));
        self.enrollment(id, |e| {
            e.state = match e.state {
                EnrollmentState::Pending if right => EnrollmentState::Approved,
                EnrollmentState::Pending => {
                    e.wrong_codes += 1;
                    return Err(ApiError::Forbidden { why: "the code is wrong".into() });
                }
                _ => return Err(ApiError::Conflict { why: "it is not pending any more".into(), hint: None }),
            };
            (e.hostname, e.role) = (Some(approve.hostname.clone()), Some(approve.role.clone()));
            Ok(())
        })
    }
    fn deny(&self, _: &Actor, id: EnrollmentId, reason: &str) -> Result<EnrollmentView, ApiError> {
        self.enrollment(id, |e| {
            if e.state != EnrollmentState::Pending {
                return Err(ApiError::Conflict { why: "it is not pending any more".into(), hint: None });
            }
            (e.state, e.reason) = (EnrollmentState::Denied, Some(reason.into()));
            Ok(())
        })
    }
    fn revoke(&self, _: &Actor, id: EnrollmentId, reason: &str) -> Result<EnrollmentView, ApiError> {
        self.enrollment(id, |e| {
            if !e.state.is_member() {
                return Err(ApiError::Conflict { why: "it is no node".into(), hint: None });
            }
            (e.state, e.reason) = (EnrollmentState::Revoked, Some(reason.into()));
            Ok(())
        })
    }
    fn events(&self, after: i64, limit: u32) -> Result<Vec<EventView>, ApiError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(self.open()?.events.iter().filter(|e| e.id > after).take(limit).cloned().collect())
    }
    fn subscribe(&self) -> watch::Receiver<i64> {
        self.newest.subscribe()
    }
}
