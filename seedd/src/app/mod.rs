//! The use cases of the web interface, the machines and the watchdog, on top of the store.

pub(crate) mod acceptance;
pub mod admission;
mod api;
pub use api::Seed;
pub mod agree;
pub mod approve;
mod apt;
pub mod asked;
mod audit;
pub mod auth;
pub mod boot;
mod budgets;
pub(crate) mod change;
mod charts;
mod claims;
mod clock;
pub mod confirm;
pub mod console;
pub mod converge;
mod countersign;
mod darksite;
mod dhcp;
pub mod enroll;
mod first_yes;
mod fleet;
pub mod flight;
mod heartbeat;
mod home;
mod inventory;
pub mod issue;
pub mod jobs;
mod jobs_view;
pub(crate) mod join_tokens;
pub mod lists;
mod lists_view;
mod local;
mod local_sessions;
pub mod log;
pub mod metrics;
pub mod mode;
mod node_keys;
pub(crate) mod notes;
mod outputs;
mod own_list;
mod plan;

mod checked;
pub mod passkeys;
pub mod people;
mod people_api;
mod power;
pub(crate) mod records;
mod remote;
pub(crate) use remote::hinted;

pub(crate) mod replace;
pub mod report;
pub mod rotate;
pub(crate) mod settings;
mod site_ops;
mod site_view;
pub(crate) mod slots;
pub(crate) mod socket;
mod strangers;
pub(crate) mod support;
#[cfg(test)]
mod testing;
pub(crate) mod throttle;
pub mod tls;
mod tokens;
mod told;
mod verdict_view;
pub mod verdicts;
pub mod views;
pub mod watchdog;
pub mod webhooks;
pub mod wire;

use std::collections::{BTreeSet, HashMap};
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use ::flight::recorder::Flight;
use anyhow::Result;
use cluster_seed::arch::Arch;
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::events::EventKind;
use cluster_seed::ids::{Digest, EnrollmentId, Hostname};
use cluster_seed::manifest::ArtifactManifest;
use cluster_seed::people::ApiTokenId;
use cluster_seed::seal::VerifyingKey;
use cluster_seed::secret::AgeKey;
use host::clock::now_ms;
use site::extras::Registry;
use site::keys::{PublicKeys, Unsealed};
use site::store::events::NewEvent;
use site::store::{Store, Tx};
use site::tls::{Tls, host_names};
use site::{Site, artifacts, seed_hostname};
use tokio::sync::watch;
use web::api::ApiError;

use crate::clock::Silence;
use crate::clock::beats::Beats;
use crate::metrics::Meters;
use crate::power::throttle::PowerThrottle;
use budgets::Budgets;
use jobs::Jobs;
use passkeys::Ceremonies;
use site::hint;
use slots::Slots;
use throttle::Throttle;

/// The running seed.
pub struct App {
    pub site: Site,
    pub spec: ClusterSpec,
    pub store: Store,
    pub public: PublicKeys,
    pub site_key: VerifyingKey,
    pub seed_name: Hostname,
    /// Warnings about this host, shown on every page while this process runs.
    pub lasting: OnceLock<Vec<String>>,
    /// Scheme (`https` or `http`) and address of the web interface, once it is listening.
    pub pages: OnceLock<(&'static str, SocketAddr)>,
    /// Address at which machines reach the seed by HTTP on the underlay.
    pub http: SocketAddrV4,
    /// The TLS certificate of the web interface.
    pub tls: Arc<Tls>,
    unsealed: RwLock<Option<Unsealed>>,
    newest: watch::Sender<i64>,
    /// Wakes the task that configures the seed's own planes; the value is the version of the peer list.
    pub planes_changed: watch::Sender<u64>,
    setup_code: Mutex<Option<String>>,
    throttle: Throttle,
    passkeys: Ceremonies,
    /// How often each API token was used.
    budgets: Budgets<ApiTokenId>,
    /// How often each node said what becomes an event.
    said: Budgets<EnrollmentId>,
    slots: Slots,
    /// True once the site's files or its mode differ from those that were read: the daemon reloads the site.
    pub changed: watch::Sender<bool>,
    /// Held while cluster.yaml is replaced.
    editing: Mutex<()>,
    /// The operator's key with which the reloaded site is unsealed.
    operator: Mutex<Option<AgeKey>>,
    silence: Mutex<Silence>,
    /// Survives a reload of the site.
    pub jobs: Arc<Jobs>,
    /// Survives it too.
    checked: Arc<checked::Checked>,
    /// The boot flight recorder.
    pub flight: Flight,
    /// Counters for the metrics, once the servers run.
    pub meters: OnceLock<Meters>,
    /// When the power of each machine was last changed.
    pub power: PowerThrottle,
    /// Cache of the extras in use.
    extras: Mutex<Option<Arc<Registry>>>,
    /// Snapshots whose manifest was verified at the first request; others are not served.
    served: Mutex<BTreeSet<Digest>>,
    /// When each unapproved machine last polled, by the steady clock, and whether it did since this daemon started.
    polls: Mutex<HashMap<EnrollmentId, (u64, bool)>>,
    /// The heartbeats of the nodes.
    beats: Mutex<Beats>,
    /// The plan, and the codes that planned machines have told.
    told: told::Told,
    /// The disk is nearly full.
    short_of_space: AtomicBool,
    /// When the log was last signed, by the steady clock; 0 before the first time.
    checkpointed: AtomicU64,
    /// Peer list versions that nodes reported.
    pub heard: lists::Heard,
    own_list: own_list::Opened,
    /// The site as its nodes converge, for some seconds.
    scenes: converge::scenes::Scenes,
    /// What the external inventory said about machines that wait.
    asked: asked::standing::Asked,
    /// The warnings about countersigning, and of what they were made.
    countersign_said: Mutex<Option<(String, Vec<String>)>>,
    /// Sessions of the command line on this machine.
    local: local_sessions::LocalSessions,
    /// How the receivers of webhooks do.
    webhooks: webhooks::standing::Hooks,
    /// The budget for writes that machines without an identity cause.
    strangers: strangers::Strangers,
}

impl App {
    pub fn open(site: Site, http: SocketAddrV4) -> Result<Self> {
        let tls = Tls::new(host_names(site.spec().ok().as_ref()))?;
        App::open_with(site, http, tls)
    }

