//! `/machines/<id>`: a machine, its events, and the decision about it.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use cluster_seed::ids::EnrollmentId;
use cluster_seed::machine::{Firmware, HardwareFacts};
use serde::Deserialize;

use super::decision::{ApproveForm, Decision, decide, disk_notes};
use super::plan::VerdictLine;
use super::shell::{Refusal, Shell, overview, page};
use super::view::{Entry, Line, Moment, State as StateView, bytes, clean, clean_or, condense, state};
use crate::api::{Actor, ApiError, Approve, EnrollmentView, EventView, Finding, MachineDetail, OperatorApi, Tone, VotersView};
use crate::auth::{Change, ChangeForm, PageSession, Session};
use crate::call::App;
use crate::dates::offset;
use crate::error::Failure;
use crate::extract::Named;
use crate::headers::RequestId;

/// How often a browser without JavaScript reloads the page, in seconds.
const REFRESH: u32 = 5;

#[derive(Deserialize)]
pub(crate) struct DenyForm {
    #[serde(default)]
    enrollment: String,
    #[serde(default)]
    reason: String,
}

struct Facts {
    lines: Vec<(&'static str, String)>,
    disks: Vec<[String; 4]>,
    disks_left_out: u32,
    nics: Vec<[String; 4]>,
}

/// An enrollment that waits, as the page lists it.
struct Waits {
    address: String,
    number: String,
    model: String,
    serial: String,
    since: Moment,
}

struct Earlier {
    state: StateView,
    since: Moment,
    hostname: String,
    reason: String,
}

#[derive(Template)]
#[template(path = "machine.html")]
struct Page {
    shell: Shell,
    line: Line,
    first_seen: Moment,
    decision: Option<Decision>,
    /// The enrollment of a node, which may be revoked.
    member: Option<String>,
    /// Its host name, for the steps of a replacement.
    label: String,
    /// The cluster that it votes in.
    voters: Option<VotersView>,
    /// Shown if several machines have to be distinguished.
    waiting: Vec<Waits>,
    facts: Option<Facts>,
    earlier: Vec<Earlier>,
    timeline: Vec<Entry>,
    findings: Vec<Conclusion>,
    packets: u32,
    verdict: Option<VerdictLine>,
}

struct Conclusion {
    rule: &'static str,
    tone: &'static str,
    what: String,
    /// Pieces, and whether each is a command.
    advice: Vec<(bool, String)>,
}

impl Conclusion {
    fn of(f: &Finding) -> Self {
        let tone = match f.tone {
            Tone::Good => "good",
            Tone::Wait => "wait",
            Tone::Bad => "bad",
        };
        let advice = f.advice.split('`').enumerate().map(|(n, piece)| (n % 2 == 1, clean(piece))).collect();
        Conclusion { rule: f.rule, tone, what: clean(&f.what), advice }
    }
}

pub(crate) async fn show(
    State(app): State<App>,
    PageSession(session): PageSession,
    request: RequestId,
    Named(id): Named<i64>,
) -> Result<Response, Failure> {
    render(&app, &session, &request, id, StatusCode::OK, None, ApproveForm::default()).await
}

pub(crate) async fn approve(
    State(app): State<App>,
    request: RequestId,
    Named(id): Named<i64>,
    ChangeForm(change, form): ChangeForm<ApproveForm>,
) -> Result<Response, Failure> {
    let enrollment: EnrollmentId = form.enrollment.parse().map_err(|_| Failure::not_found())?;
    let approve = Approve {
        code: form.code.trim().to_owned(),
        role: form.role.clone(),
        hostname: form.hostname.trim().to_owned(),
        disk: form.disk.clone(),
        replace: form.replace.is_some(),
    };
    let actor = change.actor().clone();
    match app.call(move |api| api.approve(&actor, enrollment, &approve)).await {
        Ok(_) => Ok(Redirect::to(&format!("/machines/{id}")).into_response()),
        Err(failure) => {
            let (status, refusal) = Refusal::of(failure)?;
            render(&app, change.session(), &request, id, status, Some(refusal), form).await
        }
    }
}

pub(crate) async fn deny(
    State(app): State<App>,
    request: RequestId,
    Named(id): Named<i64>,
    ChangeForm(change, form): ChangeForm<DenyForm>,
) -> Result<Response, Failure> {
    end(app, change, request, id, form, |api, actor, id, why| api.deny(actor, id, why)).await
}

pub(crate) async fn revoke(
    State(app): State<App>,
    request: RequestId,
    Named(id): Named<i64>,
    ChangeForm(change, form): ChangeForm<DenyForm>,
) -> Result<Response, Failure> {
    end(app, change, request, id, form, |api, actor, id, why| api.revoke(actor, id, why)).await
}

#[derive(Deserialize)]
pub(crate) struct AddressForm {
    #[serde(default)]
    address: String,
}

pub(crate) async fn deny_address(
    State(app): State<App>,
    Named(id): Named<i64>,
    ChangeForm(change, form): ChangeForm<AddressForm>,
) -> Result<Response, Failure> {
    let address = form.address.parse().map_err(|_| Failure::not_found())?;
    let actor = change.actor().clone();
    app.call(move |api| api.deny_address(&actor, address)).await?;
    Ok(Redirect::to(&format!("/machines/{id}")).into_response())
}

#[derive(Deserialize)]
pub(crate) struct NoFields {}

pub(crate) async fn forget(
    State(app): State<App>,
    request: RequestId,
    Named(id): Named<i64>,
    ChangeForm(change, _): ChangeForm<NoFields>,
) -> Result<Response, Failure> {
    let actor = change.actor().clone();
    match app.call(move |api| api.forget(&actor, id)).await {
        Ok(()) => Ok(Redirect::to("/").into_response()),
        Err(failure) => {
            let (status, refusal) = Refusal::of(failure)?;
            render(&app, change.session(), &request, id, status, Some(refusal), ApproveForm::default()).await
        }
    }
}

/// [`OperatorApi::deny`] or [`OperatorApi::revoke`].
type End = fn(&dyn OperatorApi, &Actor, EnrollmentId, &str) -> Result<EnrollmentView, ApiError>;

async fn end(app: App, change: Change, request: RequestId, id: i64, form: DenyForm, how: End) -> Result<Response, Failure> {
    let enrollment: EnrollmentId = form.enrollment.parse().map_err(|_| Failure::not_found())?;
    let (actor, reason) = (change.actor().clone(), form.reason.trim().to_owned());
    match app.call(move |api| how(api, &actor, enrollment, &reason)).await {
        Ok(_) => Ok(Redirect::to(&format!("/machines/{id}")).into_response()),
        Err(failure) => {
            let (status, refusal) = Refusal::of(failure)?;
            render(&app, change.session(), &request, id, status, Some(refusal), ApproveForm::default()).await
        }
    }
}

pub(super) async fn render(
    app: &App,
    session: &Session,
    request: &RequestId,
    id: i64,
    status: StatusCode,
    refusal: Option<Refusal>,
    form: ApproveForm,
) -> Result<Response, Failure> {
    let overview = overview(app).await?;
    let newest = *app.newest().borrow();
    let detail = app.call(move |api| api.machine(id)).await?;
    let line = Line::of(&detail.row, overview.clock);
    let mut shell = Shell::new(&line.name, &overview, request, Some(session));
    shell.event = newest;
    let decision = decide(&detail, &overview, refusal, form);
    // A reload would lose what is being typed.
    shell.refresh = decision.is_none().then_some(REFRESH);
    let earlier = detail.earlier.iter().map(|e| Earlier {
        state: state(Some(e.state)),
        since: Moment::new(overview.clock, e.since),
        hostname: e.hostname.as_deref().map(clean).unwrap_or_default(),
        reason: e.reason.as_deref().map(clean).unwrap_or_default(),
    });
    let member = detail.row.enrollment.as_ref().filter(|e| e.state.is_member()).map(|e| e.id.to_string());
    let template = Page {
        member,
        label: node_label(&detail),
        voters: detail.voters,
        first_seen: Moment::new(overview.clock, detail.row.first_seen),
        decision,
        waiting: waits(&detail, overview.clock),
        facts: detail.facts.as_ref().map(facts),
        earlier: earlier.collect(),
        timeline: timeline(&detail.timeline),
        findings: detail.diagnosis.iter().map(Conclusion::of).collect(),
        packets: detail.packets,
        verdict: detail.row.verdict.as_ref().map(|v| VerdictLine::of(v, overview.clock)),
        shell,
        line,
    };
    page(status, &template)
}

/// The host name of the node, without its domain.
fn node_label(detail: &MachineDetail) -> String {
    let hostname = detail.row.enrollment.as_ref().and_then(|e| e.hostname.as_deref()).unwrap_or_default();
    clean(hostname.split('.').next().unwrap_or_default())
}

/// Enrollments waiting under this MAC address, if there are others than the page's own.
fn waits(detail: &MachineDetail, clock: u64) -> Vec<Waits> {
    let node = detail.row.enrollment.as_ref().is_some_and(|e| e.state.is_member());
    if !node && detail.waiting.len() < 2 {
        return Vec::new();
    }
    let waits = detail.waiting.iter().map(|w| Waits {
        address: w.ip.to_string(),
        number: w.enrollment.number.map(|n| format!("{n}-")).unwrap_or_default(),
        model: clean_or(format!("{} {}", w.facts.vendor, w.facts.product).trim(), "unknown model"),
        serial: clean_or(&w.facts.serial, "unknown"),
        since: Moment::new(clock, w.enrollment.since),
    });
    waits.collect()
}

fn facts(f: &HardwareFacts) -> Facts {
    let or_none = |text: &str| clean_or(text, "unknown");
    let mut firmware = match f.firmware {
        Firmware::Bios => "BIOS".to_owned(),
        Firmware::Uefi => "UEFI".to_owned(),
    };
    if !f.firmware_date.is_empty() {
        firmware = format!("{firmware} of {}", clean(&f.firmware_date));
    }
    if f.has_old_firmware() {
        firmware
            .push_str(", older than the fixes for known vulnerabilities of its network stack (PixieFail); update the firmware");
    }
    let disk = |d: &cluster_seed::machine::Disk| {
        let kind = if d.rotational { "rotating" } else { "solid state" };
        let kind = std::iter::once(kind.to_owned()).filter(|_| !d.removable).chain(disk_notes(d, &f.disks));
        let model = std::iter::once(or_none(&d.model)).chain(kind).collect::<Vec<_>>().join(", ");
        let mark = match (d.serial.is_empty(), d.wwn.is_empty(), d.path.is_empty()) {
            (true, false, _) => format!("none; WWN {}", clean(&d.wwn)),
            (true, true, false) => format!("none; connected at {}", clean(&d.path)),
            _ => or_none(&d.serial),
        };
        [clean(&d.name), bytes(d.size), model, mark]
    };
    let nic = |n: &cluster_seed::machine::Nic| {
        let link = match (n.link_up, n.speed) {
            (true, Some(speed)) => format!("up, {speed} Mbit/s"),
            (true, None) => "up".to_owned(),
            _ => "down".to_owned(),
        };
        [clean(&n.name), n.mac.to_string(), clean(&n.driver), link]
    };
    let architecture = if f.arch.is_amd64() { String::new() } else { format!(", {}", f.arch) };
    Facts {
        lines: vec![
            ("Vendor", or_none(&f.vendor)),
            ("Product", or_none(&f.product)),
            ("Serial number", or_none(&f.serial)),
            ("SMBIOS UUID", or_none(&f.uuid)),
            ("Firmware", firmware),
            ("Processor", format!("{} \u{d7} {}{architecture}", f.cpus, or_none(&f.cpu))),
            ("Memory", bytes(f.memory_mib.saturating_mul(1 << 20))),
            ("Booted from", f.boot_mac.map_or_else(|| "unknown".to_owned(), |m| m.to_string())),
            ("Kernel", or_none(&f.kernel)),
        ],
        disks: f.disks.iter().map(disk).collect(),
        disks_left_out: f.disks_left_out,
        nics: f.nics.iter().map(nic).collect(),
    }
}

/// Oldest first, with the time since the first event.
fn timeline(events: &[EventView]) -> Vec<Entry> {
    let first = events.first().map_or(0, |e| e.at);
    let mut shown = Vec::new();
    let entry = |e: &EventView| {
        let mut entry = Entry::of(e, offset(e.at.saturating_sub(first)));
        // Facts already shown for the previous packet are not repeated.
        let facts = std::mem::take(&mut entry.facts);
        entry.facts = facts.iter().filter(|f| !shown.contains(*f)).cloned().collect();
        if !facts.is_empty() {
            shown = facts;
        }
        entry
    };
    condense(events).map(entry).collect()
}
