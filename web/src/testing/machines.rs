//! The list of the mock: searched in memory.

use std::collections::BTreeMap;

use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::fleet::{self, Field, Label, Named, PAGE, Query, Sort, Stage, Term};

use super::{Mock, State, data};
use crate::api::{
    Actor, ApiError, Candidate, EventView, FleetRow, Happening, HomeView, MachineDetail, MachinePage, MachinesApi, NamedMachine,
};

/// The node that is silent.
pub const SILENT: i64 = 7;

fn row(state: &State, m: &MachineDetail) -> FleetRow {
    let enrollment = m.row.enrollment.as_ref();
    let serial = m.facts.as_ref().map(|f| f.serial.clone()).unwrap_or_default();
    let mac = m.row.mac.to_string();
    let title = enrollment.and_then(|e| e.hostname.clone()).or(Some(serial.clone()).filter(|s| !s.is_empty())).unwrap_or(mac);
    let (place, labels) = state.notes.get(&m.row.id).cloned().unwrap_or_default();
    let stage = Stage::of(enrollment.map(|e| e.state), m.row.id == SILENT);
    FleetRow { row: m.row.clone(), stage, title, serial, place, labels }
}

fn matches(row: &FleetRow, term: &Term) -> bool {
    let role = row.row.enrollment.as_ref().and_then(|e| e.role.clone()).unwrap_or_default();
    let word = row.row.enrollment.as_ref().map_or("seen", |e| e.state.as_str()).to_ascii_lowercase();
    let has = |text: &str, value: &str| text.to_ascii_lowercase().contains(value);
    match term {
        Term::Word(w) => {
            let (mac, labels) = (row.row.mac.to_string(), row.labels.join(" "));
            [&row.title, &row.serial, &role, &row.row.model, &mac, &row.place, &labels].iter().any(|text| has(text, w))
        }
        Term::In(field, v) => match field {
            Field::Serial => has(&row.serial, v),
            Field::Name => row.row.enrollment.as_ref().and_then(|e| e.hostname.as_deref()).is_some_and(|n| has(n, v)),
            Field::Model => has(&row.row.model, v),
            Field::Place => has(&row.place, v),
            Field::Mac => row.row.mac.to_string().contains(v),
            Field::Ip => row.row.ip.is_some_and(|ip| ip.to_string().starts_with(v)),
            Field::Role => role.to_ascii_lowercase() == *v,
            Field::State => row.stage.as_str() == v || word == *v,
            Field::Label => row.labels.iter().any(|l| l.to_ascii_lowercase() == *v),
        },
    }
}

fn order(row: &FleetRow, sort: Sort) -> String {
    match sort {
        Sort::State => format!("{:?}", row.stage),
        Sort::Name => row.title.clone(),
        Sort::Role => row.row.enrollment.as_ref().and_then(|e| e.role.clone()).unwrap_or_default(),
        Sort::Model => row.row.model.clone(),
        Sort::Serial => row.serial.clone(),
        Sort::Address => format!("{:?}", row.row.ip),
        Sort::Place => row.place.clone(),
        Sort::Heard => format!("{:020}", row.row.last_seen),
    }
}

impl MachinesApi for Mock {
    fn machine_page(&self, query: &Query) -> Result<MachinePage, ApiError> {
        let state = self.open()?;
        let all = state.machines.iter().map(|m| row(&state, m));
        let mut found: Vec<FleetRow> = all.filter(|r| query.terms.iter().all(|t| matches(r, t))).collect();
        let mut counts = BTreeMap::new();
        found.iter().for_each(|r| *counts.entry(r.stage).or_default() += 1);
        found.retain(|r| query.stage.is_none_or(|s| s == r.stage));
        found.sort_by_key(|r| order(r, query.sort));
        if query.descending {
            found.reverse();
        }
        let total = u32::try_from(found.len()).unwrap_or(u32::MAX);
        let machines = found.into_iter().skip((query.page * PAGE) as usize).take(PAGE as usize).collect();
        Ok(MachinePage { machines, total, page: query.page + 1, pages: total.div_ceil(PAGE).max(1), counts })
    }