    /// Opens a site whose web interface is already running.
    pub fn open_with(site: Site, http: SocketAddrV4, tls: Arc<Tls>) -> Result<Self> {
        let store = site.open_store()?;
        let spec = site.spec()?;
        if let Some(identity) = site.keys().sealed_identity()? {
            tls.keep_sealed(&identity)?;
            if !tls.is_certified() {
                tls.seal();
            }
        }
        let public = site.keys().public()?;
        let newest = store.read(|tx| tx.last_event())?;
        let setup_needed = !store.read(|tx| tx.has_admin())?;
        let code = if setup_needed { Some(auth::new_setup_code()?) } else { None };
        Ok(App {
            site_key: public.site_key()?,
            seed_name: seed_hostname(&spec)?,
            unsealed: RwLock::new(None),
            newest: watch::Sender::new(newest),
            planes_changed: watch::Sender::new(0),
            setup_code: Mutex::new(code),
            throttle: Throttle::with_free_codes(spec.spec.enrollment.max_wrong_codes),
            passkeys: Ceremonies::new(seed_hostname(&spec)?.as_str()),
            budgets: Budgets::default(),
            said: Budgets::default(),
            slots: Slots::default(),
            changed: watch::Sender::new(false),
            editing: Mutex::default(),
            operator: Mutex::new(None),
            silence: Mutex::default(),
            jobs: Arc::default(),
            checked: Arc::default(),
            flight: Flight::new(now_ms()),
            meters: OnceLock::new(),
            power: PowerThrottle::default(),
            extras: Mutex::default(),
            served: Mutex::default(),
            polls: Mutex::default(),
            beats: Mutex::default(),
            told: told::Told::default(),
            short_of_space: AtomicBool::default(),
            checkpointed: AtomicU64::default(),
            heard: lists::Heard::default(),
            own_list: own_list::Opened::default(),
            scenes: converge::scenes::Scenes::default(),
            asked: asked::standing::Asked::default(),
            countersign_said: Mutex::default(),
            local: local_sessions::LocalSessions::default(),
            webhooks: webhooks::standing::Hooks::default(),
            strangers: strangers::Strangers::default(),
            lasting: OnceLock::new(),
            pages: OnceLock::new(),
            site,
            spec,
            store,
            public,
            http,
            tls,
        })
    }

    /// Asks the daemon to reload the site and keep it unsealed, with `operator` if the keys changed.
    pub fn reload_with(&self, operator: Option<AgeKey>) {
        *self.operator.lock().unwrap_or_else(PoisonError::into_inner) = operator;
        self.changed.send_replace(true);
    }

    pub fn reload(&self) {
        self.reload_with(None);
    }

    /// The site as it is on disk now. It stays unsealed if its keys are unchanged.
    pub fn reopened(&self) -> Result<Self> {
        let mut fresh = App::open_with(self.site.clone(), self.http, self.tls.clone())?;
        fresh.jobs = self.jobs.clone();
        fresh.checked = self.checked.clone();
        let seed = fresh.spec.spec.networking.underlay.seed.value;
        if *self.http.ip() == self.spec.spec.networking.underlay.seed.value {
            fresh.http.set_ip(seed);
        }
        if let Some(lasting) = self.lasting.get() {
            fresh.lasting = OnceLock::from(lasting.clone());
        }
        let operator = self.operator.lock().unwrap_or_else(PoisonError::into_inner).take();
        let held = self.unsealed.write().unwrap_or_else(PoisonError::into_inner).take();
        let keys = match (operator, held) {
            (Some(key), _) => Some(fresh.site.keys().unseal_with(&key)?),
            (None, held) => held.filter(|_| fresh.public.site == self.public.site),
        };
        if let Some(keys) = keys {
            fresh.opened(keys)?;
        }
        Ok(fresh)
    }

