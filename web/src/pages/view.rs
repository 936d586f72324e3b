//! From the daemon's values to what a page shows. Every text from a machine or the log goes through [`clean`].

use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::events::{EventKind, Tone};
use cluster_seed::fleet::Stage;

use crate::api::{EnrollmentView, EventView, HeldView, InstallProgress, MachineRow, PacketFacts};
use crate::dates::{ago, iso};
pub(crate) use crate::text::{clean, clean_or};
use crate::words::Lang;

/// Binary units, three digits.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {}", UNITS[unit])
}

pub(crate) struct State {
    pub(crate) word: String,
    /// Class that gives the colour: idle, wait, busy, good, bad.
    pub(crate) tone: &'static str,
    /// Explanation for operators.
    pub(crate) meaning: String,
}

/// `None` is a machine that has only requested an address.
pub(crate) fn state(lang: Lang, of: Option<EnrollmentState>) -> State {
    use EnrollmentState as S;
    let (tone, word, meaning) = match of {
        None => ("idle", "state-seen", "means-seen"),
        Some(S::Discovered) => ("busy", "state-discovered", "means-discovered"),
        Some(S::Pending) => ("wait", "state-pending", "means-pending"),
        Some(S::Confirming) => ("busy", "state-confirming", "means-confirming"),
        Some(S::Approved) => ("busy", "state-approved", "means-approved"),
        Some(S::Issued) => ("busy", "state-issued", "means-issued"),
        Some(S::Installing) => ("busy", "state-installing", "means-installing"),
        Some(S::Installed) => ("busy", "state-installed", "means-installed"),
        Some(S::FabricReady) => ("busy", "state-fabric-ready", "means-fabric-ready"),
        Some(S::Converged) => ("good", "state-converged", "means-converged"),
        Some(S::Denied) => ("bad", "state-denied", "means-denied"),
        Some(S::Revoked) => ("bad", "state-revoked", "means-revoked"),
        Some(S::Failed) => ("bad", "state-failed", "means-failed"),
        Some(S::Expired) => ("bad", "state-expired", "means-expired"),
    };
    State { word: lang.t(word), tone, meaning: lang.t(meaning) }
}

/// The key of the name of a stage.
pub(crate) fn stage_key(stage: Stage) -> &'static str {
    match stage {
        Stage::Seen => "stage-seen",
        Stage::Waiting => "stage-waiting",
        Stage::Installing => "stage-installing",
        Stage::Joining => "stage-joining",
        Stage::Working => "stage-working",
        Stage::Silent => "stage-silent",
        Stage::Failed => "stage-failed",
        Stage::Ended => "stage-ended",
    }
}

pub(crate) struct Progress {
    pub(crate) percent: u64,
    /// `1.20 of 4.00 GiB`-like, and the speed.
    pub(crate) done: String,
    pub(crate) rate: String,
    /// Time left at this speed, if known.
    pub(crate) left: Option<String>,
}

impl Progress {
    pub(crate) fn of(lang: Lang, p: &InstallProgress) -> Self {
        let written = p.written.min(p.total);
        let percent = (u128::from(written) * 100).checked_div(u128::from(p.total)).unwrap_or(0) as u64;
        let left = (p.total - written).checked_div(p.rate).filter(|s| *s > 0 && *s < 86_400);
        Progress {
            percent,
            done: lang.with("progress-of", &[("x", (&bytes(written)).into()), ("y", (&bytes(p.total)).into())]),
            rate: format!("{:.1} MB/s", p.rate as f64 / 1e6),
            left: left.map(|s| match s {
                0..90 => lang.with("progress-seconds", &[("n", s.into())]),
                _ => lang.with("progress-minutes", &[("n", s.div_ceil(60).into())]),
            }),
        }
    }
}

/// The progress of an enrollment that is installing.
pub(crate) fn progress(lang: Lang, e: Option<&EnrollmentView>) -> Option<Progress> {
    let e = e.filter(|e| matches!(e.state, EnrollmentState::Issued | EnrollmentState::Installing))?;
    e.progress.as_ref().map(|p| Progress::of(lang, p))
}

/// A machine or node in a list.
pub(crate) struct Line {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) mac: String,
    pub(crate) model: String,
    pub(crate) ip: String,
    pub(crate) role: String,
    pub(crate) state: State,
    pub(crate) reason: Option<String>,
    /// The word of its cause, what to do, and whether the machine tries again.
    pub(crate) trouble: Option<(&'static str, &'static str, bool)>,
    pub(crate) planes: Vec<(String, String)>,
    pub(crate) progress: Option<Progress>,
    pub(crate) seen: Moment,
    pub(crate) since: Option<Moment>,
    pub(crate) wrong_codes: u32,
    /// The peer list it holds, and whether it is late.
    pub(crate) list: Option<(String, bool)>,
}

/// What an operator noted about a machine.
pub(crate) struct Note {
    pub(crate) place: String,
    pub(crate) labels: Vec<String>,
}

impl Note {
    pub(crate) fn of(place: &str, labels: &[String]) -> Self {
        Note { place: clean(place), labels: labels.iter().map(|l| clean(l)).collect() }
    }
}

/// A point in time, absolute and relative.
pub(crate) struct Moment {
    pub(crate) iso: String,
    pub(crate) ago: String,
}

impl Moment {
    pub(crate) fn of(lang: Lang, now: u64, then: u64) -> Self {
        Moment { iso: iso(then), ago: ago(lang, now, then) }
    }
}

