//! Reports of a machine that has its identity; they advance its enrollment.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use cluster_seed::agent::{GateCheck, Report, ReportBody, ReportReply};
use cluster_seed::cluster::CONTROL_PLANE;
use cluster_seed::converge::role::resolve;
use cluster_seed::enrollment::{EnrollmentEvent, EnrollmentState};
use cluster_seed::events::EventKind;
use cluster_seed::ids::EnrollmentId;
use cluster_seed::machine::tame;
use cluster_seed::seal::Sealed;
use cluster_seed::trouble::Trouble;
use host::clock::{now, now_ms, steady};
use site::store::Tx;
use site::store::enrollments::EnrollmentRecord;
use web::api::ApiError;

use super::App;
use super::records::{endpoint_of, event_of, node_key};

/// How long the seed tries to reach a node's SSH over the control plane.
const SSH_TIMEOUT: Duration = Duration::from_secs(5);
const SSH_PORT: u16 = 22;
/// Step, in percent, at which progress is recorded in the event log.
const PROGRESS_STEP: u64 = 5;
/// Most gate checks of one report that are processed.
const MAX_CHECKS: usize = 64;

impl App {
    pub fn take_report(&self, from: IpAddr, id: EnrollmentId, report: &Sealed<Report>) -> Result<ReportReply, ApiError> {
        let record = self.store.read(|tx| tx.enrollment(id))?;
        let forged = || ApiError::Forbidden { why: "the report is not signed by this enrollment's node key".to_owned() };
        let report = report.open(&node_key(&record)?).map_err(|_| forged())?;
        if report.enrollment != id {
            return Err(forged());
        }
        if report.seq <= record.last_seq {
            return Ok(ReportReply { state: record.state, fresh: false });
        }
        must_be_member(&record)?;
        self.may_say(id)?;
        // Before the transaction: a connection may take seconds.
        let ssh = match &report.body {
            ReportBody::Gate { checks } if all_passed(checks) => Some(self.reach_ssh(id)?),
            _ => None,
        };
        let (state, fresh, moved) = self.write(|tx| {
            self.may_issue(tx)?;
            let record = tx.enrollment(id)?;
            must_be_member(&record)?;
            if !tx.take_seq(id, report.seq, from, now())? {
                return Ok((record.state, false, false));
            }
            tx.touch_machine(record.machine, now())?;
            let state = self.act(tx, &record, &report.body, ssh.as_ref())?;
            let moved = self.follow_address(tx, &record, from)?;
            Ok((state, true, moved || state == EnrollmentState::Failed))
        })?;
        if moved {
            self.resign_peers().map_err(super::unexpected)?;
        }
        Ok(ReportReply { state, fresh })
    }

    /// Counts a new message of a node that becomes an event: one that was taken over shall not push everything else out of the log within
    /// minutes. After its signature and its number were checked: who repeats an old message takes nothing from the node.
    pub(super) fn may_say(&self, id: EnrollmentId) -> Result<(), ApiError> {
        self.said.take(id, steady()).map_err(|seconds| ApiError::TooMany { seconds })
    }

    /// Updates the endpoint of a node that reports from a new address.
    fn follow_address(&self, tx: &Tx<'_>, record: &EnrollmentRecord, from: IpAddr) -> Result<bool, ApiError> {
        let (Some(node), Some(ip)) = (tx.node_of(record.id)?, endpoint_of(from)) else { return Ok(false) };
        let underlay = self.spec.spec.networking.underlay.subnet;
        if node.revoked || !underlay.contains(&ip) {
            return Ok(false);
        }
        Ok(tx.set_endpoint(node.id, ip)?)
    }