    /// Marks the seed as unsealed.
    fn opened(&self, mut keys: Unsealed) -> Result<()> {
        self.ensure_ca(&mut keys)?;
        self.ensure_sealed_identity(&keys)?;
        *self.unsealed.write().unwrap_or_else(PoisonError::into_inner) = Some(keys);
        self.certify()?;
        self.resign_peers()?;
        self.resign_apt_keys()?;
        self.ensure_ssh_authority()?;
        self.planes_changed.send_modify(|v| *v += 1);
        Ok(())
    }

    pub fn seed_url(&self) -> String {
        pxe::script::SeedUrl(self.http).to_string()
    }

    /// The set-up code for the first administrator, unless one was created in the meantime (`seedd admin set`).
    pub fn setup_code(&self) -> Option<String> {
        let mut code = self.setup_code.lock().unwrap_or_else(PoisonError::into_inner);
        if code.is_some() && self.store.read(|tx| tx.has_admin()).unwrap_or(false) {
            *code = None;
        }
        code.clone()
    }

    pub fn is_sealed(&self) -> bool {
        self.unsealed.read().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Runs `work` with the private keys; fails if the seed is sealed.
    pub fn with_keys<T>(&self, work: impl FnOnce(&Unsealed) -> Result<T, ApiError>) -> Result<T, ApiError> {
        let guard = self.unsealed.read().unwrap_or_else(PoisonError::into_inner);
        guard.as_ref().map_or(Err(ApiError::Sealed), work)
    }

    /// Opens the private keys; `who` is for the log.
    pub fn unseal_with(&self, passphrase: &str, who: &str) -> Result<()> {
        let keys = self.site.keys().unseal(passphrase)?;
        self.say(&NewEvent { actor: Some(who), ..NewEvent::new(EventKind::SeedUnsealed, "the seed was unsealed") });
        self.opened(keys)
    }

    /// Writes within a transaction and wakes the live pages after its commit.
    pub fn write<T>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, ApiError>) -> Result<T, ApiError> {
        self.write_quietly(|tx| {
            self.store.touch();
            work(tx)
        })
    }

    /// The same for what each node writes every few seconds: see [`Store::write_quietly`].
    fn write_quietly<T>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, ApiError>) -> Result<T, ApiError> {
        self.store.write_quietly(|tx| with_newest(tx, work)).map(|done| self.woken(done))
    }

    /// The same without waiting for the disk: see [`Store::write_often`].
    fn write_often<T>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, ApiError>) -> Result<T, ApiError> {
        self.store.write_often(|tx| with_newest(tx, work)).map(|done| self.woken(done))
    }

    /// Wakes the live pages if there is a newer event.
    fn woken<T>(&self, (value, newest): (T, i64)) -> T {
        self.newest.send_if_modified(|held| std::mem::replace(held, newest) < newest);
        value
    }

    /// Writes one event; a failure is logged and does not stop the action that it describes.
    pub fn say(&self, event: &NewEvent<'_>) {
        if let Err(error) = self.write(|tx| Ok(tx.event(now_ms(), event)?)) {
            tracing::error!(%error, kind = %event.kind, "writing an event");
        }
    }

    /// The artifact built for a role and an architecture, checked against its signature.
    pub fn artifact_of(&self, role: &str, arch: Arch) -> Result<Option<ArtifactManifest>> {
        artifacts::of_role(&self.site, &self.store, &arch.artifact_name(role), &self.site_key)
    }
}

/// What a transaction did, and the number of the newest event.
fn with_newest<T>(tx: &Tx<'_>, work: impl FnOnce(&Tx<'_>) -> Result<T, ApiError>) -> Result<(T, i64), ApiError> {
    Ok((work(tx)?, tx.last_event()?))
}

/// An unexpected failure, with the full chain of causes for the log.
pub fn unexpected(e: impl Into<anyhow::Error>) -> ApiError {
    ApiError::Internal(format!("{:#}", e.into()))
}

/// Maps an error for the web interface: with a hint, the operator can act on it; without one, it only goes to the log.
pub fn for_page(error: anyhow::Error) -> ApiError {
    let error = match error.downcast::<ApiError>() {
        Ok(e) => return e,
        Err(e) => e,
    };
    let full = error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::StorageFull);
    match hint::of(&error) {
        Some(hint) => ApiError::conflict(format!("{error:#}"), &hint),
        None if full => ApiError::conflict("the seed's disk is full", "delete a capsule"),
        None => unexpected(error),
    }
}
