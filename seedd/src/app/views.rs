//! Converts database rows to the types of the web interface and the API.

use std::collections::BTreeMap;

use anyhow::Result;
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::fleet::Stage;
use cluster_seed::ids::{EnrollmentId, Mac};
use cluster_seed::pairing::Number;
use cluster_seed::trouble::Trouble;
use host::clock::now;
use site::mode::Mode;
use site::store::Tx;
use site::store::enrollments::EnrollmentRecord;
use site::store::events::{self, EventRow};
use site::store::machines::MachineRecord;
use site::verdicts::Verdict;
use web::api::{
    ApiError, EnrollmentView, EventView, Finding, InstallProgress, MachineDetail, MachineRow, Overview, PacketFacts, RoleView,
    Tone, TroubleView, VotersView, Waiting,
};

use super::lists_view::Standing;
use super::{App, verdict_view};
use crate::clock;
use crate::planning::Planner;

/// Newest events shown on a machine's page.
pub const TIMELINE: u32 = 500;

impl App {
    pub fn view_overview(&self) -> Result<Overview, ApiError> {
        let lasting = self.lasting.get().cloned().unwrap_or_default();
        let mut warnings = lasting.clone();
        let roles = self.view_roles(&mut warnings);
        let mode = self.mode()?;
        match mode {
            Mode::Active => {}
            Mode::Standby => warnings.push(
                "this seed is a standby: until it is promoted (`seedd promote`), it serves only the web interface".to_owned(),
            ),
            Mode::Fenced { epoch } => warnings.push(format!(
                "another seed of this site was promoted to epoch {epoch}: this one is fenced and serves only the web interface"
            )),
        }
        let sealed = self.is_sealed();
        let (snapshot, netboot, standing, alarms, waiting) = self.store.read(|tx| {
            Ok::<_, ApiError>((
                tx.snapshot()?,
                tx.netboot()?,
                self.standing(tx)?,
                self.list_alarms(tx)?,
                self.countersign_warnings(tx)?,
            ))
        })?;
        warnings.extend(alarms);
        warnings.extend(standing.warnings(&self.seed_name));
        warnings.extend(waiting);
        if snapshot.is_none() {
            warnings.push("there is no darksite snapshot: run `seedd darksite build`".to_owned());
        }
        if netboot.is_none() {
            warnings.push("there is no netboot image, so no machine can start the agent: run `seedd image build`".to_owned());
        }
        if self.is_short_of_space() {
            let hint = "delete unused data with `seedd darksite gc --yes`";
            warnings
                .push(format!("the disk is nearly full: new machines cannot enroll, and their events are not recorded; {hint}"));
        }
        warnings.extend(clock::doubt(now(), self.snapshot_date()));
        let (waiting, aside) = self.count_waiting()?;
        Ok(Overview {
            site: self.spec.metadata.name.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            setup_needed: self.setup_code().is_some(),
            sealed,
            mode: super::mode::shown(mode),
            epoch: self.store.read(|tx| self.epoch(tx))?,
            snapshot,
            proof: snapshot.map(|id| self.proof_of(id)),
            roles,
            clock: now(),
            fingerprint: self.fingerprint(),
            warnings,
            lasting,
            lists: standing.lists,
            waiting,
            aside,
        })
    }

    /// How many machines wait for an operator, and how many were set aside.
    fn count_waiting(&self) -> Result<(u32, u32), ApiError> {
        self.store.read(|tx| {
            let aside = verdict_view::number(&verdict_view::aside(tx)?);
            let all = tx.fleet_counts(&[])?.iter().find(|(s, _)| *s == Stage::Waiting).map_or(0, |(_, n)| *n);
            Ok((all.saturating_sub(aside), aside))
        })
    }

    /// The roles; what is wrong with their artifacts is added to the warnings.
    fn view_roles(&self, warnings: &mut Vec<String>) -> Vec<RoleView> {
        let mut roles = Vec::new();
        for (name, role) in &self.spec.spec.roles {
            let mut artifact = None;
            for arch in &self.spec.spec.architectures {
                let of = if arch.is_amd64() { String::new() } else { format!(" for {arch}") };
                match self.artifact_of(name, *arch) {
                    Ok(Some(found)) if arch.is_amd64() => artifact = Some(found),
                    Ok(Some(_)) => {}
                    Ok(None) => warnings.push(format!("role {name} has no artifact{of}: run `seedd image build`")),
                    Err(error) => warnings.push(format!("role {name}: its artifact{of} cannot be used ({error:#})")),
                }
            }
            roles.push(RoleView {
                name: name.clone(),
                description: role.description.clone(),
                artifact: artifact.as_ref().map(|a| a.id),
                min_disk: artifact.as_ref().map(|a| a.min_disk),
                disk: role.disk,
            });
        }
        roles
    }