    fn act(
        &self,
        tx: &Tx<'_>,
        record: &EnrollmentRecord,
        body: &ReportBody,
        ssh: Option<&GateCheck>,
    ) -> Result<EnrollmentState, ApiError> {
        let say = |kind: EventKind, text: &str| tx.event(now_ms(), &event_of(record, kind, text, None));
        // An event that does not fit the state (a play that runs again after a reboot) is recorded without a transition.
        let advance = |event: EnrollmentEvent, reason: Option<&str>| match record.state.after(event) {
            Ok(_) => tx.advance(record, event, reason, now()),
            Err(_) => Ok(record.state),
        };
        let state = match body {
            ReportBody::InstallBegan { artifact, disk, total } => {
                may_install(record)?;
                tx.drop_issued(record.id)?;
                tx.set_progress(record.id, 0, *total, 0)?;
                let written = format!("writing artifact {} to {}, {total} bytes", artifact.short(), tame(disk));
                say(EventKind::InstallBegan, if in_place(record) { "joining in place: no disk is written" } else { &written })?;
                advance(EnrollmentEvent::InstallBegan, None)?
            }
            ReportBody::InstallProgress { written, total, rate } => {
                self.note_progress(tx, record, *written, *total, *rate)?;
                record.state
            }
            ReportBody::InstallDone { seconds } => {
                tx.set_progress(record.id, record.total, record.total, record.rate)?;
                say(EventKind::InstallDone, &installed(record, *seconds))?;
                advance(EnrollmentEvent::InstallDone, None)?
            }
            ReportBody::Booted { kernel, .. } => {
                say(EventKind::NodeBooted, &format!("the installed system is running, kernel {}", tame(kernel)))?;
                record.state
            }
            ReportBody::Gate { checks } => {
                if self.note_gate(tx, record, checks, ssh)? {
                    say(EventKind::FabricReady, "fabric gate passed")?;
                    advance(EnrollmentEvent::GatePassed, None)?
                } else {
                    record.state
                }
            }
            ReportBody::ApplyProgress { step } => {
                let detail = if step.detail.is_empty() { String::new() } else { format!(" ({})", tame(&step.detail)) };
                say(EventKind::ApplyStep, &format!("{}: {}{detail}", tame(&step.name), step.result.as_str()))?;
                record.state
            }
            ReportBody::ApplyDone { changed, ok } => self.base_done(tx, record, *changed, *ok)?,
            ReportBody::Failed { step, why, cause } => {
                let reason = format!("{}: {}", tame(step), tame(why));
                say(EventKind::EnrollmentFailed, &reason)?;
                // An installed node retries by itself; only a failed installation ends the enrollment.
                if record.state.boots_from_disk() {
                    record.state
                } else {
                    self.retire(tx, record)?;
                    tx.set_trouble(record.id, cause.unwrap_or(Trouble::Other))?;
                    advance(EnrollmentEvent::Failed, Some(&reason))?
                }
            }
        };
        Ok(state)
    }

    /// The base role is applied: a node without plays has converged.
    fn base_done(&self, tx: &Tx<'_>, record: &EnrollmentRecord, changed: u32, ok: u32) -> Result<EnrollmentState, ApiError> {
        let say = |kind: EventKind, text: &str| tx.event(now_ms(), &event_of(record, kind, text, None));
        say(EventKind::ApplyDone, &format!("base role applied: {ok} ok, {changed} changed"))?;
        if self.has_plays(tx, record)? || record.state.after(EnrollmentEvent::ApplyDone).is_err() {
            return Ok(record.state);
        }
        let state = tx.advance(record, EnrollmentEvent::ApplyDone, None, now())?;
        if state != record.state {
            say(EventKind::NodeConverged, "converged: the node's configuration matches its role")?;
        }
        Ok(state)
    }

    /// Whether the node's role has plays: then it has converged once these have run.
    fn has_plays(&self, tx: &Tx<'_>, record: &EnrollmentRecord) -> Result<bool, ApiError> {
        let role = tx.node_of(record.id)?.and_then(|node| resolve(&self.spec.spec.roles, &node.role));
        Ok(role.is_some_and(|role| !role.plays.is_empty()))
    }

    fn note_progress(&self, tx: &Tx<'_>, record: &EnrollmentRecord, written: u64, total: u64, rate: u64) -> Result<(), ApiError> {
        let written = written.min(total);
        tx.set_progress(record.id, written, total, rate)?;
        let percent = |n: u64| (u128::from(n) * 100 / u128::from(total.max(1))) as u64;
        if percent(written) / PROGRESS_STEP > percent(record.written) / PROGRESS_STEP {
            let text = format!("{} % written, {:.1} MB/s", percent(written), rate as f64 / 1e6);
            tx.event(now_ms(), &event_of(record, EventKind::InstallProgress, &text, None))?;
        }
        Ok(())
    }

