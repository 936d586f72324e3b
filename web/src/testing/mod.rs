//! A small site in memory: the second implementation of both APIs, for the tests and for `examples/mock.rs`.

pub mod charts;
#[cfg(test)]
pub mod client;
pub mod converge;
mod countersign;
pub mod data;
pub mod desk;
mod inventory;
pub mod join_tokens;
mod machine;
pub mod machines;
pub mod mesh;
mod operator;
pub mod outputs;
pub mod people;
pub mod plan;
mod planes;
mod site;
mod suggestion;
pub mod webhooks;

#[cfg(test)]
pub use site::{HERE, WHOLE};

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::{Digest, EnrollmentId};
use tokio::sync::watch;

use crate::api::{ApiError, EnrollmentView, EventView, MachineDetail, Overview, SiteView};

/// A session that exists from the start.
pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";
pub const PASSWORD: &str = "correct horse";
pub const SETUP_CODE: &str = "one-time";
pub const METRICS_TOKEN: &str = "metrics-of-the-mock";
pub const CODE: &str = "12-345-678";

pub struct State {
    pub overview: Overview,
    pub site: SiteView,
    pub sessions: Vec<String>,
    pub machines: Vec<MachineDetail>,
    pub events: Vec<EventView>,
    /// Place and labels of machines.
    pub notes: BTreeMap<i64, (String, Vec<String>)>,
    /// Keys that may log in to nodes.
    pub ssh_keys: usize,
    /// The manifest of `registry.k8s.io/pause`, in `oci/` as every blob.
    pub image: Option<Digest>,
    /// Every call fails with [`ApiError::Internal`].
    pub broken: bool,
    /// Addresses that calls came from.
    pub callers: Vec<IpAddr>,
    /// Calls that change something, by name, whether they succeeded or not.
    pub changes: Vec<&'static str>,
}

/// Files are in `dir`: `boot/<name>`, `snapshot/`, `chunks/<digest>`, `manifest.json`.
pub struct Mock {
    dir: Utf8PathBuf,
    spice: String,
    state: Mutex<State>,
    newest: watch::Sender<i64>,
}

impl Mock {
    /// `spice` is appended to every text from outside.
    pub fn new(dir: &Utf8Path, spice: &str) -> Self {
        let machines = data::machines(spice);
        let events = data::events(spice);
        let newest = events.last().map_or(0, |e| e.id);
        let state = State {
            overview: data::overview(spice),
            site: site::view(spice),
            sessions: vec![TOKEN.into()],
            machines,
            events,
            notes: BTreeMap::from([(2, (format!("hall 2{spice}"), vec![format!("rack=r7{spice}")]))]),
            ssh_keys: 1,
            image: None,
            broken: false,
            callers: Vec::new(),
            changes: Vec::new(),
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

    fn note(&self, change: &'static str) {
        self.state().changes.push(change);
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