    fn machines_of(&self, ids: &[i64]) -> Result<Vec<FleetRow>, ApiError> {
        let state = self.open()?;
        let find = |id: &i64| state.machines.iter().find(|m| m.row.id == *id).map(|m| row(&state, m));
        Ok(ids.iter().filter_map(find).collect())
    }

    fn candidates(&self, ids: &[i64]) -> Result<Vec<Candidate>, ApiError> {
        let state = self.open()?;
        let mine = state.machines.iter().filter(|m| ids.is_empty() || ids.contains(&m.row.id));
        let found = mine.filter_map(|m| {
            let FleetRow { row, title, place, .. } = row(&state, m);
            let mut waiting = m.waiting.first()?.clone();
            waiting.enrollment = row.enrollment.filter(|e| e.state == EnrollmentState::Pending)?;
            Some(Candidate { machine: row.id, title, place, mac: row.mac.to_string(), waiting })
        });
        Ok(found.collect())
    }

    fn suggest_names(&self, pattern: &str, machines: &[Candidate]) -> Result<Vec<String>, ApiError> {
        let state = self.open()?;
        let named = |c: &Candidate| Named { serial: c.waiting.facts.serial.clone(), mac: c.mac.clone(), place: c.place.clone() };
        let named: Vec<Named> = machines.iter().map(named).collect();
        let taken = |name: &str| {
            let mut all = state.machines.iter().filter_map(|m| m.row.enrollment.as_ref()?.hostname.as_deref());
            all.any(|h| h.split('.').next() == Some(name))
        };
        fleet::suggest(pattern, &named, &taken).map_err(|e| ApiError::conflict(e.to_string(), "use another pattern"))
    }

    fn set_labels(&self, _: &Actor, ids: &[i64], add: &[Label], remove: &[Label]) -> Result<(), ApiError> {
        self.note("set_labels");
        let mut state = self.open()?;
        for id in ids {
            let labels = &mut state.notes.entry(*id).or_default().1;
            labels.extend(add.iter().map(|l| l.as_str().to_owned()));
            labels.retain(|l| !remove.iter().any(|r| r.as_str() == l));
        }
        Ok(())
    }

    fn set_machine_place(&self, _: &Actor, id: i64, place: &str) -> Result<(), ApiError> {
        self.note("set_machine_place");
        let place = fleet::place(place).map_err(|e| ApiError::bad(e.to_string(), ""))?;
        self.open()?.notes.entry(id).or_default().0 = place;
        Ok(())
    }

    fn home(&self, actor: &Actor) -> Result<HomeView, ApiError> {
        let state = self.open()?;
        let rows: Vec<FleetRow> = state.machines.iter().map(|m| row(&state, m)).collect();
        let mut counts = BTreeMap::new();
        rows.iter().for_each(|r| *counts.entry(r.stage).or_default() += 1);
        let of = |stage: Stage| rows.iter().filter(move |r| r.stage == stage);
        let named = |r: &FleetRow| NamedMachine { id: r.row.id, name: r.title.clone(), at: r.row.last_seen };
        let reasons = of(Stage::Failed).filter_map(|r| r.row.enrollment.as_ref()?.reason.clone());
        let happening = |e: &EventView| {
            let machine = state.machines.iter().find(|m| Some(m.row.id) == e.machine);
            Happening { event: e.clone(), name: machine.map(|m| row(&state, m).title) }
        };
        Ok(HomeView {
            aside: 1,
            oldest: of(Stage::Waiting).next().map(named),
            failures: reasons.map(|r| (r, 1)).collect(),
            silent: of(Stage::Silent).map(named).collect(),
            capsule: Some(data::CLOCK - 12 * 86_400),
            ending: (vec![format!("db-1.lab.lan{}", self.spice)], 1),
            ssh_keys: state.ssh_keys,
            netboot: true,
            job: state.site.job.clone(),
            events: state
                .events
                .iter()
                .rev()
                .filter(|e| e.kind.parse().is_ok_and(cluster_seed::events::EventKind::matters))
                .take(10)
                .filter(|e| actor.sees(e))
                .map(happening)
                .collect(),
            counts,
        })
    }
}