impl Line {
    pub(crate) fn of(lang: Lang, row: &MachineRow, now: u64) -> Self {
        let e = row.enrollment.as_ref();
        let planes = e.map(|e| e.addresses.iter().map(|(p, a)| (clean(p), clean(a))).collect());
        Line {
            id: row.id,
            name: e.and_then(|e| e.hostname.as_deref()).map_or_else(|| row.mac.to_string(), clean),
            mac: row.mac.to_string(),
            model: clean_or(&row.model, &lang.t("unknown-model")),
            ip: row.ip.map_or_else(|| lang.t("no-address"), |ip| ip.to_string()),
            role: e.and_then(|e| e.role.as_deref()).map(clean).unwrap_or_default(),
            state: state(lang, e.map(|e| e.state)),
            reason: e.and_then(|e| e.reason.as_deref()).map(clean),
            trouble: e.and_then(|e| e.trouble).map(|t| (t.word.as_str(), t.hint, t.retryable)),
            planes: planes.unwrap_or_default(),
            progress: progress(lang, e),
            seen: Moment::of(lang, now, row.last_seen),
            since: e.map(|e| Moment::of(lang, now, e.since)),
            wrong_codes: e.map_or(0, |e| e.wrong_codes),
            list: row.list.map(|l| (holds(lang, &l), l.behind)),
        }
    }
}

fn holds(lang: Lang, list: &HeldView) -> String {
    match list.version {
        Some(version) => {
            let current = list.current.to_string();
            lang.with("list-holds", &[("n", version.into()), ("x", (&current).into())])
        }
        None => lang.with("list-unreported", &[("n", list.current.into())]),
    }
}

/// One event.
pub(crate) struct Entry {
    pub(crate) id: i64,
    pub(crate) iso: String,
    /// Since the first event, or how long ago.
    pub(crate) when: String,
    pub(crate) kind: String,
    pub(crate) tone: &'static str,
    pub(crate) text: String,
    pub(crate) actor: Option<String>,
    /// How often it happened, if more than once.
    pub(crate) times: Option<u32>,
    /// Facts from the packet, in addition to the text.
    pub(crate) facts: Vec<(&'static str, String)>,
}

pub(crate) fn facts_of(facts: &PacketFacts) -> Vec<(&'static str, String)> {
    let text = |name, value: &Option<String>| value.as_deref().map(|v| (name, clean(v)));
    let rows = [
        text("transaction", &facts.xid),
        text("vendor class", &facts.vendor_class),
        text("host name", &facts.hostname),
        text("UUID", &facts.uuid),
        text("interface", &facts.iface),
    ];
    rows.into_iter().flatten().collect()
}

impl Entry {
    pub(crate) fn of(event: &EventView, when: String) -> Self {
        Entry {
            id: event.id,
            iso: iso(event.at / 1000),
            when,
            kind: clean(&event.kind),
            tone: tone(&event.kind),
            text: clean(&event.text),
            actor: event.actor.as_deref().map(clean),
            times: None,
            facts: event.facts.as_ref().map(facts_of).unwrap_or_default(),
        }
    }
}

/// Events in order, with only the last of consecutive chatty ones of a machine.
pub(crate) fn condense(events: &[EventView]) -> impl DoubleEndedIterator<Item = &EventView> {
    let chatty = |e: &EventView| e.kind.parse().is_ok_and(EventKind::is_chatty);
    let repeats = move |i: usize| events.get(i + 1).is_some_and(|n| chatty(n) && n.machine == events[i].machine);
    events.iter().enumerate().filter(move |(i, e)| !chatty(e) || !repeats(*i)).map(|(_, e)| e)
}

/// Of a kind that this version does not know, none.
pub(crate) fn tone(kind: &str) -> &'static str {
    kind.parse().map_or(Tone::Idle, EventKind::tone).as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (n, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (16 << 30, "16.0 GiB"),
            (1000 << 30, "0.98 TiB"),
            (500_107_862_016, "466 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }

    #[test]
    fn progress_never_divides_by_zero_nor_passes_the_end() {
        for (written, total, rate, percent, left) in [
            (0, 0, 0, 0, None),
            (5, 0, 1, 0, None),
            (50, 100, 0, 50, None),
            (50, 100, 10, 50, Some("5 s left")),
            (101, 100, 10, 100, None),
            (999, 1000, 1, 99, Some("1 s left")),
            (0, u64::MAX, 1, 0, None),
            (u64::MAX, u64::MAX, u64::MAX, 100, None),
        ] {
            let p = Progress::of(Lang::En, &InstallProgress { written, total, rate });
            assert_eq!((p.percent, p.left.as_deref()), (percent, left), "{written}/{total}");
        }
    }

    #[test]
    fn progress_is_shown_once() {
        let event = |id, kind: &str, machine| EventView {
            id,
            at: 0,
            kind: kind.into(),
            text: String::new(),
            machine,
            actor: None,
            facts: None,
        };
        let (one, chatty) = (Some(1), EventKind::InstallProgress.as_str());
        let all =
            [event(1, chatty, one), event(2, chatty, one), event(3, chatty, Some(2)), event(4, "x", one), event(5, chatty, one)];
        assert_eq!(condense(&all).map(|e| e.id).collect::<Vec<_>>(), [2, 3, 4, 5]);
        assert_eq!(condense(&[]).count(), 0);
    }
}
