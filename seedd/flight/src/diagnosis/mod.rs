//! "Why did it not boot?": a diagnosis of a machine's timeline in plain words.
//!
//! Pure: takes rows of the event log and the time, returns findings. A rule examines one attempt to boot, which begins with the
//! firmware's first request. All rules are listed with their names in `RULES`, and each has a test of that name.

mod attempt;
mod rules_agent;
mod rules_dhcp;
mod rules_loader;

use site::store::events::EventRow;

use attempt::Attempt;

/// One result of the diagnosis, written for the operator of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stable name of the rule.
    pub rule: &'static str,
    pub tone: Tone,
    /// What happened.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Nothing is wrong.
    Good,
    /// The machine waits for a person, or will continue without one.
    Wait,
    /// The reason why it does not boot.
    Bad,
}

/// Maximum number of findings shown; the first is the most useful.
const MAX_FINDINGS: usize = 3;

type Rule = (&'static str, fn(&Attempt<'_>) -> Option<Say>);

/// The result of a rule.
struct Say {
    tone: Tone,
    what: String,
    advice: String,
}

fn bad(what: impl Into<String>, advice: &str) -> Option<Say> {
    Some(Say { tone: Tone::Bad, what: what.into(), advice: advice.to_owned() })
}

fn wait(what: impl Into<String>, advice: &str) -> Option<Say> {
    Some(Say { tone: Tone::Wait, what: what.into(), advice: advice.to_owned() })
}

fn good(what: impl Into<String>, advice: &str) -> Option<Say> {
    Some(Say { tone: Tone::Good, what: what.into(), advice: advice.to_owned() })
}

/// All rules, in the order in which their findings are shown.
const RULES: &[Rule] = &[
    ("other_server_first", rules_dhcp::other_server_first),
    ("pool_exhausted", rules_dhcp::pool_exhausted),
    ("leases_not_saved", rules_dhcp::leases_not_saved),
    ("replies_not_sent", rules_dhcp::replies_not_sent),
    ("no_loader_for_arch", rules_dhcp::no_loader_for_arch),
    ("unknown_relay", rules_dhcp::unknown_relay),
    ("broken_packets", rules_dhcp::broken_packets),
    ("not_ethernet", rules_dhcp::not_ethernet),
    ("address_in_use", rules_dhcp::address_in_use),
    ("moved_network", rules_dhcp::moved_network),
    ("offers_not_taken", rules_dhcp::offers_not_taken),
    ("ack_not_heard", rules_dhcp::ack_not_heard),
    ("kept_silent", rules_dhcp::kept_silent),
    ("wrong_file_name", rules_loader::wrong_file_name),
    ("request_refused", rules_loader::request_refused),
    ("loader_never_fetched", rules_loader::loader_never_fetched),
    ("http_loader_never_fetched", rules_loader::http_loader_never_fetched),
    ("size_probe_then_silence", rules_loader::size_probe_then_silence),
    ("transfer_never_began", rules_loader::transfer_never_began),
    ("transfer_broke_off", rules_loader::transfer_broke_off),
    ("loader_loop", rules_loader::loader_loop),
    ("loader_does_not_run", rules_loader::loader_does_not_run),
    ("script_never_fetched", rules_loader::script_never_fetched),
    ("no_netboot_image", rules_agent::no_netboot_image),
    ("kernel_never_fetched", rules_agent::kernel_never_fetched),
    ("agent_never_called", rules_agent::agent_never_called),
    ("disk_does_not_boot", rules_agent::disk_does_not_boot),
    ("gave_up", rules_agent::gave_up),
    ("install_stands_still", rules_agent::install_stands_still),
    ("wrong_code", rules_agent::wrong_code),
    ("waits_for_approval", rules_agent::waits_for_approval),
    ("not_a_network_boot", rules_dhcp::not_a_network_boot),
    ("other_server_here", rules_dhcp::other_server_here),
    ("works", rules_agent::works),
];

/// The findings of `timeline` (oldest first) at `now`, in Unix milliseconds: of the last attempt, or, if that has no findings
/// yet, of the one before.
pub fn diagnose(timeline: &[EventRow], now: u64) -> Vec<Finding> {
    let starts = attempt::starts(timeline);
    let mut end = (timeline.len(), now);
    for start in starts.into_iter().rev().take(2) {
        let findings = of(&Attempt::new(timeline, start, end.0, end.1));
        if !findings.is_empty() {
            return findings;
        }
        // The previous attempt ended when this one began.
        end = (start, timeline.get(start).map_or(now, |e| e.at));
    }
    Vec::new()
}

fn of(attempt: &Attempt<'_>) -> Vec<Finding> {
    let said = RULES.iter().filter_map(|(rule, ask)| {
        let Say { tone, what, advice } = ask(attempt)?;
        Some(Finding { rule, tone, what, advice })
    });
    said.take(MAX_FINDINGS).collect()
}

/// The names of all rules, for the documentation and its test.
pub fn rule_names() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests;
