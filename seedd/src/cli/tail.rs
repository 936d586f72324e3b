//! `seedd tail` and `seedd recorder`: the event log as it grows, and a machine's packets.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use cluster_seed::ids::Mac;
use serde_json::Value;

use super::Where;
use crate::terminal;
use appliance::control::SiteRequest;
use appliance::control::{Request, ask};
use host::files::write_atomic;
use site::hint::Hint as _;

/// Between two looks at the log.
const LOOK: Duration = Duration::from_millis(300);
/// Events asked for at a time.
const BATCH: u32 = 200;

#[derive(Args)]
pub struct Tail {
    #[command(flatten)]
    place: Where,
    /// Only this machine, by its MAC address
    #[arg(long)]
    mac: Option<Mac>,
    /// Only kinds that begin so: dhcp., tftp., enrollment., power. ...; may be given several times
    #[arg(long, value_name = "PREFIX")]
    kind: Vec<String>,
    /// Begin with the last N events
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    lines: u32,
    /// Print what is there and end
    #[arg(long)]
    once: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Tail {
    pub fn run(&self) -> Result<()> {
        let socket = self.place.site().control_socket();
        terminal::watch_signals()?;
        // The last lines first: without a number to begin with, the daemon counts back.
        let mut after = None;
        let mut stdout = std::io::stdout().lock();
        loop {
            let what = SiteRequest::Events { after, back: self.lines, limit: BATCH, mac: self.mac, kinds: self.kind.clone() };
            let answer = ask(&socket, &Request::Site { ask: what })?;
            let events = answer["events"].as_array().map_or(&[][..], Vec::as_slice);
            for event in events {
                let written = writeln!(stdout, "{}", if self.json { event.to_string() } else { line(event) });
                match written.and_then(|()| stdout.flush()) {
                    // Whoever reads has enough.
                    Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
                    other => other.context("writing events")?,
                }
            }
            after = Some(answer["next"].as_i64().context("reading the daemon's answer")?);
            if terminal::stop_asked() || self.once && answer["more"] != true {
                return Ok(());
            }
            if answer["more"] != true {
                std::thread::sleep(LOOK);
            }
        }
    }
}

/// One event for people. Texts come from the wire and were tamed where they came in; what is left of control characters
/// must not reach a terminal.
fn line(event: &Value) -> String {
    let ms = event["at"].as_i64().unwrap_or_default();
    let time = jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |t| format!("{t:.3}"));
    let mac = event["mac"].as_str().unwrap_or("-");
    let actor = event["actor"].as_str().map(|a| format!(" (by {a})")).unwrap_or_default();
    let kind = event["kind"].as_str().unwrap_or_default();
    let text = format!("{time}  {mac:17}  {kind:20}  {}{actor}", event["text"].as_str().unwrap_or_default());
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// What the flight recorder keeps
#[derive(Subcommand)]
pub enum Recorder {
    /// A machine's last packets as a pcapng file, for Wireshark
    Export(Export),
}

#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    place: Where,
    /// The machine's MAC address
    mac: Mac,
    /// The file to write; without it, to standard output
    #[arg(short, long, value_name = "FILE")]
    out: Option<Utf8PathBuf>,
}

impl Recorder {
    pub fn run(&self) -> Result<()> {
        let Recorder::Export(v) = self;
        let answer = ask(&v.place.site().control_socket(), &Request::Site { ask: SiteRequest::Packets { mac: v.mac } })?;
        let bytes = B64.decode(answer["pcapng"].as_str().unwrap_or_default()).context("reading the daemon's answer")?;
        let count = answer["packets"].as_u64().unwrap_or(0);
        if count == 0 {
            return Err(anyhow!("no packets of {} are kept", v.mac))
                .hint("only packets since the daemon's start are; `seedd tail` shows which machines it hears");
        }
        match &v.out {
            Some(path) => {
                write_atomic(path, &bytes, 0o644)?;
                eprintln!("seedd: {count} packets in {path}");
                Ok(())
            }
            None if std::io::stdout().is_terminal() => {
                Err(anyhow!("packets are not for a terminal")).hint("give a file with --out, or pipe it: … | tshark -r -")
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
        let event = serde_json::json!({
            "at": 1_795_377_600_123_i64, "mac": "52:54:00:ab:00:01", "kind": "dhcp.discover",
            "text": "asks\n\u{1b}[2Jfor an address", "actor": "ada",
        });
        let line = line(&event);
        assert!(line.contains("52:54:00:ab:00:01  dhcp.discover") && line.ends_with("for an address (by ada)"), "{line}");
        assert!(!line.contains(|c: char| c.is_control()));
    }
}
