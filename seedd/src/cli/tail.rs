//! `seedd tail` and `seedd recorder`: the event log as it grows, and a machine's packets.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use appliance::control::answer::{Event, Packets};
use appliance::control::{Client, EventQuery};
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use cluster_seed::ids::Mac;
use host::files::write_atomic;
use site::hint::Hint as _;

use super::args::{DataDir, time_of};
use crate::terminal;

/// Time between two polls.
const POLL: Duration = Duration::from_millis(300);
/// Events per request.
const BATCH: u32 = 200;

#[derive(Args)]
pub struct Tail {
    #[command(flatten)]
    args: DataDir,
    /// Only events of this machine, by its MAC address
    #[arg(long)]
    mac: Option<Mac>,
    /// Only kinds with this prefix: dhcp., tftp., enrollment., power., … (repeatable)
    #[arg(long, value_name = "PREFIX")]
    kind: Vec<String>,
    /// Start with the last N events
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    lines: u32,
    /// Print existing events and exit
    #[arg(long)]
    once: bool,
    /// Output JSON, one object per line
    #[arg(long)]
    json: bool,
}

impl Tail {
    pub fn run(&self) -> Result<()> {
        let daemon = Client::new(&self.args.site().control_socket());
        terminal::watch_signals()?;
        // Without `after` the daemon starts with the last events.
        let mut after = None;
        let mut stdout = std::io::stdout().lock();
        loop {
            let kinds = self.kind.clone();
            let page = daemon.events(EventQuery { after, back: self.lines, limit: BATCH, mac: self.mac, kinds })?;
            for event in &page.events {
                let line = if self.json { serde_json::to_value(event)?.to_string() } else { line(event) };
                let written = writeln!(stdout, "{line}");
                match written.and_then(|()| stdout.flush()) {
                    // The reader has closed the pipe.
                    Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
                    other => other.context("writing events")?,
                }
            }
            after = Some(page.next);
            if terminal::stop_asked() || self.once && !page.more {
                return Ok(());
            }
            if !page.more {
                std::thread::sleep(POLL);
            }
        }
    }
}

/// One event as text. Texts from the wire were cleaned where they came in; this is the last guard against control characters.
fn line(event: &Event) -> String {
    let time = time_of(event.at).map_or_else(|| event.at.to_string(), |t| format!("{t:.3}"));
    let mac = event.mac.map_or_else(|| "-".to_owned(), |m| m.to_string());
    let actor = event.actor.as_ref().map(|a| format!(" (by {a})")).unwrap_or_default();
    let text = format!("{time}  {mac:17}  {:20}  {}{actor}", event.kind, event.text);
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[derive(Subcommand)]
pub enum Recorder {
    /// Export a machine's last packets as a pcapng file, for Wireshark
    ///
    /// The recorder keeps packets in memory, and only since the daemon started.
    #[command(after_long_help = "\
Examples:
  seedd recorder export 52:54:00:ab:00:01 --out boot.pcapng
  seedd recorder export 52:54:00:ab:00:01 | tshark -r -")]
    Export(Export),
}

#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    args: DataDir,
    /// MAC address of the machine
    mac: Mac,
    /// File to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    out: Option<Utf8PathBuf>,
}

impl Recorder {
    pub fn run(&self) -> Result<()> {
        let Recorder::Export(v) = self;
        let Packets { packets: count, pcapng: bytes } = Client::new(&v.args.site().control_socket()).packets(v.mac)?;
        if count == 0 {
            return Err(anyhow!("no packets of {} are recorded", v.mac))
                .hint("the recorder starts empty with the daemon; `seedd tail` shows the machines on the network");
        }
        match &v.out {
            Some(path) => {
                write_atomic(path, &bytes, 0o644)?;
                eprintln!("seedd: {count} packets written to {path}");
                Ok(())
            }
            None if std::io::stdout().is_terminal() => {
                Err(anyhow!("not writing packets to a terminal")).hint("use --out, or pipe the output: … | tshark -r -")
            }
            None => std::io::stdout().lock().write_all(&bytes).context("writing packets"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_is_in_it() {
        let event = Event {
            id: 1,
            at: 1_795_377_600_123,
            kind: "dhcp.discover".to_owned(),
            text: "asks\n\u{1b}[2Jfor an address".to_owned(),
            machine: None,
            mac: Some("52:54:00:ab:00:01".parse().unwrap()),
            actor: Some("ada".to_owned()),
            facts: None,
        };
        let line = line(&event);
        assert!(line.contains("52:54:00:ab:00:01  dhcp.discover") && line.ends_with("for an address (by ada)"), "{line}");
        assert!(!line.contains(|c: char| c.is_control()));
    }
}