    pub fn view_machines(&self) -> Result<Vec<MachineRow>, ApiError> {
        self.store.read(|tx| {
            let (machines, standing) = (tx.machines()?, self.standing(tx)?);
            self.machine_rows(tx, machines, &standing)
        })
    }

    /// The machines that were seen last, most recently seen first.
    pub(super) fn view_recent_machines(&self, limit: u32) -> Result<Vec<MachineRow>, ApiError> {
        self.store.read(|tx| {
            let machines = tx.recent_machines(limit.into())?;
            let members: Vec<_> = machines.iter().map(|m| tx.member_of(m.id)).collect::<Result<_, _>>()?;
            let members: Vec<_> = members.into_iter().flatten().map(|r| (r.id, r.state)).collect();
            let standing = self.standing_of(tx, &members)?;
            self.machine_rows(tx, machines, &standing)
        })
    }

    fn machine_rows(&self, tx: &Tx<'_>, machines: Vec<MachineRecord>, standing: &Standing) -> Result<Vec<MachineRow>, ApiError> {
        let said = verdict_view::of_all(tx)?;
        machines.into_iter().map(|m| Ok(self.with_seal(row(tx, m, standing, &said)?.0))).collect()
    }

    pub fn view_machine(&self, id: i64) -> Result<MachineDetail, ApiError> {
        let held = self.held_plan()?;
        let planner = held.planner(self);
        let (row, earlier, waiting, facts, timeline, voters, note) = self.store.read(|tx| {
            let machine = tx.machine(id)?;
            let known = machine.facts.clone();
            let member = tx.member_of(id)?;
            let node = member.as_ref().map(|m| tx.node_of(m.id)).transpose()?.flatten();
            let voters = match node {
                Some(node) => self.scene(tx)?.voters_without(&node.hostname),
                None => None,
            };
            let facts = member.and_then(|m| m.revealed).map(|r| r.facts).or(known);
            let waiting = waiting(tx, &machine, &planner)?;
            let (row, earlier) = row(tx, machine, &self.standing(tx)?, &verdict_view::of_all(tx)?)?;
            let timeline = tx.timeline(id, TIMELINE)?;
            Ok::<_, ApiError>((row, earlier, waiting, facts, timeline, voters, tx.note_of(id)?))
        })?;
        let packets = self.flight.ring.count(row.mac);
        let diagnosis = self.diagnosis_of(&timeline);
        Ok(MachineDetail {
            row: self.with_seal(row),
            facts,
            waiting,
            earlier,
            timeline: timeline.into_iter().map(event).collect(),
            diagnosis: diagnosis.into_iter().map(finding).collect(),
            packets,
            voters: voters.map(|v| VotersView { healthy: v.healthy, all: v.all, majority: v.majority() }),
            place: note.place,
            labels: note.labels,
        })
    }

    /// A machine that confirmed its code waits until the seed is unsealed, and goes on by itself.
    fn with_seal(&self, mut row: MachineRow) -> MachineRow {
        let sealed = self.is_sealed();
        if let Some(e) = row.enrollment.as_mut().filter(|e| sealed && e.state == EnrollmentState::Confirming) {
            e.trouble = Some(TroubleView::from(Trouble::Sealed));
            e.reason = Some("the seed is sealed".to_owned());
        }
        row
    }

    pub fn view_of(&self, id: EnrollmentId) -> Result<EnrollmentView, ApiError> {
        self.store.read(|tx| {
            let record = tx.enrollment(id)?;
            view(tx, &record)
        })
    }
}

/// An event of the log as the API shows it.
pub fn event(row: EventRow) -> EventView {
    let EventRow { id, at, kind, text, machine, actor, facts } = row;
    EventView { id, at, kind, text, machine, actor, facts: facts.map(shown_facts) }
}

