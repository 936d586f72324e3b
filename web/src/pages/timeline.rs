//! The events of a machine as its page shows them: newest first, folded by phase, repeats as a number.

use cluster_seed::events::{EventKind, Tone, family};

use super::view::{Entry, clean, condense};
use crate::api::EventView;
use crate::dates::{ago, iso};
use crate::words::Lang;

/// Part of a machine's story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Boot,
    Pairing,
    Install,
    Join,
    Role,
    Operation,
}

impl Phase {
    /// The key of its name.
    fn key(self) -> &'static str {
        match self {
            Phase::Boot => "phase-boot",
            Phase::Pairing => "phase-pairing",
            Phase::Install => "phase-install",
            Phase::Join => "phase-join",
            Phase::Role => "phase-role",
            Phase::Operation => "phase-operation",
        }
    }

    /// Kinds of other versions belong to the operation.
    fn of(kind: &str) -> Self {
        match (kind.parse(), family::of(kind)) {
            (Ok(EventKind::NodeBooted), _) | (_, "gate" | "fabric") => Phase::Join,
            (Ok(EventKind::NodeConverged), _) | (_, "apply" | "converge" | "check") => Phase::Role,
            (_, "dhcp" | "tftp" | "http" | "boot" | "recorder") => Phase::Boot,
            (_, family::ENROLLMENT | "token") => Phase::Pairing,
            (_, family::INSTALL) => Phase::Install,
            _ => Phase::Operation,
        }
    }
}

/// Consecutive events of one phase.
pub(crate) struct Fold {
    /// Number of its first event.
    pub(crate) id: i64,
    pub(crate) title: String,
    /// When it began and how long it took.
    pub(crate) iso: String,
    pub(crate) ago: String,
    pub(crate) took: String,
    /// How many events it has, repeats included.
    pub(crate) count: u32,
    /// Something in it failed.
    pub(crate) bad: bool,
    /// Unfolded: the newest one.
    pub(crate) open: bool,
    /// Newest first.
    pub(crate) entries: Vec<Entry>,
}

/// `3.2 s`, `1:05`, `2:00:07`; empty for a moment.
fn took(millis: u64) -> String {
    if millis == 0 { String::new() } else { crate::dates::offset(millis).trim_start_matches('+').to_owned() }
}

/// The text without the number of repeats, which older rows have at the end, and that number.
fn bare(event: &EventView) -> (&str, u32) {
    let repeats = event.facts.as_ref().and_then(|f| f.repeats).unwrap_or(0);
    let tail = format!(" ({repeats} more times)");
    (event.text.strip_suffix(&tail).unwrap_or(&event.text), repeats)
}

/// A fold while it is filled: its events, oldest first, with how often each happened.
struct Filling<'e> {
    id: i64,
    phase: Phase,
    first: u64,
    last: u64,
    list: Vec<(&'e EventView, u32)>,
}

/// How many rows back a repeat is looked for.
const REPEATS_WITHIN: usize = 8;

impl<'e> Filling<'e> {
    fn add(&mut self, event: &'e EventView) {
        self.last = event.at;
        let (text, repeats) = bare(event);
        // The row that sums up repeats comes after the one that it repeats.
        let same = |(earlier, _): &&mut (&EventView, u32)| earlier.kind == event.kind && bare(earlier).0 == text;
        match self.list.iter_mut().rev().take(REPEATS_WITHIN).find(same) {
            Some((shown, times)) => {
                *times = times.saturating_add(repeats.max(1));
                *shown = event;
            }
            None => self.list.push((event, repeats.saturating_add(1))),
        }
    }

