//! `seedd log`

use anyhow::{Context as _, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, Subcommand};
use serde_json::json;
use site::hint;
use site::store::StoreError;

use super::args::{DataDir, SiteArgs};

/// Rows read from the database at a time.
const PAGE: u32 = 1_000;

#[derive(Subcommand)]
pub enum Log {
    /// Write the event log as JSON lines, followed by its signed checkpoints
    ///
    /// The seed keeps the newest 400,000 to 500,000 events. Older ones are deleted behind a signed checkpoint; export the log
    /// before that if it has to be kept longer.
    #[command(after_long_help = "\
Examples:
  seedd log export --out /mnt/events.jsonl
  seedd log export --after 120000 > new.jsonl")]
    Export(Export),
    /// Check the hash chain of the event log and every signed checkpoint
    #[command(after_long_help = "\
Exit status:
  0  the log is complete and unchanged
  1  a row or a checkpoint does not fit")]
    Verify(Verify),
}

#[derive(Args)]
pub struct Export {
    /// Export only events after this number
    #[arg(long, default_value_t = 0, value_name = "EVENT")]
    after: i64,
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

impl Log {
    pub fn run(&self) -> Result<()> {
        match self {
            Log::Export(v) => v.run(),
            Log::Verify(v) => v.run(),
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

    fn write(&self, out: &mut impl std::io::Write) -> Result<()> {
        let store = self.args.site().open_store()?;
        let mut after = self.after.max(0);
        loop {
            let rows = store.read(|tx| tx.chained_rows(after, PAGE))?;
            let Some(last) = rows.last() else { break };
            after = last.id;
            for row in &rows {
                serde_json::to_writer(&mut *out, row).context("writing an event")?;
                out.write_all(b"\n").context("writing an event")?;
            }
        }
        for sealed in store.read(|tx| tx.checkpoints())? {
            serde_json::to_writer(&mut *out, &json!({ "checkpoint": sealed })).context("writing a checkpoint")?;
            out.write_all(b"\n").context("writing a checkpoint")?;
        }
        out.flush().context("writing the log")
    }
}

impl Verify {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        let key = site.keys().public()?.site_key()?;
        let store = site.open_store()?;
        let (row, checkpoint, rows, checkpoints) = store.read(|tx| {
            let checkpoints = tx.checkpoints()?.len();
            Ok::<_, StoreError>((tx.broken_event()?, tx.broken_checkpoint(&key)?, tx.log_rows()?, checkpoints))
        })?;
        let text = format!("{rows} events and {checkpoints} signed checkpoints, all unchanged");
        match (row, checkpoint) {
            (None, None) => self.args.show(&json!({ "events": rows, "checkpoints": checkpoints, "intact": true }), &text),
            (Some(event), _) => Err(hint::with(
                anyhow::anyhow!("event {event} does not fit the hash chain"),
                "the database was modified; compare it with the last capsule or export",
            )),
            (None, Some(event)) => bail!("the log does not match the signed checkpoint at event {event}"),
        }
    }
}