fn shown_facts(f: events::PacketFacts) -> PacketFacts {
    PacketFacts {
        iface: f.iface,
        xid: f.xid,
        arch: f.arch,
        ipxe: f.ipxe,
        ip: f.ip,
        server: f.server,
        file: f.file,
        bytes: f.bytes,
        why: f.why,
        cause: f.cause,
        vendor_class: f.vendor_class,
        hostname: f.hostname,
        uuid: f.uuid,
        repeats: f.repeats,
    }
}

fn finding(f: ::flight::diagnosis::Finding) -> Finding {
    use ::flight::diagnosis::Tone as T;
    let tone = match f.tone {
        T::Good => Tone::Good,
        T::Wait => Tone::Wait,
        T::Bad => Tone::Bad,
    };
    Finding { rule: f.rule, tone, what: f.what, advice: f.advice }
}

/// A machine in the list: as a node if it is one, whatever other enrollments were opened under its MAC address; otherwise by
/// its newest enrollment.
fn row(
    tx: &Tx<'_>,
    machine: MachineRecord,
    standing: &Standing,
    said: &BTreeMap<Mac, Verdict>,
) -> Result<(MachineRow, Vec<EnrollmentView>), ApiError> {
    let member = tx.member_of(machine.id)?;
    let mut earlier = Vec::new();
    let mut polled = 0;
    for record in tx.enrollments_of(machine.id)? {
        polled = standing.polled(record.id).max(polled);
        if member.as_ref().is_none_or(|m| m.id != record.id) {
            earlier.push(view(tx, &record)?);
        }
    }
    let enrollment = match &member {
        Some(record) => Some(view(tx, record)?),
        None => (!earlier.is_empty()).then(|| earlier.remove(0)),
    };
    let known = member.as_ref().and_then(|m| m.revealed.as_ref()).map(|r| &r.facts).or(machine.facts.as_ref());
    let model = known.map(|f| format!("{} {}", f.vendor, f.product).trim().to_owned()).unwrap_or_default();
    let list = member.as_ref().and_then(|m| standing.of(m.id));
    let row = MachineRow {
        id: machine.id,
        mac: machine.mac,
        ip: member.as_ref().map_or(machine.ip, |m| Some(m.ip)),
        model,
        first_seen: machine.first_seen,
        last_seen: member.as_ref().map_or(machine.last_seen.max(polled), |m| m.touched.max(list.map_or(0, |(_, at)| at))),
        enrollment,
        list: list.map(|(view, _)| view),
        verdict: said.get(&machine.mac).map(|v| verdict_view::view(machine.mac, v.clone(), Some(machine.id))),
    };
    Ok((row, earlier))
}

/// The enrollments of a machine that are waiting for a decision, newest first.
fn waiting(tx: &Tx<'_>, machine: &MachineRecord, planner: &Planner<'_>) -> Result<Vec<Waiting>, ApiError> {
    let mut all = Vec::new();
    for record in tx.enrollments_of(machine.id)? {
        let open = !record.state.is_member() && !record.state.is_final();
        if let (true, Some(revealed)) = (open, &record.revealed) {
            let suggestion = planner.suggestion(tx, &record, machine.mac)?;
            all.push(Waiting { enrollment: view(tx, &record)?, ip: record.ip, facts: revealed.facts.clone(), suggestion });
        }
    }
    Ok(all)
}

pub(super) fn view(tx: &Tx<'_>, record: &EnrollmentRecord) -> Result<EnrollmentView, ApiError> {
    let node = tx.node_of(record.id)?;
    // Before there is a node: the name and role from the decision.
    let decided = record.decision.as_ref().filter(|_| record.state == EnrollmentState::Confirming);
    let hostname = node.as_ref().map(|n| &n.hostname).or(decided.map(|d| &d.hostname));
    let role = node.as_ref().map(|n| &n.role).or(decided.map(|d| &d.role));
    let addresses = node.iter().flat_map(|n| n.planes.iter().map(|(p, (ip, _))| (p.clone(), ip.to_string()))).collect();
    Ok(EnrollmentView {
        id: record.id,
        state: record.state,
        since: record.since,
        number: record.number.filter(|_| record.state.is_open()).map(Number::get),
        hostname: hostname.map(|h| h.to_string()),
        role: role.cloned(),
        addresses,
        wrong_codes: record.wrong_codes,
        progress: (record.total > 0).then_some(InstallProgress {
            written: record.written,
            total: record.total,
            rate: record.rate,
        }),
        reason: record.reason.clone(),
        first_yes: super::first_yes::first_yes(record),
        trouble: record.trouble.map(TroubleView::from),
    })
}