    /// Records all checks, including the seed's own, in one row; true if all of them passed.
    fn note_gate(
        &self,
        tx: &Tx<'_>,
        record: &EnrollmentRecord,
        checks: &[GateCheck],
        ssh: Option<&GateCheck>,
    ) -> Result<bool, ApiError> {
        let all: Vec<_> = checks.iter().take(MAX_CHECKS).chain(ssh).collect();
        let failed: Vec<_> = all.iter().filter(|c| !c.ok).map(|c| format!("{} ({})", tame(&c.name), tame(&c.detail))).collect();
        let (kind, text) = match failed.len() {
            0 => (EventKind::GateCheck, format!("all {} checks passed", all.len())),
            n => (EventKind::GateCheckFailed, format!("{n} of {} checks failed: {}", all.len(), failed.join("; "))),
        };
        tx.event(now_ms(), &event_of(record, kind, &text, None))?;
        Ok(all_passed(checks) && ssh.is_some_and(|s| s.ok))
    }

    /// The seed's own check: whether the node's SSH server answers over the control plane.
    fn reach_ssh(&self, id: EnrollmentId) -> Result<GateCheck, ApiError> {
        let node = self.store.read(|tx| tx.node_of(id))?;
        let address = node.and_then(|n| n.planes.get(CONTROL_PLANE).map(|(ip, _)| *ip));
        let name = format!("ssh over {CONTROL_PLANE} from the seed");
        Ok(match address.map(ssh_banner) {
            Some(Ok(banner)) => GateCheck { name, ok: true, detail: banner },
            Some(Err(e)) => GateCheck { name, ok: false, detail: e.to_string() },
            None => GateCheck { name, ok: false, detail: "the node has no address on this plane".to_owned() },
        })
    }
}

/// Whether the machine runs from its disk already.
fn in_place(record: &EnrollmentRecord) -> bool {
    record.revealed.as_ref().is_some_and(|r| r.facts.root_disk.is_some())
}

fn installed(record: &EnrollmentRecord, seconds: u64) -> String {
    match in_place(record) {
        true => "joined in place: the identity is stored".to_owned(),
        false => format!("all chunks verified and written in {seconds} s; restarting from disk"),
    }
}

/// Refuses reports of a machine that was not approved or was revoked.
fn must_be_member(record: &EnrollmentRecord) -> Result<(), ApiError> {
    if record.state.is_member() {
        return Ok(());
    }
    Err(ApiError::conflict(format!("this enrollment is {}; only nodes can send reports", record.state.as_str()), ""))
}

/// The agent erases nothing before its report is accepted: a machine that was revoked in the meantime keeps its disk.
fn may_install(record: &EnrollmentRecord) -> Result<(), ApiError> {
    if matches!(record.state, EnrollmentState::Issued | EnrollmentState::Installing) {
        return Ok(());
    }
    let why = format!("this enrollment is {}; installation is not allowed", record.state.as_str());
    Err(ApiError::Conflict { why, hint: None })
}

fn all_passed(checks: &[GateCheck]) -> bool {
    !checks.is_empty() && checks.len() <= MAX_CHECKS && checks.iter().all(|c| c.ok)
}

/// Reads the identification line (RFC 4253 section 4.2) of the SSH server at `ip`.
fn ssh_banner(ip: Ipv4Addr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((ip, SSH_PORT)), SSH_TIMEOUT)?;
    stream.set_read_timeout(Some(SSH_TIMEOUT))?;
    let mut line = [0u8; 64];
    let n = stream.read(&mut line)?;
    let text = String::from_utf8_lossy(&line[..n]).into_owned();
    if text.starts_with("SSH-2.0-") { Ok(tame(&text)) } else { Err(std::io::Error::other("no SSH banner")) }
}
