//! `seedd adopt`

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use clap::Args;
use cluster_seed::seal::key_from_text;

use super::{PassphraseSource, Where, show};
use crate::terminal::{Terminal, watch_signals};
use site::hint::Hint as _;
use transfer::medium::adopt::{Medium, Reading, adopt};

/// The site keeps links to the medium, which has to stay where it is.
#[derive(Args)]
pub struct Adopt {
    /// Where the medium is mounted
    medium: Utf8PathBuf,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Site key of whoever made the medium, in hex
    #[arg(long, value_name = "KEY")]
    pin: String,
    /// Read packages and chunks too, not only what nobody else will check
    #[arg(long)]
    verify: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Adopt {
    pub fn run(&self) -> Result<()> {
        watch_signals()?;
        let site = self.place.site();
        drop(site.open_store()?);
        let maker = key_from_text(&self.pin).context("reading --pin").hint("it is the line `site key` of `seedd init`")?;
        let medium = Medium::open(&self.medium, &maker)?;
        let keys = site.keys().unseal(&self.passphrase.get("Passphrase")?)?;
        let progress = Terminal::new();
        let how = if self.verify { Reading::All } else { Reading::Small };
        adopt(&site, &medium, &keys.site, how, &progress).with_context(|| format!("adopting {}", self.medium))?;
        drop(progress);
        let m = &medium.manifest;
        let value = serde_json::json!({"medium": m.id, "snapshot": m.snapshot, "netboot": m.netboot, "artifacts": m.artifacts});
        let mut text =
            format!("medium {} adopted\n  snapshot  {}\n  netboot   {}", m.id.short(), m.snapshot.short(), m.netboot.short());
        for (role, id) in &m.artifacts {
            text.push_str(&format!("\n  artifact  {}  role {role}", id.short()));
        }
        show(self.json, &value, &text)
    }
}
