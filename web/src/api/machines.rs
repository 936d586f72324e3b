//! The list of machines and nodes, what is done to many of them, and the first page.

use std::collections::BTreeMap;

use cluster_seed::fleet::{Label, Query, Stage};
use serde::Serialize;

use super::error::ApiError;
use super::fleet::{MachineRow, Waiting};
use super::flight::EventView;
use super::people::Actor;
use super::site::JobView;

/// HTTP shape of one machine in a list that was searched, sorted or paged.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct FleetRow {
    #[serde(flatten)]
    pub row: MachineRow,
    #[cfg_attr(test, schemars(with = "crate::schema::Stage"))]
    pub stage: Stage,
    /// Name, or else serial number, or else MAC address.
    pub title: String,
    /// Empty if the machine has none, or has not reported it.
    pub serial: String,
    /// As an operator noted it.
    pub place: String,
    pub labels: Vec<String>,
}

/// HTTP shape of `GET /api/v1/machines` with any of the parameters `q`, `state`, `sort` and `page`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MachinePage {
    pub machines: Vec<FleetRow>,
    /// Machines on all pages.
    pub total: u32,
    /// From 1.
    pub page: u32,
    pub pages: u32,
    /// How many of each stage the search finds, whatever `state` says; only stages that occur.
    #[cfg_attr(test, schemars(with = "BTreeMap<String, u32>"))]
    pub counts: BTreeMap<Stage, u32>,
}

/// A machine that waits for approval, as the form for many shows it.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub machine: i64,
    pub title: String,
    pub place: String,
    pub mac: String,
    pub waiting: Waiting,
}

/// A machine by name, and a time in Unix seconds.
#[derive(Debug, Clone)]
pub struct NamedMachine {
    pub id: i64,
    pub name: String,
    pub at: u64,
}

/// An event, with the name of its machine.
#[derive(Debug, Clone)]
pub struct Happening {
    pub event: EventView,
    pub name: Option<String>,
}

/// What the first page shows.
#[derive(Debug, Clone, Default)]
pub struct HomeView {
    /// Those that wait are without the ones that were set aside.
    pub counts: BTreeMap<Stage, u32>,
    /// Machines that would wait, but were set aside.
    pub aside: u32,
    /// The machine that waits longest.
    pub oldest: Option<NamedMachine>,
    /// Reasons of failures and how many machines have each, the most frequent first.
    pub failures: Vec<(String, u32)>,
    /// Some of the silent nodes, those silent longest first, with the time of the last message.
    pub silent: Vec<NamedMachine>,
    /// When the newest capsule was exported, in Unix seconds.
    pub capsule: Option<u64>,
    /// Names of some nodes whose certificates end within a month, and how many there are.
    pub ending: (Vec<String>, u32),
    /// Keys that may log in to nodes as root.
    pub ssh_keys: usize,
    /// The boot network has a netboot image to serve.
    pub netboot: bool,
    pub job: Option<JobView>,
    /// Newest first.
    pub events: Vec<Happening>,
}

/// The list, and what is done to many of its machines.
pub trait MachinesApi {
    fn machine_page(&self, query: &Query) -> Result<MachinePage, ApiError>;
    /// These machines, in this order; unknown ones are left out.
    fn machines_of(&self, ids: &[i64]) -> Result<Vec<FleetRow>, ApiError>;
    /// Those of these machines that wait for approval, or those that wait longest if `ids` is empty.
    fn candidates(&self, ids: &[i64]) -> Result<Vec<Candidate>, ApiError>;
    /// A free host name for each of these machines, without domain; see [`cluster_seed::fleet::suggest`]. Refused if the pattern has
    /// too few.
    fn suggest_names(&self, pattern: &str, machines: &[Candidate]) -> Result<Vec<String>, ApiError>;
    /// Adds and removes labels; all machines or none.
    fn set_labels(&self, actor: &Actor, ids: &[i64], add: &[Label], remove: &[Label]) -> Result<(), ApiError>;
    /// Notes where a machine is mounted; empty for nowhere.
    fn set_machine_place(&self, actor: &Actor, id: i64, place: &str) -> Result<(), ApiError>;
    fn home(&self, actor: &Actor) -> Result<HomeView, ApiError>;

    /// Sets the place and the whole list of labels of one machine. What is the same already is not recorded again.
    fn set_note(&self, actor: &Actor, id: i64, place: &str, wanted: &[Label]) -> Result<(), ApiError> {
        let place = cluster_seed::fleet::place(place).map_err(|e| ApiError::bad(e.to_string(), "shorten it"))?;
        let row = self.machines_of(&[id])?.pop().ok_or(ApiError::NotFound { what: "machine" })?;
        let held: Vec<Label> = row.labels.iter().filter_map(|l| l.parse().ok()).collect();
        let add: Vec<Label> = wanted.iter().filter(|l| !held.contains(l)).cloned().collect();
        let remove: Vec<Label> = held.into_iter().filter(|l| !wanted.contains(l)).collect();
        if !add.is_empty() || !remove.is_empty() {
            self.set_labels(actor, &[id], &add, &remove)?;
        }
        if place == row.place { Ok(()) } else { self.set_machine_place(actor, id, &place) }
    }
}
