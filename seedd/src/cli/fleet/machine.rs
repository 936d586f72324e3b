//! `seedd machine`

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use cluster_seed::enrollment::EnrollmentState as State;
use serde_json::{Value, json};
use site::hint::Hint as _;

use super::approve::Approve;
use super::complete;
use super::output::{Column, ListArgs, Shape, age, at, column, facts, pause, wide};
use super::reach::SeedArgs;
use super::rows::{self, Enrollment};
use crate::remote::{Refused, Remote};
use crate::terminal;

/// Time between two looks while a machine is waited for.
const LOOK: Duration = Duration::from_secs(2);

#[derive(Subcommand)]
pub enum Machine {
    /// List the machines that the seed has seen
    #[command(
        visible_alias = "ls",
        after_long_help = "\
Examples:
  seedd machine list --selector state=pending
  seedd machine list --output wide --watch
  seedd machine list --output json | jq -r '.machines[].mac'"
    )]
    List(List),
    /// Show one machine: state, hardware, diagnosis
    Show(Show),
    /// Approve machines by the codes on their consoles
    ///
    /// The machine has to confirm the code, which takes a few seconds; the result of that is printed. With --file, each line has
    /// a code, a role, a name and a disk, separated by blanks; empty lines and lines that begin with # are left out. The lines
    /// are independent: one that is refused does not keep the others. Needs an unsealed seed.
    #[command(after_long_help = "\
Examples:
  seedd machine approve 12-597-850 --role base --name n7 --disk nvme0n1
  seedd machine approve --file rack-a.txt
  printf '12-597-850 base n7 vda\\n' | seedd machine approve --file -

Exit status:
  0  every machine confirmed its code
  1  some were refused, or did not confirm")]
    Approve(Approve),
    /// Deny the enrollments of a machine that wait for a decision
    Deny(Deny),
    /// Remove a machine that is not a node from the list, until it is seen again
    #[command(visible_alias = "rm")]
    Forget(Forget),
    /// Wait until a machine has reached a state
    #[command(after_long_help = "\
Examples:
  seedd machine wait 52:54:00:ab:00:01 --for pending
  seedd machine wait n7 --for converged --timeout 2h

Exit status:
  0  it has reached the state, or a later one
  1  it ended in another state, or the time is over")]
    Wait(Wait),
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    seed: SeedArgs,
}

#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    which: Named,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    seed: SeedArgs,
}

// One machine.
#[derive(Args)]
struct Named {
    /// Number, MAC address, host name or serial number of the machine
    #[arg(add = complete::machines())]
    machine: String,
}

#[derive(Args)]
pub struct Deny {
    #[command(flatten)]
    which: Named,
    /// Reason, for the event log
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    seed: SeedArgs,
}

#[derive(Args)]
pub struct Forget {
    #[command(flatten)]
    which: Named,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    seed: SeedArgs,
}

#[derive(Args)]
pub struct Wait {
    #[command(flatten)]
    which: Named,
    /// State to wait for: pending, approved, installed, fabricready, converged, …
    #[arg(long = "for", value_name = "STATE", value_parser = state)]
    wanted: State,
    /// Time after which it is given up: a number with m, h or d
    #[arg(long, default_value = "1h", value_name = "TIME", value_parser = super::super::token::seconds)]
    timeout: u64,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    seed: SeedArgs,
}

/// A state by its name in any case.
fn state(text: &str) -> Result<State, String> {
    let found = State::ALL.iter().find(|s| s.as_str().eq_ignore_ascii_case(text));
    let names = || State::ALL.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(", ");
    found.copied().ok_or_else(|| format!("no such state; states are {}", names()))
}

fn state_of(row: &Value) -> String {
    let told = at(row, "/enrollment/state");
    if told.is_empty() { "Seen".to_owned() } else { told }
}

/// The part of the code that is public: the rest is on the machine's console only.
fn code(row: &Value) -> String {
    let number = at(row, "/enrollment/number");
    if number.is_empty() { number } else { format!("{number}-…") }
}

