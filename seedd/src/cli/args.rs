//! What many verbs have in common: which site, the passphrase, and how an answer is printed.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use cluster_seed::seal::{VerifyingKey, key_from_text};
use serde::Serialize;
use site::Site;
use site::hint::Hint as _;
use zeroize::Zeroizing;

use super::prompt::{ask_secret, passphrase_from};

pub const DEFAULT_DATA: &str = "/var/lib/kubedos-seed";

// Ordinary comments on purpose: clap would show a doc comment of a flattened struct as its parent's description.

// Which site.
#[derive(Args, Clone)]
pub struct DataDir {
    /// Data directory of the site
    #[arg(long, env = "KUBEDOS_DATA", default_value = DEFAULT_DATA, value_name = "DIR")]
    pub data: Utf8PathBuf,
}

impl DataDir {
    pub fn site(&self) -> Site {
        Site::new(&self.data)
    }
}

// Which site, and how to answer.
#[derive(Args, Clone)]
pub struct SiteArgs {
    #[command(flatten)]
    pub dir: DataDir,
    /// Output JSON
    #[arg(long)]
    pub json: bool,
}

impl SiteArgs {
    pub fn site(&self) -> Site {
        self.dir.site()
    }

    pub fn data(&self) -> &Utf8Path {
        &self.dir.data
    }

    /// Prints `value` with --json, else `text`.
    pub fn show(&self, value: &impl Serialize, text: &str) -> Result<()> {
        show(self.json, value, text)
    }
}

/// Prints JSON, its keys sorted, or text.
pub fn show(json: bool, value: &impl Serialize, text: &str) -> Result<()> {
    if json { say(&serde_json::to_value(value).context("encoding the output")?.to_string()) } else { say(text) }
}

/// The moment of so many Unix milliseconds; `None` beyond the year 9999.
pub fn time_of(ms: u64) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()
}

/// Prints a line on standard output.
pub fn say(text: &str) -> Result<()> {
    wrote(writeln!(std::io::stdout().lock(), "{text}"))
}

/// The reader of standard output has closed it, as `head` does: the program ends without a word.
#[derive(Debug, thiserror::Error)]
#[error("standard output was closed")]
pub struct OutputClosed;

/// The result of writing to standard output.
pub fn wrote(result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(OutputClosed.into()),
        other => other.context("writing to standard output"),
    }
}

// Where the passphrase comes from.
#[derive(Args, Clone)]
pub struct PassphraseSource {
    /// Read the passphrase from the first line of this file instead of prompting
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<Utf8PathBuf>,
}

impl PassphraseSource {
    /// The passphrase of the file, if one is named.
    pub fn given(&self) -> Result<Option<Zeroizing<String>>> {
        self.passphrase_file.as_deref().map(passphrase_from).transpose()
    }

    pub fn get(&self, question: &str) -> Result<Zeroizing<String>> {
        match self.given()? {
            Some(passphrase) => Ok(passphrase),
            None => ask_secret(question),
        }
    }
}

/// Parses a site key from `--pin`.
pub fn pin(text: &str) -> Result<VerifyingKey> {
    key_from_text(text).context("reading --pin").hint("a site key has 64 hex digits; `seedd status` on the other seed shows it")
}

/// Parses a number of bytes, with K, M or G for powers of 1024.
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
        other => return Err(format!("unknown unit {other:?}; use K, M or G")),
    };
    let number: u64 = digits.parse().map_err(|_| format!("{text:?} is not a size"))?;
    let bytes = number.checked_shl(shift).filter(|b| b >> shift == number);
    bytes.filter(|b| *b >= transfer::capsule::parts::MIN_PART).ok_or_else(|| "the minimum is 1M".to_owned())
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
