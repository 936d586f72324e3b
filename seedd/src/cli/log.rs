//! `seedd log`

use anyhow::{Context as _, Result, bail};
use appliance::control::Client;
use appliance::control::answer::LogSigned;
use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use site::store::StoreError;
use site::store::audit::AuditFilter;
use site::{hint, seed_hostname, syslog};

use super::args::{DataDir, SiteArgs};

/// Rows read from the database at a time.
const PAGE: u32 = 1_000;

#[derive(Subcommand)]
pub enum Log {
    /// Write the event log as JSON lines, followed by its signed checkpoints, or as lines of syslog
    ///
    /// The seed keeps the newest 400,000 to 500,000 events. Older ones are deleted behind a signed checkpoint; export the log
    /// before that if it has to be kept longer. Checkpoints are written only if the export has every event.
    #[command(after_long_help = "\
Examples:
  seedd log export --out /mnt/events.jsonl
  seedd log export --after 120000 > new.jsonl
  seedd log export --kind login --since 2026-11-01T00:00:00Z --format syslog")]
    Export(Box<Export>),
    /// Check the hash chain of the event log and every signed checkpoint
    #[command(after_long_help = "\
Exit status:
  0  the log is complete and unchanged
  1  a row or a checkpoint does not fit")]
    Verify(Verify),
    /// Have the running seed sign the event log as it is now
    ///
    /// An unsealed seed signs a checkpoint every hour by itself. A checkpoint reveals a change of the events before it, even if
    /// all hashes were computed again.
    Checkpoint(Checkpoint),
}

/// Format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// JSON objects, with everything that the hashes cover
    Jsonl,
    /// RFC 5424
    Syslog,
}

#[derive(Args)]
pub struct Export {
    /// Export only events after this number
    #[arg(long, default_value_t = 0, value_name = "EVENT")]
    after: i64,
    /// Export only events of this kind, or of this family of kinds: login.failed, login, enrollment, …
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Export only what this user did
    #[arg(long, value_name = "USER")]
    actor: Option<String>,
    /// Export only events since this time, in UTC
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<u64>,
    /// Export only events until this time, in UTC
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<u64>,
    /// Format of the lines
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<Utf8PathBuf>,
    #[command(flatten)]
    args: DataDir,
}

#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    args: SiteArgs,
}

#[derive(Args)]
pub struct Checkpoint {
    #[command(flatten)]
    args: SiteArgs,
}

fn time(text: &str) -> Result<u64, String> {
    web::dates::parse_time(text).ok_or_else(|| "write it as 2026-11-22T19:54:05Z".to_owned())
}

impl Log {
    pub fn run(&self) -> Result<()> {
        match self {
            Log::Export(v) => v.run(),
            Log::Verify(v) => v.run(),
            Log::Checkpoint(v) => v.run(),
        }
    }
}

impl Export {
    fn run(&self) -> Result<()> {
        match &self.out {
            Some(path) => self.write_to(path),
            None => self.write(&mut std::io::stdout().lock()),
        }
    }

    /// Under a temporary name until it is complete.
    fn write_to(&self, path: &Utf8Path) -> Result<()> {
        let part = Utf8PathBuf::from(format!("{path}.part"));
        let done = host::files::open(&part, host::files::Start::Empty, host::files::PRIVATE)
            .with_context(|| format!("creating {part}"))
            .and_then(|file| {
                let mut out = std::io::BufWriter::new(file);
                self.write(&mut out)?;
                out.get_ref().sync_all().with_context(|| format!("writing {part}"))?;
                std::fs::rename(&part, path).with_context(|| format!("renaming {part}"))
            });
        if done.is_err() {
            let _ = std::fs::remove_file(&part);
        }
        done
    }

    fn filter(&self) -> AuditFilter {
        let Export { kind, actor, since, until, .. } = self;
        AuditFilter { kind: kind.clone(), actor: actor.clone(), since: *since, until: *until, ..AuditFilter::default() }
    }

    fn write(&self, out: &mut impl std::io::Write) -> Result<()> {
        let site = self.args.site();
        let store = site.open_store()?;
        let host = match self.format {
            Format::Syslog => seed_hostname(&site.spec()?)?.to_string(),
            Format::Jsonl => String::new(),
        };
        let (filter, mut after) = (self.filter(), Some(self.after.max(0)));
        while let Some(from) = after {
            let found = store.read(|tx| tx.audit_rows(&filter, from, PAGE))?;
            after = found.next;
            for row in &found.rows {
                let line = match self.format {
                    Format::Jsonl => serde_json::to_string(row).context("encoding an event")?,
                    Format::Syslog => syslog::line(row, &host),
                };
                writeln!(out, "{line}").context("writing an event")?;
            }
        }
        if self.format == Format::Jsonl && filter == AuditFilter::default() {
            for sealed in store.read(|tx| tx.checkpoints())? {
                writeln!(out, "{}", json!({ "checkpoint": sealed })).context("writing a checkpoint")?;
            }
        }
        out.flush().context("writing the log")
    }
}

impl Checkpoint {
    fn run(&self) -> Result<()> {
        let LogSigned { event, hash } = Client::new(&self.args.site().control_socket()).sign_log()?;
        self.args.show(&json!({ "event": event, "hash": hash }), &format!("signed: events up to {event}, hash {hash}"))
    }
}

impl Verify {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        let key = site.keys().public()?.site_key()?;
        let store = site.open_store()?;
        let (row, checkpoint, rows, (newest, checkpoints)) = store.read(|tx| {
            Ok::<_, StoreError>((tx.broken_event()?, tx.broken_checkpoint(&key)?, tx.log_rows()?, tx.newest_checkpoint()?))
        })?;
        let newest = newest.and_then(|sealed| sealed.open(&key).ok()).map(|c| c.event);
        let covered = newest.map_or_else(String::new, |event| format!("; the newest covers event {event}"));
        let text = format!("{rows} events and {checkpoints} signed checkpoints, all unchanged{covered}");
        let value = json!({ "events": rows, "checkpoints": checkpoints, "covered": newest, "intact": true });
        match (row, checkpoint) {
            (None, None) => self.args.show(&value, &text),
            (Some(event), _) => Err(hint::with(
                anyhow::anyhow!("event {event} does not fit the hash chain"),
                "the database was modified; compare it with the last capsule or export",
            )),
            (None, Some(event)) => bail!("the log does not match the signed checkpoint at event {event}"),
        }
    }
}