    /// `now` is in Unix seconds.
    fn done(mut self, lang: Lang, now: u64, open: bool) -> Fold {
        self.list.sort_by_key(|(e, _)| (e.at, e.id));
        let mut shown = Vec::new();
        let entry = |(event, times): &(&EventView, u32)| {
            let mut entry = Entry::of(event, ago(lang, now, event.at / 1000));
            entry.text = clean(bare(event).0);
            entry.times = (*times > 1).then_some(*times);
            // Facts that an earlier packet had are not repeated.
            let facts = std::mem::take(&mut entry.facts);
            entry.facts = facts.iter().filter(|f| !shown.contains(*f)).cloned().collect();
            if !facts.is_empty() {
                shown = facts;
            }
            entry
        };
        let mut entries: Vec<Entry> = self.list.iter().map(entry).collect();
        entries.reverse();
        Fold {
            id: self.id,
            title: lang.t(self.phase.key()),
            iso: iso(self.first / 1000),
            ago: ago(lang, now, self.first / 1000),
            took: took(self.last.saturating_sub(self.first)),
            count: self.list.iter().map(|(_, times)| times).sum(),
            bad: self.list.iter().any(|(e, _)| e.kind.parse().is_ok_and(|k: EventKind| k.tone() == Tone::Bad)),
            open,
            entries,
        }
    }
}

/// Folds events that come oldest first. `now` is in Unix seconds.
pub(crate) fn folded(lang: Lang, events: &[EventView], now: u64) -> Vec<Fold> {
    let mut folds: Vec<Filling<'_>> = Vec::new();
    for event in condense(events) {
        let phase = Phase::of(&event.kind);
        match folds.last_mut().filter(|f| f.phase == phase) {
            Some(fold) => fold.add(event),
            None => {
                let mut fold = Filling { id: event.id, phase, first: event.at, last: event.at, list: Vec::new() };
                fold.add(event);
                folds.push(fold);
            }
        }
    }
    let count = folds.len();
    folds.into_iter().enumerate().map(|(n, fold)| fold.done(lang, now, n + 1 == count)).rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::PacketFacts;

    fn event(id: i64, kind: EventKind, text: &str, repeats: Option<u32>) -> EventView {
        let facts = repeats.map(|n| PacketFacts { repeats: Some(n), ..PacketFacts::default() });
        let at = u64::try_from(id).unwrap() * 1000;
        EventView { id, at, kind: kind.to_string(), text: text.into(), machine: Some(1), actor: None, facts }
    }

    #[test]
    fn phases_are_folded_newest_first_and_only_the_newest_is_open() {
        use EventKind as K;
        let events = [
            event(1, K::DhcpDiscover, "d", None),
            event(2, K::DhcpOffer, "o", None),
            event(3, K::DhcpDiscover, "d (3 more times)", Some(3)),
            event(4, K::EnrollmentPending, "waits", None),
            event(5, K::InstallBegan, "w", None),
            event(6, K::InstallProgress, "10 %", None),
            event(7, K::InstallProgress, "20 %", None),
            event(8, K::NodeBooted, "b", None),
            event(9, K::GateCheckFailed, "1 of 9 checks failed", None),
            event(10, K::GateCheckFailed, "1 of 9 checks failed", None),
            event(11, K::FabricReady, "f", None),
            event(70, K::NodeConverged, "c", None),
            event(71, K::PowerOff, "p", None),
        ];
        let folds = folded(Lang::En, &events, 100);
        let shown: Vec<_> = folds.iter().map(|f| (f.title.as_str(), f.count, f.bad, f.open)).collect();
        assert_eq!(
            shown,
            [
                ("Operation", 1, false, true),
                ("Role", 1, false, false),
                ("Boot from disk and fabric", 4, true, false),
                ("Installation", 2, false, false),
                ("Pairing", 1, false, false),
                ("Boot from the network", 5, false, false),
            ]
        );
        let boot = &folds[5];
        let entries: Vec<_> = boot.entries.iter().map(|e| (e.text.as_str(), e.times)).collect();
        assert_eq!(entries, [("d", Some(4)), ("o", None)], "the repeats are where the last of them was");
        assert_eq!((boot.took.as_str(), boot.iso.as_str()), ("2.0 s", "1970-01-01T00:00:01Z"));
        assert_eq!(folds[2].entries[1].times, Some(2));
        assert!(folded(Lang::En, &[], 1).is_empty());
    }
}
