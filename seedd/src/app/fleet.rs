//! The list of machines, and what is done to many of them.

use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::events::EventKind;
use cluster_seed::fleet::{self, Label, MAX_LABELS, Named, PAGE, Query, Stage};
use cluster_seed::people::Permission;
use host::clock::{now, now_ms};
use site::store::Tx;
use site::store::events::NewEvent;
use site::store::fleet::FleetRecord;
use web::api::{Actor, ApiError, Candidate, FleetRow, HomeView, MachinePage, MachineRow, MachinesApi, Waiting};

use super::api::Seed;
use super::lists_view::Standing;
use super::{App, verdict_view, views};
use crate::planning::Planner;

impl MachinesApi for Seed {
    fn machine_page(&self, query: &Query) -> Result<MachinePage, ApiError> {
        let app = &self.0;
        app.store.read(|tx| {
            let page = tx.fleet_page(query)?;
            Ok(MachinePage {
                machines: app.fleet_rows(tx, page.rows)?,
                total: page.total,
                page: query.page + 1,
                pages: page.total.div_ceil(PAGE).max(1),
                counts: page.counts.into_iter().collect(),
            })
        })
    }

    fn machines_of(&self, ids: &[i64]) -> Result<Vec<FleetRow>, ApiError> {
        self.0.store.read(|tx| self.0.fleet_rows(tx, tx.fleet_of(ids)?))
    }

    fn candidates(&self, ids: &[i64]) -> Result<Vec<Candidate>, ApiError> {
        let held = self.0.held_plan()?;
        let planner = held.planner(&self.0);
        self.0.store.read(|tx| {
            let rows: Vec<_> = match ids {
                [] => {
                    // One that was set aside waits, but not for an operator.
                    let aside = verdict_view::aside(tx)?;
                    let most = PAGE.saturating_add(verdict_view::number(&aside));
                    let oldest = tx.fleet_oldest(Stage::Waiting, most)?.into_iter().map(|(row, _)| row);
                    oldest.filter(|row| !aside.contains(&row.machine)).collect()
                }
                ids => tx.fleet_of(ids)?,
            };
            let waiting = rows.into_iter().filter(|r| r.state == Some(EnrollmentState::Pending));
            let found = waiting.map(|row| candidate(tx, row, &planner));
            found.filter_map(Result::transpose).collect()
        })
    }

    fn suggest_names(&self, pattern: &str, machines: &[Candidate]) -> Result<Vec<String>, ApiError> {
        let named = |c: &Candidate| Named { serial: c.waiting.facts.serial.clone(), mac: c.mac.clone(), place: c.place.clone() };
        let named: Vec<Named> = machines.iter().map(named).collect();
        self.0.store.read(|tx| {
            // A name that is no host name is not free either.
            let taken = |name: &str| match self.0.full_name(name) {
                Ok(full) => tx.live_node(&full).map_or(true, |node| node.is_some()),
                Err(_) => true,
            };
            fleet::suggest(pattern, &named, &taken)
                .map_err(|e| ApiError::conflict(e.to_string(), "use another pattern, or type the names"))
        })
    }

    fn set_labels(&self, actor: &Actor, ids: &[i64], add: &[Label], remove: &[Label]) -> Result<(), ApiError> {
        let actor = actor.must(Permission::Approve)?;
        let words = |labels: &[Label]| labels.iter().map(Label::as_str).collect::<Vec<_>>().join(", ");
        let changes = [("added", words(add)), ("removed", words(remove))];
        let changes = changes.iter().filter(|(_, labels)| !labels.is_empty());
        let changes = changes.map(|(what, labels)| format!("{what} {labels}")).collect::<Vec<_>>().join("; ");
        self.0.write(|tx| {
            for row in tx.fleet_of(ids)? {
                if !tx.set_labels(row.machine, add, remove)? {
                    let why = format!("{} would have more than {MAX_LABELS} labels", row.title);
                    return Err(ApiError::bad(why, "remove some of its labels first"));
                }
                noted(tx, actor, row.machine, &format!("labels: {changes}"))?;
            }
            Ok(())
        })
    }

    fn set_machine_place(&self, actor: &Actor, id: i64, place: &str) -> Result<(), ApiError> {
        let actor = actor.must(Permission::Approve)?;
        let place = fleet::place(place).map_err(|e| ApiError::bad(e.to_string(), ""))?;
        self.0.write(|tx| {
            tx.machine(id)?;
            tx.set_place(id, &place)?;
            let text = if place.is_empty() { "place removed".to_owned() } else { format!("place: {place}") };
            noted(tx, actor, id, &text)
        })
    }

    fn home(&self, actor: &Actor) -> Result<HomeView, ApiError> {
        actor.must(Permission::Read)?;
        let mut home = self.0.view_home()?;
        home.events.retain(|h| actor.sees(&h.event));
        Ok(home)
    }
}

fn noted(tx: &Tx<'_>, actor: &Actor, machine: i64, text: &str) -> Result<(), ApiError> {
    let new = NewEvent::new(EventKind::MachineLabelled, text);
    tx.event(now_ms(), &NewEvent { machine: Some(machine), actor: Some(&actor.user), ..new })?;
    Ok(())
}

/// `None` if it has not sent its facts.
fn candidate(tx: &Tx<'_>, row: FleetRecord, planner: &Planner<'_>) -> Result<Option<Candidate>, ApiError> {
    let Some(id) = row.enrollment else { return Ok(None) };
    let record = tx.enrollment(id)?;
    let enrollment = views::view(tx, &record)?;
    let suggestion = planner.suggestion(tx, &record, row.mac)?;
    let waiting = record.revealed.map(|r| Waiting { enrollment, ip: record.ip, facts: r.facts, suggestion });
    let FleetRecord { machine, title, place, mac, .. } = row;
    Ok(waiting.map(|waiting| Candidate { machine, title, place, mac: mac.to_string(), waiting }))
}

impl App {
    fn fleet_rows(&self, tx: &Tx<'_>, records: Vec<FleetRecord>) -> Result<Vec<FleetRow>, ApiError> {
        let members = records.iter().filter(|r| r.member).filter_map(|r| Some((r.enrollment?, r.state?)));
        let standing = self.standing_of(tx, &members.collect::<Vec<_>>())?;
        records.into_iter().map(|record| row(tx, record, &standing)).collect()
    }
}

fn row(tx: &Tx<'_>, record: FleetRecord, standing: &Standing) -> Result<FleetRow, ApiError> {
    let enrollment = match record.enrollment {
        Some(id) => Some(views::view(tx, &tx.enrollment(id)?)?),
        None => None,
    };
    let polled = record.enrollment.filter(|_| !record.member).map_or(0, |id| standing.polled(id));
    let list = record.enrollment.filter(|_| record.member).and_then(|id| standing.of(id)).map(|(view, _)| view);
    let verdict = site::verdicts::of(tx, record.mac, now())?;
    let row = MachineRow {
        id: record.machine,
        mac: record.mac,
        ip: record.ip,
        model: record.model,
        first_seen: tx.machine(record.machine)?.first_seen,
        last_seen: record.heard.max(polled),
        enrollment,
        list,
        verdict: verdict.map(|v| verdict_view::view(record.mac, v, Some(record.machine))),
    };
    let FleetRecord { stage, title, serial, place, labels, .. } = record;
    Ok(FleetRow { row, stage, title, serial, place, labels })
}