const COLUMNS: &[Column] = &[
    column("ID", |r| at(r, "/id")),
    column("NAME", |r| at(r, "/enrollment/hostname")),
    column("STATE", state_of),
    column("ROLE", |r| at(r, "/enrollment/role")),
    column("CODE", code),
    column("MAC", |r| at(r, "/mac")),
    column("IP", |r| at(r, "/ip")),
    column("SEEN", |r| age(r, "/lastSeen")),
    wide("MODEL", |r| at(r, "/model")),
    wide("SERIAL", |r| at(r, "/serial")),
    wide("FIRST-SEEN", |r| age(r, "/firstSeen")),
    wide("REASON", |r| at(r, "/enrollment/reason")),
];

impl Machine {
    pub fn run(&self) -> Result<()> {
        match self {
            Machine::List(v) => v.run(),
            Machine::Show(v) => v.run(),
            Machine::Approve(v) => v.run(),
            Machine::Deny(v) => v.run(),
            Machine::Forget(v) => v.run(),
            Machine::Wait(v) => v.run(),
        }
    }
}

impl List {
    fn run(&self) -> Result<()> {
        let remote = self.seed.connect()?;
        self.list.list("machines", COLUMNS, &|| rows::machines(&remote))
    }
}

fn detail(remote: &Remote, id: i64) -> Result<Value> {
    remote.get(&format!("/api/v1/machines/{id}"))
}

impl Show {
    fn run(&self) -> Result<()> {
        let remote = self.seed.connect()?;
        let shown = detail(&remote, rows::machine(&remote, &self.which.machine)?.id)?;
        self.shape.show(&shown, &text(&shown))
    }
}

/// A machine for people.
fn text(machine: &Value) -> String {
    let row = &machine["row"];
    let list = |pointer: &str| machine.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut pairs = vec![
        ("id", at(row, "/id")),
        ("name", at(row, "/enrollment/hostname")),
        ("state", state_of(row)),
        ("role", at(row, "/enrollment/role")),
        ("code", code(row)),
        ("reason", at(row, "/enrollment/reason")),
        ("mac", at(row, "/mac")),
        ("ip", at(row, "/ip")),
        ("model", at(row, "/model")),
        ("serial", at(machine, "/facts/serial")),
        ("cpu", at(machine, "/facts/cpu")),
        (
            "memory",
            Some(at(machine, "/facts/memory_mib")).filter(|m| !m.is_empty()).map_or_else(String::new, |m| format!("{m} MiB")),
        ),
        ("seen", age(row, "/lastSeen")),
    ];
    let disk = |d: &Value| format!("{} {} bytes {} {}", at(d, "/name"), at(d, "/size"), at(d, "/model"), at(d, "/serial"));
    pairs.extend(list("/facts/disks").iter().map(|d| ("disk", disk(d).trim_end().to_owned())));
    let address = |a: &Value| format!("{} {}", at(a, "/0"), at(a, "/1"));
    pairs.extend(
        row.pointer("/enrollment/addresses").and_then(Value::as_array).into_iter().flatten().map(|a| ("plane", address(a))),
    );
    let finding = |f: &Value| format!("{} {}", at(f, "/what"), at(f, "/advice"));
    pairs.extend(list("/diagnosis").iter().map(|f| ("diagnosis", finding(f).trim_end().to_owned())));
    facts(&pairs)
}

impl Deny {
    fn run(&self) -> Result<()> {
        let remote = self.seed.connect()?;
        let machine = rows::machine(&remote, &self.which.machine)?;
        let shown = detail(&remote, machine.id)?;
        let waiting: Vec<Value> = shown["waiting"].as_array().cloned().unwrap_or_default();
        let waiting = waiting.into_iter().map(|w| rows::read(w["enrollment"].clone())).collect::<Result<Vec<Enrollment>>>()?;
        if waiting.is_empty() {
            return Err(anyhow!("no enrollment of {} waits for a decision", self.which.machine))
                .hint("a node is removed with `seedd node revoke`");
        }
        for enrollment in &waiting {
            remote.post(&format!("/api/v1/enrollments/{}/deny", enrollment.id), &json!({ "reason": self.reason }))?;
        }
        let ids: Vec<&str> = waiting.iter().map(|e| e.id.as_str()).collect();
        self.shape.show(&json!({ "denied": ids }), &format!("{} denied", self.which.machine))
    }
}

