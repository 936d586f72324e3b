//! `seedd export` and `seedd capsule`

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use cluster_seed::capsule::{CapsuleHeader, CapsuleManifest, Table};
use cluster_seed::seal::{VerifyingKey, key_from_text};

use super::{PassphraseSource, Where, show};
use crate::terminal::{Terminal, amount, watch_signals};
use host::clock::now_ms;
use site::Site;
use site::hint::Hint as _;
use transfer::capsule::export::Export as Job;
use transfer::capsule::pieces::Discard;
use transfer::capsule::read::Clear;
use transfer::capsule::records::since_id;

#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Operator's recipient of the site it is for (`seedd status` there shows it)
    #[arg(long, value_name = "age1…")]
    recipient: String,
    /// Leave out the blobs of this earlier capsule: the file, its id, or its manifest
    #[arg(long, value_name = "CAPSULE")]
    since: Option<String>,
    /// The other seed boots the same medium: leave out what that holds
    #[arg(long)]
    same_medium: bool,
    /// Write parts of at most this many bytes (with K, M, G): FILE.001, FILE.002, …
    #[arg(long, value_name = "SIZE", value_parser = size)]
    split_size: Option<u64>,
    #[arg(long, value_name = "FILE")]
    out: Utf8PathBuf,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// A number of bytes, with K, M or G for powers of 1024.
pub fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.trim_end_matches(['B', 'b', 'i']).char_indices().last() {
        Some((at, c)) if c.is_ascii_alphabetic() => (&text[..at], c.to_ascii_uppercase()),
        _ => (text, ' '),
    };
    let shift = match unit {
        ' ' => 0,
        'K' => 10,
        'M' => 20,
        'G' => 30,
        other => return Err(format!("unknown unit {other:?}")),
    };
    let number: u64 = digits.parse().map_err(|_| format!("{text:?} is not a size"))?;
    let bytes = number.checked_shl(shift).filter(|b| b >> shift == number);
    bytes.filter(|b| *b >= transfer::capsule::parts::MIN_PART).ok_or_else(|| "the smallest part is 1M".to_owned())
}

impl Export {
    pub fn run(&self) -> Result<()> {
        watch_signals()?;
        let site = self.place.site();
        site.open_store()?;
        let since = self.since.as_deref().map(since_id).transpose()?;
        let operator = site.keys().operator(&self.passphrase.get("Passphrase of this site")?)?;
        let keys = site.keys().unseal_with(&operator)?;
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
            actor: Some("command line"),
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
        let mut text = format!("capsule {}\n  in        {}", done.id, files.join(" "));
        text.push_str(&format!("\n  size      {}, {} blobs", amount(done.stored), done.blobs));
        if since.is_some() || self.same_medium {
            text.push_str(&format!(", {} left out", done.left_out));
        }
        text.push_str(&format!("\n  there     seedd import FILE --pin {pin}"));
        show(self.json, &value, &text)
    }
}

#[derive(Subcommand)]
pub enum Capsule {
    /// Say what a capsule is; with --data of the site it is for, also what is in it
    Show(Look),
    /// Check a capsule; with --data of the site it is for, every byte of it
    Verify(Look),
}

#[derive(Args)]
pub struct Look {
    file: Utf8PathBuf,
    /// Site key of the seed that made it
    #[arg(long, value_name = "KEY")]
    pin: Option<String>,
    /// Data directory of the site it is for: its passphrase opens the capsule
    #[arg(long, value_name = "DIR")]
    data: Option<Utf8PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// The key given on the command line.
pub fn pin(text: &str) -> Result<VerifyingKey> {
    key_from_text(text).context("reading --pin").hint("it is the site key, 64 hex digits; `seedd status` there shows it")
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
            text.push_str("\n  note      nobody said which key it must be signed by: give --pin");
        }
        match &self.data {
            None if verify => {
                clear.check_frames(&header).context("checking the capsule")?;
                value["frames"] = "complete".into();
                text.push_str("\nits header and the order of its frames are good; what is in them, --data can check");
            }
            None => {}
            Some(data) => {
                let key = Site::new(data).keys().operator(&self.passphrase.get("Passphrase of the site it is for")?)?;
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
                    text.push_str("\nevery byte is as it was signed");
                }
            }
        }
        show(self.json, &value, &text)
    }
}

fn describe(header: &CapsuleHeader, key: &str, stored: u64, parts: usize) -> String {
    let made = i64::try_from(header.created).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    let made = made.map(|t| t.to_string()).unwrap_or_else(|| header.created.to_string());
    let mut text = format!("capsule {}\n  signed by {key}\n  for       {}\n  made      {made}", header.id, header.recipient);
    text.push_str(&format!("\n  size      {}, content {}, parts {parts}", amount(stored), amount(header.bytes)));
    if let Some(since) = header.since {
        text.push_str(&format!("\n  builds on {since}"));
    }
    text
}

fn contents(m: &CapsuleManifest) -> String {
    let blobs = m.entries.len().saturating_sub(Table::ALL.len());
    format!(
        "\n  site      {}, epoch {}, made by kubedos {}\n  holds     {} tables, {blobs} blobs; {} more from {}",
        m.site,
        m.epoch,
        m.program,
        Table::ALL.len(),
        m.assumed.len(),
        m.medium.map_or_else(|| "earlier capsules".to_owned(), |id| format!("medium {}", id.short()))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [("4G", 4 << 30), ("700M", 700 << 20), ("2048K", 2 << 20), ("1048576", 1 << 20), ("4GiB", 4 << 30)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "G", "1", "-4G", "4T", "1023K", "99999999999G", "4 G"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
