//! `seedd export` and `seedd capsule`

use anyhow::{Context as _, Result};
use appliance::control::Note;
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use cluster_seed::capsule::{CapsuleHeader, CapsuleManifest, Table};
use host::clock::now_ms;
use site::Site;
use transfer::capsule::export::Export as Job;
use transfer::capsule::pieces::Discard;
use transfer::capsule::read::Clear;
use transfer::capsule::records::since_id;

use super::args::{PassphraseSource, SiteArgs, pin, show, size};
use super::running;
use crate::terminal::{Terminal, amount, watch_signals};

#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    args: SiteArgs,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Operator's age recipient of the other site; `seedd status` there shows it
    #[arg(long, value_name = "age1…")]
    recipient: String,
    /// Omit blobs of this earlier capsule: its file, id or manifest
    #[arg(long, value_name = "CAPSULE")]
    since: Option<String>,
    /// Omit blobs already on the seed medium that both seeds boot
    #[arg(long)]
    same_medium: bool,
    /// Split into FILE.001, FILE.002, … of at most this size in bytes (or with K, M, G)
    #[arg(long, value_name = "SIZE", value_parser = size)]
    split_size: Option<u64>,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: Utf8PathBuf,
}

impl Export {
    pub fn run(&self) -> Result<()> {
        watch_signals()?;
        let site = self.args.site();
        let store = site.open_store()?;
        let since = self.since.as_deref().map(since_id).transpose()?;
        let operator = site.keys().operator(&self.passphrase.get("Passphrase of this site")?)?;
        let keys = site.keys().unseal_with(&operator)?;
        let on_start = || running::note(&self.args.dir, &store, &Note::Exporting { recipient: self.recipient.clone() });
        let job = Job {
            site: &site,
            operator: &operator,
            site_key: &keys.site,
            recipient: &self.recipient,
            since,
            same_medium: self.same_medium,
            split: self.split_size,
            out: &self.out,
            now_ms: now_ms(),
            on_start: &on_start,
        };
        let progress = Terminal::new();
        let done = job.run(&progress).context("exporting the site")?;
        drop(progress);
        let value = serde_json::json!({
            "id": done.id, "files": done.files, "bytes": done.bytes, "stored": done.stored,
            "blobs": done.blobs, "leftOut": done.left_out, "resumed": done.resumed,
        });
        let files: Vec<&str> = done.files.iter().map(|f| f.as_str()).collect();
        let pin = site.keys().public()?.site;
        let mut text = format!("capsule {}\n  file      {}", done.id, files.join(" "));
        text.push_str(&format!("\n  size      {}, {} blobs", amount(done.stored), done.blobs));
        if since.is_some() || self.same_medium {
            text.push_str(&format!(", {} omitted", done.left_out));
        }
        text.push_str(&format!("\n  next      on the other seed: seedd import FILE --pin {pin}"));
        self.args.show(&value, &text)
    }
}

#[derive(Subcommand)]
pub enum Capsule {
    /// Show a capsule's header, and its contents with --data
    #[command(after_long_help = "\
Example:
  seedd capsule show /mnt/site-a.capsule --pin 0123…cdef")]
    Show(Look),
    /// Verify a capsule's header and structure, and every byte with --data
    ///
    /// A capsule is encrypted to one site. Only that site's passphrase opens it: name its data directory with --data.
    #[command(after_long_help = "\
Example:
  seedd capsule verify /mnt/site-a.capsule --pin 0123…cdef --data /var/lib/kubedos-seed")]
    Verify(Look),
}

#[derive(Args)]
pub struct Look {
    /// The capsule, or its first part
    file: Utf8PathBuf,
    /// Site key of the seed that made it, in hex
    #[arg(long, value_name = "KEY")]
    pin: Option<String>,
    /// Data directory of the site that the capsule is encrypted to
    #[arg(long, value_name = "DIR")]
    data: Option<Utf8PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Output JSON
    #[arg(long)]
    json: bool,
}

impl Capsule {
    pub fn run(&self) -> Result<()> {
        match self {
            Capsule::Show(look) => look.run(false),
            Capsule::Verify(look) => look.run(true),
        }
    }
}

impl Look {
    fn run(&self, verify: bool) -> Result<()> {
        watch_signals()?;
        let mut clear = Clear::open(&self.file)?;
        let claimed = clear.claimed_key().to_owned();
        let header = match &self.pin {
            Some(text) => clear.pinned(&pin(text)?).context("checking the capsule")?,
            None => clear.unpinned().context("checking the capsule")?,
        };
        let (stored, parts) = (clear.stored(), clear.parts());
        let mut text = describe(&header, &claimed, stored, parts);
        let mut value = serde_json::json!({"header": header, "key": claimed, "stored": stored, "parts": parts});
        if self.pin.is_none() {
            text.push_str("\n  warning   signed by an unconfirmed key; use --pin");
        }
        match &self.data {
            None if verify => {
                clear.check_frames(&header).context("checking the capsule")?;
                value["frames"] = "complete".into();
                text.push_str("\nheader and frames are valid; use --data to verify the contents");
            }
            None => {}
            Some(data) => {
                let key = Site::new(data).keys().operator(&self.passphrase.get("Passphrase of the receiving site")?)?;
                let trusted = pin(&claimed)?;
                let mut capsule = clear.verified(&trusted, &key).context("checking the capsule")?;
                let manifest = capsule.manifest().context("checking the capsule")?;
                text.push_str(&contents(&manifest));
                value["manifest"] = serde_json::to_value(&manifest)?;
                if verify {
                    let progress = Terminal::new();
                    capsule.content(&manifest, 0, &mut Discard, &progress).context("checking the capsule")?;
                    drop(progress);
                    value["content"] = "good".into();
                    text.push_str("\nevery byte verified");
                }
            }
        }
        show(self.json, &value, &text)
    }
}

fn describe(header: &CapsuleHeader, key: &str, stored: u64, parts: usize) -> String {
    let made = i64::try_from(header.created).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    let made = made.map(|t| t.to_string()).unwrap_or_else(|| header.created.to_string());
    let mut text = format!("capsule {}\n  signed by {key}\n  for       {}\n  created   {made}", header.id, header.recipient);
    text.push_str(&format!("\n  size      {}, content {}, parts {parts}", amount(stored), amount(header.bytes)));
    if let Some(since) = header.since {
        text.push_str(&format!("\n  since     {since}"));
    }
    text
}

fn contents(m: &CapsuleManifest) -> String {
    let blobs = m.entries.len().saturating_sub(Table::ALL.len());
    format!(
        "\n  site      {}, epoch {}, kubedos {}\n  contents  {} tables, {blobs} blobs; {} more in {}",
        m.site,
        m.epoch,
        m.program,
        Table::ALL.len(),
        m.assumed.len(),
        m.medium.map_or_else(|| "earlier capsules".to_owned(), |id| format!("medium {}", id.short()))
    )
}
