//! `seedd event`: the event log.

use std::collections::HashMap;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use serde_json::Value;

use super::complete;
use super::output::{Column, Format, ListArgs, Shape, at, column, pause, plain};
use super::reach::SeedArgs;
use super::rows;
use crate::cli::args::{time_of, wrote};
use crate::remote::Remote;
use crate::terminal;

/// Time between two looks for new events, and events per answer.
const LOOK: Duration = Duration::from_secs(1);
const BATCH: u32 = 200;
/// Most events that can be listed: as many as the API gives in one answer.
const MAX: i64 = 500;

#[derive(Subcommand)]
pub enum Event {
    /// List the newest events
    #[command(
        visible_alias = "ls",
        after_long_help = "\
Examples:
  seedd event list -n 200 --kind enrollment.
  seedd event list --output json | jq -r '.events[].text'"
    )]
    List(List),
    /// Follow the event log: packets, decisions, enrollments
    ///
    /// One line per event: time (UTC), machine, kind, text. Ctrl-C ends it.
    #[command(after_long_help = "\
Examples:
  seedd event tail
  seedd event tail --kind dhcp. --kind tftp. -n 100")]
    Tail(Tail),
}

// Which events.
#[derive(Args)]
struct Which {
    /// Only kinds with this prefix: dhcp., tftp., enrollment., power., … (repeatable)
    #[arg(long, value_name = "PREFIX")]
    kind: Vec<String>,
    /// Only events of this machine: its number, MAC address, host name or serial number
    #[arg(long, add = complete::machines())]
    machine: Option<String>,
    /// Look at the last N events
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=MAX))]
    lines: u32,
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    seed: SeedArgs,
}

#[derive(Args)]
pub struct Tail {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    seed: SeedArgs,
}

/// Which events, with the machine's number.
struct Filter<'a> {
    kinds: &'a [String],
    machine: Option<i64>,
}

impl Filter<'_> {
    fn fits(&self, event: &Value) -> bool {
        let kind = event["kind"].as_str().unwrap_or_default();
        let known = self.kinds.is_empty() || self.kinds.iter().any(|prefix| kind.starts_with(prefix.as_str()));
        known && self.machine.is_none_or(|id| event["machine"].as_i64() == Some(id))
    }
}

impl Which {
    fn filter(&self, remote: &Remote) -> Result<Filter<'_>> {
        let machine = self.machine.as_deref().map(|typed| rows::machine(remote, typed)).transpose()?;
        Ok(Filter { kinds: &self.kind, machine: machine.map(|m| m.id) })
    }

    fn last(&self, remote: &Remote) -> Result<Vec<Value>> {
        remote.list(&format!("/api/v1/events/last?limit={}", self.lines), "events")
    }
}

fn time(event: &Value) -> String {
    let at = event["at"].as_u64().unwrap_or(0);
    time_of(at).map_or_else(|| at.to_string(), |t| format!("{t:.3}"))
}

const COLUMNS: &[Column] = &[
    column("ID", |r| at(r, "/id")),
    column("TIME", time),
    column("MACHINE", |r| at(r, "/machine")),
    column("KIND", |r| at(r, "/kind")),
    column("BY", |r| at(r, "/actor")),
    column("TEXT", |r| at(r, "/text")),
];

impl Event {
    pub fn run(&self) -> Result<()> {
        match self {
            Event::List(v) => {
                let remote = v.seed.connect()?;
                let filter = v.which.filter(&remote)?;
                let fetch =
                    || -> Result<Vec<Value>> { Ok(v.which.last(&remote)?.into_iter().filter(|e| filter.fits(e)).collect()) };
                v.list.list("events", COLUMNS, &fetch)
            }
            Event::Tail(v) => v.run(),
        }
    }
}

/// Names of machines by their number, as far as they were asked for.
#[derive(Default)]
struct Names(HashMap<i64, String>);

impl Names {
    /// The host name or MAC address of an event's machine.
    fn of(&mut self, remote: &Remote, event: &Value) -> String {
        let Some(id) = event["machine"].as_i64() else { return "-".to_owned() };
        if !self.0.contains_key(&id)
            && let Ok(all) = rows::machines(remote)
        {
            for row in &all {
                let name = at(row, "/enrollment/hostname");
                let name = if name.is_empty() { at(row, "/mac") } else { name };
                self.0.extend(row["id"].as_i64().map(|id| (id, name)));
            }
        }
        // One that is not listed any more is not asked for with each of its events.
        self.0.entry(id).or_insert_with(|| format!("machine {id}")).clone()
    }
}

impl Tail {
    fn run(&self) -> Result<()> {
        let remote = self.seed.connect()?;
        terminal::watch_signals()?;
        let (mut names, filter) = (Names::default(), self.which.filter(&remote)?);
        let mut events = self.which.last(&remote)?;
        let mut after = 0;
        while !terminal::stop_asked() {
            after = events.iter().filter_map(|e| e["id"].as_i64()).fold(after, i64::max);
            for event in events.iter().filter(|e| filter.fits(e)) {
                self.print(&remote, &mut names, event)?;
            }
            if events.len() < BATCH as usize {
                pause(LOOK);
            }
            events = remote.list(&format!("/api/v1/events?after={after}&limit={BATCH}"), "events")?;
        }
        Ok(())
    }

    fn print(&self, remote: &Remote, names: &mut Names, event: &Value) -> Result<()> {
        let line = match self.shape.format() {
            Format::Json => event.to_string(),
            Format::Yaml => format!("---\n{}", serde_saphyr::to_string(event).context("writing YAML")?.trim_end()),
            Format::Table | Format::Wide => line(event, &names.of(remote, event)),
        };
        let mut stdout = std::io::stdout().lock();
        wrote(writeln!(stdout, "{line}").and_then(|()| stdout.flush()))
    }
}

/// One event as text.
fn line(event: &Value, machine: &str) -> String {
    let actor = event["actor"].as_str().map(|a| format!(" (by {a})")).unwrap_or_default();
    plain(&format!("{}  {machine:17}  {:20}  {}{actor}", time(event), at(event, "/kind"), at(event, "/text")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_is_in_it() {
        let event =
            json!({"id": 1, "at": 1_795_377_600_123_u64, "kind": "dhcp.discover", "text": "asks\n\u{1b}[2J", "actor": "ada"});
        let line = line(&event, "52:54:00:ab:00:01");
        assert!(line.contains("  52:54:00:ab:00:01  dhcp.discover         asks") && line.ends_with(" (by ada)"), "{line}");
        assert!(!line.contains(|c: char| c.is_control()));
    }

    #[test]
    fn kinds_are_selected_by_their_beginning() {
        let event = json!({"kind": "dhcp.discover", "machine": 4});
        for (kinds, machine, fits) in [
            (&[][..], None, true),
            (&["tftp.", "dhcp."], None, true),
            (&["tftp."], None, false),
            (&["dhcp."], Some(4), true),
            (&[], Some(5), false),
        ] {
            let kinds: Vec<String> = kinds.iter().map(|k| (*k).to_owned()).collect();
            assert_eq!(Filter { kinds: &kinds, machine }.fits(&event), fits, "{kinds:?} {machine:?}");
        }
    }
}
