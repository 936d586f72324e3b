//! The form with which an operator approves a machine.

use cluster_seed::converge::role::DiskHint;
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::machine::Disk;
use serde::Deserialize;

use super::shell::Refusal;
use super::view::{bytes, clean, clean_or};
use crate::api::{ClaimantView, FirstYes, MachineDetail, Overview, SuggestionView, Waiting};
use crate::words::Lang;

/// The approval form as it was typed.
#[derive(Deserialize, Default)]
pub(crate) struct ApproveForm {
    #[serde(default)]
    pub(super) enrollment: String,
    #[serde(default)]
    pub(super) code: String,
    #[serde(default)]
    pub(super) role: String,
    #[serde(default)]
    pub(super) hostname: String,
    #[serde(default)]
    pub(super) disk: String,
    /// A checkbox: present or not.
    pub(super) replace: Option<String>,
}

pub(super) struct Choice {
    pub(super) value: String,
    pub(super) label: String,
    pub(super) chosen: bool,
    pub(super) possible: bool,
}

impl Choice {
    /// A name that cannot be shown unchanged cannot be chosen either.
    fn new(name: &str, label: String, chosen: bool, possible: bool) -> Self {
        let value = clean(name);
        let possible = possible && value == name;
        Choice { label, chosen: chosen && possible, possible, value }
    }
}

/// The form as it is shown.
pub(super) struct Decision {
    pub(super) enrollment: String,
    pub(super) refusal: Option<Refusal>,
    pub(super) code: String,
    pub(super) hostname: String,
    pub(super) replace: bool,
    pub(super) roles: Vec<Choice>,
    pub(super) disks: Vec<Choice>,
    /// It runs from its disk already, and nothing is erased.
    pub(super) in_place: bool,
    pub(super) can_approve: bool,
    /// How the code on its console begins.
    pub(super) number: String,
    /// The previous code was wrong.
    pub(super) was_wrong: bool,
    /// Address of the machine.
    pub(super) address: String,
    /// Somebody has said yes, and a second person has to agree.
    pub(super) first: Option<First>,
    /// By the plan, or by a rule.
    pub(super) hints: Option<Hints>,
}

/// What one person has said yes to.
pub(super) struct First {
    pub(super) user: String,
    pub(super) hostname: String,
    pub(super) role: String,
    pub(super) disk: String,
    pub(super) replace: bool,
    pub(super) decision: String,
}

impl First {
    fn of(yes: &FirstYes) -> Self {
        First {
            user: clean(&yes.user),
            hostname: clean(&yes.hostname),
            role: clean(&yes.role),
            disk: clean(&yes.disk),
            replace: yes.replace,
            decision: yes.decision.to_string(),
        }
    }
}

