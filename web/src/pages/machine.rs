//! `/machines/<id>`: a machine, its events, and the decision about it.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use cluster_seed::cluster::CONTROL_PLANE;
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::fleet::Stage;
use cluster_seed::ids::EnrollmentId;
use cluster_seed::machine::{Disk, Firmware, HardwareFacts};
use serde::Deserialize;

use super::decision::{ApproveForm, Decision, decide, disk_notes};
use super::plan::VerdictLine;
use super::shell::{Refusal, Shell, overview, page};
use super::timeline::{Fold, folded};
use super::view::{Line, Moment, Note, State as StateView, bytes, clean, clean_or, state};
use crate::api::{Approve, Finding, FleetRow, MachineDetail, Tone, VotersView};
use crate::auth::{ChangeForm, PageSession, Session, may};
use crate::call::App;
use crate::error::Failure;
use crate::extract::Named;
use crate::headers::RequestId;
use crate::words::Lang;

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
    lines: Vec<(String, String)>,
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
    /// It is a node, which may be revoked.
    member: bool,
    stage: Stage,
    /// How to log in.
    ssh: Option<String>,
    serial: String,
    note: Note,
    typed: Noted,
    /// Its host name, for the steps of a replacement.
    label: String,
    /// The cluster that it votes in.
    voters: Option<VotersView>,
    /// Shown if several machines have to be distinguished.
    waiting: Vec<Waits>,
    facts: Option<Facts>,
    earlier: Vec<Earlier>,
    /// Newest first.
    timeline: Vec<Fold>,
    findings: Vec<Conclusion>,
    packets: u32,
    verdict: Option<VerdictLine>,
}

impl Page {
    fn power_page(&self) -> String {
        format!("/machines/{}/power", self.line.id)
    }
}

/// The form of place and labels.
struct Noted {
    refusal: Option<Refusal>,
    place: String,
    labels: String,
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
    render(&app, &session, &request, id, Said::default()).await
}

pub(crate) async fn approve(
    State(app): State<App>,
    request: RequestId,
    Named(id): Named<i64>,
    ChangeForm(change, form): ChangeForm<may::Approve, ApproveForm>,
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
            render(&app, change.session(), &request, id, Said { status, refusal: Some(refusal), form, ..Said::default() }).await
        }
    }
}