impl Forget {
    fn run(&self) -> Result<()> {
        let remote = self.seed.connect()?;
        let machine = rows::machine(&remote, &self.which.machine)?;
        let answer = remote.delete(&format!("/api/v1/machines/{}", machine.id))?;
        self.shape.show(&answer, &format!("{} forgotten", self.which.machine))
    }
}

/// How far a state is on the way of a machine; `None` for those that end it.
fn stage(state: State) -> Option<usize> {
    let at = State::ALL.iter().position(|s| *s == state)?;
    (!state.is_final()).then_some(at)
}

impl Wait {
    fn run(&self) -> Result<()> {
        terminal::watch_signals()?;
        let remote = self.seed.connect()?;
        let clock = host::clock::Stopwatch::start();
        let mut last = String::from("not seen yet");
        loop {
            // A machine that has not been seen may still come.
            let found = rows::machine(&remote, &self.which.machine);
            let refused = |e: &anyhow::Error| e.downcast_ref::<Refused>().is_some_and(|r| matches!(r.status, 401 | 403));
            if let Err(error) = &found
                && refused(error)
            {
                return found.map(drop);
            }
            if let Ok(machine) = found {
                last = machine.enrollment.map_or_else(|| "Seen".to_owned(), |e| e.state);
                match self.judge(&last) {
                    Some(true) => return self.shape.show(&json!({ "machine": self.which.machine, "state": last }), &last),
                    Some(false) => bail!("{} is {last}", self.which.machine),
                    None => {}
                }
            }
            if terminal::stop_asked() {
                bail!("stopped waiting; {} is {last}", self.which.machine);
            }
            if clock.elapsed().as_secs() >= self.timeout {
                bail!("the time is over; {} is {last}", self.which.machine);
            }
            pause(LOOK);
        }
    }

    /// Whether the waiting is over, and well.
    fn judge(&self, told: &str) -> Option<bool> {
        // A state of a newer seed is none of ours.
        let now: State = told.parse().ok()?;
        if now == self.wanted {
            return Some(true);
        }
        match (stage(now), stage(self.wanted)) {
            (Some(now), Some(wanted)) if now >= wanted => Some(true),
            (None, Some(_)) => Some(false),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(wanted: &str) -> Wait {
        let shape = Shape { output: super::super::output::Format::Table, json: false };
        let which = Named { machine: "n7".into() };
        Wait { which, wanted: state(wanted).unwrap(), timeout: 1, shape, seed: SeedArgs::default() }
    }

    #[test]
    fn a_later_state_is_as_good_and_an_end_is_not() {
        for (wanted, told, verdict) in [
            ("pending", "Discovered", None),
            ("pending", "Pending", Some(true)),
            ("installed", "Converged", Some(true)),
            ("converged", "FabricReady", None),
            ("converged", "Failed", Some(false)),
            ("failed", "Failed", Some(true)),
            ("denied", "Pending", None),
            ("converged", "Seen", None),
            ("converged", "Elsewhere", None),
        ] {
            assert_eq!(wait(wanted).judge(told), verdict, "{wanted} {told}");
        }
        assert!(state("ready").unwrap_err().contains("FabricReady"));
    }

    #[test]
    fn a_machine_is_shown_without_what_is_not_known() {
        let machine = json!({
            "row": {"id": 2, "mac": "52:54:00:ab:00:02", "ip": null, "model": "", "lastSeen": 0,
                    "enrollment": {"state": "Pending", "number": 12, "hostname": null, "role": null, "reason": null, "addresses": []}},
            "facts": {"serial": "SN\u{1b}1", "memory_mib": 1024, "disks": [{"name": "vda", "size": 8, "model": "m", "serial": ""}]},
            "diagnosis": [{"what": "It waits.", "advice": "Approve it."}],
        });
        let shown = text(&machine);
        for line in
            ["state      Pending", "code       12-…", "serial     SN\u{fffd}1", "memory     1024 MiB", "disk       vda 8 bytes m"]
        {
            assert!(shown.lines().any(|l| l == line), "{line} in\n{shown}");
        }
        assert!(shown.ends_with("diagnosis  It waits. Approve it.") && !shown.contains("role"), "{shown}");
    }
}