/// What the form is filled in with, and why.
pub(super) struct Hints {
    pub(super) source: String,
    /// The name, role and disk that it says.
    pub(super) says: String,
    pub(super) place: String,
    pub(super) labels: Vec<(String, String)>,
    /// In what the machine is not the planned one: shown big.
    pub(super) differs: Vec<String>,
    /// What else stands against it, and what to do.
    pub(super) against: Option<(String, &'static str)>,
    pub(super) ready: bool,
    pub(super) click: bool,
    /// Others that claim the same row: no click approves any of them.
    pub(super) rivals: Vec<Rival>,
}

/// A machine that claims a row of the plan.
pub(super) struct Rival {
    pub(super) machine: i64,
    pub(super) enrollment: String,
    pub(super) mac: String,
    pub(super) serial: String,
    pub(super) model: String,
    pub(super) address: String,
    pub(super) number: String,
    /// Its code was typed.
    pub(super) chosen: bool,
}

impl Rival {
    pub(super) fn of(lang: Lang, c: &ClaimantView) -> Self {
        Rival {
            machine: c.machine,
            enrollment: c.enrollment.to_string(),
            mac: c.mac.to_string(),
            serial: clean_or(&c.serial, &lang.t("plan-no-serial")),
            model: clean_or(&c.model, &lang.t("unknown-model")),
            address: c.address.to_string(),
            number: c.number.map(|n| format!("{n}-")).unwrap_or_default(),
            chosen: c.chosen,
        }
    }
}

impl Hints {
    pub(super) fn of(lang: Lang, s: &SuggestionView) -> Self {
        let named = |key: &str, value: &Option<String>| value.as_deref().map(|v| lang.with(key, &[("x", (&clean(v)).into())]));
        let says = [named("says-name", &s.hostname), named("says-role", &s.role), named("says-disk", &s.wish)];
        let against = s.why.as_deref().filter(|_| s.differs.is_empty());
        Hints {
            source: clean(&s.source),
            says: says.into_iter().flatten().collect::<Vec<_>>().join(", "),
            place: clean(&s.place),
            labels: s.labels.iter().map(|(k, v)| (clean(k), clean(v))).collect(),
            differs: s.differs.iter().map(|d| clean(d)).collect(),
            against: against.map(|why| (clean(why), s.trouble.map_or("", |t| t.hint))),
            ready: s.ready,
            click: s.click,
            rivals: s.rivals.iter().map(|c| Rival::of(lang, c)).collect(),
        }
    }
}

/// The form of a Pending machine; or only the refusal, if a decision came too late.
pub(super) fn decide(
    lang: Lang,
    detail: &MachineDetail,
    overview: &Overview,
    refusal: Option<Refusal>,
    form: ApproveForm,
) -> Option<Decision> {
    let mut pending = detail.waiting.iter().filter(|w| w.enrollment.state == EnrollmentState::Pending);
    // The requested one, if several claim this MAC address.
    let asked = pending.clone().find(|w| w.enrollment.id.to_string() == form.enrollment);
    let waiting = asked.or_else(|| pending.next());
    let pending = waiting.map(|w| &w.enrollment);
    if pending.is_none() && refusal.is_none() {
        return None;
    }
    let hint = waiting.and_then(|w| w.suggestion.as_ref());
    // What was typed comes first; nothing is taken over from a plan that the machine contradicts.
    let fits = hint.filter(|s| s.differs.is_empty());
    let suggested = |typed: &str, of: fn(&SuggestionView) -> Option<&String>| match (typed.is_empty(), fits.and_then(of)) {
        (true, Some(value)) => value.clone(),
        _ => typed.to_owned(),
    };
    Some(Decision {
        enrollment: pending.map(|e| e.id.to_string()).unwrap_or_default(),
        refusal,
        roles: role_choices(lang, overview, &suggested(&form.role, |s| s.role.as_ref())),
        disks: disk_choices(lang, waiting, &suggested(&form.disk, |s| s.disk.as_ref())),
        code: clean(&form.code),
        hostname: clean(&suggested(&form.hostname, |s| s.hostname.as_ref())),
        replace: form.replace.is_some(),
        in_place: waiting.is_some_and(|w| w.facts.root_disk.is_some()),
        can_approve: pending.is_some(),
        number: pending.and_then(|e| e.number).map(|n| n.to_string()).unwrap_or_default(),
        was_wrong: detail.earlier.first().is_some_and(|e| e.state == EnrollmentState::Denied && e.wrong_codes > 0),
        address: waiting.map(|w| w.ip.to_string()).unwrap_or_default(),
        first: pending.and_then(|e| e.first_yes.as_ref()).map(First::of),
        hints: hint.map(|s| Hints::of(lang, s)),
    })
}

/// The roles, the only possible one chosen unless another was.
pub(super) fn role_choices(lang: Lang, overview: &Overview, typed: &str) -> Vec<Choice> {
    let built = overview.roles.iter().filter(|r| r.artifact.is_some()).count();
    let roles = overview.roles.iter().map(|r| {
        let need = match (r.artifact, r.min_disk) {
            (None, _) => format!(" ({})", lang.t("role-not-built")),
            (_, Some(min)) => format!(" ({})", lang.with(disk_hint(r.disk), &[("x", (&bytes(min)).into())])),
            _ => String::new(),
        };
        let chosen = if typed.is_empty() { built == 1 && r.artifact.is_some() } else { typed == r.name };
        Choice::new(&r.name, format!("{}{need}", clean(&r.name)), chosen, r.artifact.is_some())
    });
    roles.collect()
}

/// The disks of a machine, the only one chosen unless another was.
pub(super) fn disk_choices(lang: Lang, waiting: Option<&Waiting>, typed: &str) -> Vec<Choice> {
    let disks = waiting.map_or(&[][..], |w| &w.facts.disks);
    let root = waiting.and_then(|w| w.facts.root_disk.as_deref());
    // With several disks, only the operator decides which one is erased.
    let only = disks.iter().filter(|d| !d.removable).count() == 1;
    let choices = disks.iter().map(|d| {
        let notes: String = disk_notes(lang, d, disks).iter().map(|n| format!(", {n}")).collect();
        let label = format!("{}: {}, {}{notes}", clean(&d.name), bytes(d.size), clean_or(&d.model, &lang.t("unknown-model")));
        let possible = root.map_or(d.unfit().is_none() && d.mark(disks).is_some(), |root| root == d.name);
        let chosen = if root.is_some() {
            possible
        } else if typed.is_empty() {
            only && possible && !d.removable
        } else {
            typed == d.name
        };
        Choice::new(&d.name, label, chosen, possible)
    });
    choices.collect()
}

/// The key of what the role needs; which disk it asks for is only said, since the operator chooses what is erased.
fn disk_hint(disk: DiskHint) -> &'static str {
    match disk {
        DiskHint::Any => "role-disk",
        DiskHint::Smallest => "role-disk-smallest",
        DiskHint::Largest => "role-disk-largest",
    }
}

/// What an operator should know of a disk before it is erased.
pub(super) fn disk_notes(lang: Lang, disk: &Disk, disks: &[Disk]) -> Vec<String> {
    let mut notes = Vec::new();
    if disk.removable {
        notes.push(lang.t("disk-removable"));
    }
    if !disk.part_of.is_empty() {
        notes.push(lang.with("disk-part-of", &[("x", (&clean(&disk.part_of)).into())]));
    }
    let paths = disk.other_paths(disks);
    if !paths.is_empty() {
        notes.push(lang.with("disk-multipath", &[("x", (&clean(&paths.join(", "))).into())]));
    }
    if disk.sector > 0 && disk.unfit().is_some() {
        notes.push(lang.with("disk-sectors", &[("n", u64::from(disk.sector).into())]));
    } else if disk.mark(disks).is_none() {
        notes.push(lang.t("disk-twin"));
    }
    notes
}