pub(crate) async fn deny(
    State(app): State<App>,
    request: RequestId,
    Named(id): Named<i64>,
    ChangeForm(change, form): ChangeForm<may::Approve, DenyForm>,
) -> Result<Response, Failure> {
    let enrollment: EnrollmentId = form.enrollment.parse().map_err(|_| Failure::not_found())?;
    let (actor, reason) = (change.actor().clone(), form.reason.trim().to_owned());
    match app.call(move |api| api.deny(&actor, enrollment, &reason)).await {
        Ok(_) => Ok(Redirect::to(&format!("/machines/{id}")).into_response()),
        Err(failure) => {
            let (status, refusal) = Refusal::of(failure)?;
            render(&app, change.session(), &request, id, Said { status, refusal: Some(refusal), ..Said::default() }).await
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct AddressForm {
    #[serde(default)]
    address: String,
}

pub(crate) async fn deny_address(
    State(app): State<App>,
    Named(id): Named<i64>,
    ChangeForm(change, form): ChangeForm<may::Approve, AddressForm>,
) -> Result<Response, Failure> {
    let address = form.address.parse().map_err(|_| Failure::not_found())?;
    let actor = change.actor().clone();
    app.call(move |api| api.deny_address(&actor, address)).await?;
    Ok(Redirect::to(&format!("/machines/{id}")).into_response())
}

/// What the page shows beside the machine.
pub(super) struct Said {
    pub(super) status: StatusCode,
    /// Why a decision was refused.
    pub(super) refusal: Option<Refusal>,
    /// The form of the decision, as it was typed.
    pub(super) form: ApproveForm,
    /// Why labels and place were refused, and what was typed.
    pub(super) noted: Option<(Refusal, String, String)>,
}

impl Default for Said {
    fn default() -> Self {
        Said { status: StatusCode::OK, refusal: None, form: ApproveForm::default(), noted: None }
    }
}

pub(super) async fn render(app: &App, session: &Session, request: &RequestId, id: i64, said: Said) -> Result<Response, Failure> {
    let overview = overview(app).await?;
    let newest = *app.newest().borrow();
    let (detail, fleet) = app.call(move |api| Ok((api.machine(id)?, api.machines_of(&[id])?.pop()))).await?;
    let mut shell = Shell::new(&detail.row.mac.to_string(), &overview, request, Some(session));
    let lang = shell.lang;
    let line = Line::of(lang, &detail.row, overview.clock);
    shell.title = line.name.clone();
    shell.event = newest;
    let Said { status, refusal, form, noted } = said;
    let decision = decide(lang, &detail, &overview, refusal, form);
    // A reload would lose what is being typed.
    shell.refresh = (decision.is_none() && noted.is_none()).then_some(REFRESH);
    let earlier = detail.earlier.iter().map(|e| Earlier {
        state: state(lang, Some(e.state)),
        since: Moment::of(lang, overview.clock, e.since),
        hostname: e.hostname.as_deref().map(clean).unwrap_or_default(),
        reason: e.reason.as_deref().map(clean).unwrap_or_default(),
    });
    let member = detail.row.enrollment.as_ref().is_some_and(|e| e.state.is_member());
    let stage = fleet.as_ref().map_or(Stage::Seen, |f| f.stage);
    let template = Page {
        member,
        stage,
        ssh: ssh(&line, detail.row.enrollment.as_ref().map(|e| e.state)),
        serial: fleet.as_ref().map(|f| clean(&f.serial)).unwrap_or_default(),
        note: fleet.as_ref().map_or_else(|| Note::of("", &[]), |f| Note::of(&f.place, &f.labels)),
        typed: typed(fleet.as_ref(), noted),
        label: node_label(&detail),
        voters: detail.voters,
        first_seen: Moment::of(lang, overview.clock, detail.row.first_seen),
        decision,
        waiting: waits(lang, &detail, overview.clock),
        facts: detail.facts.as_ref().map(|f| facts(lang, f)),
        earlier: earlier.collect(),
        timeline: folded(lang, &detail.timeline, overview.clock),
        findings: detail.diagnosis.iter().map(Conclusion::of).collect(),
        packets: detail.packets,
        verdict: detail.row.verdict.as_ref().map(|v| VerdictLine::of(lang, v, overview.clock)),
        shell,
        line,
    };
    page(status, &template)
}

/// The command that logs in to a running node.
fn ssh(line: &Line, state: Option<EnrollmentState>) -> Option<String> {
    let runs = matches!(state, Some(EnrollmentState::FabricReady | EnrollmentState::Converged));
    let control = line.planes.iter().find(|(plane, _)| plane == CONTROL_PLANE).filter(|_| runs);
    control.map(|(_, address)| format!("ssh root@{address}"))
}

/// The form of place and labels: as it was typed, or as it is stored.
fn typed(fleet: Option<&FleetRow>, noted: Option<(Refusal, String, String)>) -> Noted {
    match noted {
        Some((refusal, place, labels)) => Noted { refusal: Some(refusal), place: clean(&place), labels: clean(&labels) },
        None => Noted {
            refusal: None,
            place: fleet.map(|f| clean(&f.place)).unwrap_or_default(),
            labels: fleet.map(|f| clean(&f.labels.join(", "))).unwrap_or_default(),
        },
    }
}

/// The host name of the node, without its domain.
fn node_label(detail: &MachineDetail) -> String {
    let hostname = detail.row.enrollment.as_ref().and_then(|e| e.hostname.as_deref()).unwrap_or_default();
    clean(hostname.split('.').next().unwrap_or_default())
}

/// Enrollments waiting under this MAC address, if there are others than the page's own.
fn waits(lang: Lang, detail: &MachineDetail, clock: u64) -> Vec<Waits> {
    let node = detail.row.enrollment.as_ref().is_some_and(|e| e.state.is_member());
    if !node && detail.waiting.len() < 2 {
        return Vec::new();
    }
    let waits = detail.waiting.iter().map(|w| Waits {
        address: w.ip.to_string(),
        number: w.enrollment.number.map(|n| format!("{n}-")).unwrap_or_default(),
        model: clean_or(format!("{} {}", w.facts.vendor, w.facts.product).trim(), &lang.t("unknown-model")),
        serial: clean_or(&w.facts.serial, &lang.t("unknown")),
        since: Moment::of(lang, clock, w.enrollment.since),
    });
    waits.collect()
}

fn firmware(lang: Lang, f: &HardwareFacts) -> String {
    let name = match f.firmware {
        Firmware::Bios => "BIOS",
        Firmware::Uefi => "UEFI",
    };
    let date = clean(&f.firmware_date);
    let mut text = match date.as_str() {
        "" => name.to_owned(),
        date => lang.with("firmware-of", &[("x", name.into()), ("when", date.into())]),
    };
    if f.has_old_firmware() {
        text.push_str(&lang.t("firmware-old"));
    }
    text
}

fn disk(lang: Lang, d: &Disk, all: &[Disk]) -> [String; 4] {
    let or_none = |text: &str| clean_or(text, &lang.t("unknown"));
    let kind = lang.t(if d.rotational { "disk-rotating" } else { "disk-solid" });
    let kind = std::iter::once(kind).filter(|_| !d.removable).chain(disk_notes(lang, d, all));
    let model = std::iter::once(or_none(&d.model)).chain(kind).collect::<Vec<_>>().join(", ");
    let mark = match (d.serial.is_empty(), d.wwn.is_empty(), d.path.is_empty()) {
        (true, false, _) => lang.with("disk-wwn", &[("x", (&clean(&d.wwn)).into())]),
        (true, true, false) => lang.with("disk-path", &[("x", (&clean(&d.path)).into())]),
        _ => or_none(&d.serial),
    };
    [clean(&d.name), bytes(d.size), model, mark]
}

fn facts(lang: Lang, f: &HardwareFacts) -> Facts {
    let or_none = |text: &str| clean_or(text, &lang.t("unknown"));
    let nic = |n: &cluster_seed::machine::Nic| {
        let link = match (n.link_up, n.speed) {
            (true, Some(speed)) => lang.with("link-speed", &[("n", u64::from(speed).into())]),
            (true, None) => lang.t("link-up"),
            _ => lang.t("link-down"),
        };
        [clean(&n.name), n.mac.to_string(), clean(&n.driver), link]
    };
    let architecture = if f.arch.is_amd64() { String::new() } else { format!(", {}", f.arch) };
    let boot = f.boot_mac.map_or_else(|| lang.t("unknown"), |m| m.to_string());
    Facts {
        lines: vec![
            (lang.t("fact-vendor"), or_none(&f.vendor)),
            (lang.t("fact-product"), or_none(&f.product)),
            (lang.t("serial-number"), or_none(&f.serial)),
            (lang.t("fact-uuid"), or_none(&f.uuid)),
            (lang.t("fact-firmware"), firmware(lang, f)),
            (lang.t("fact-processor"), format!("{} \u{d7} {}{architecture}", f.cpus, or_none(&f.cpu))),
            (lang.t("fact-memory"), bytes(f.memory_mib.saturating_mul(1 << 20))),
            (lang.t("fact-booted"), boot),
            (lang.t("fact-kernel"), or_none(&f.kernel)),
        ],
        disks: f.disks.iter().map(|d| disk(lang, d, &f.disks)).collect(),
        disks_left_out: f.disks_left_out,
        nics: f.nics.iter().map(nic).collect(),
    }
}
