//! `seedd adopt`

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use clap::Args;
use cluster_seed::seal::key_from_text;
use site::hint::Hint as _;
use transfer::medium::adopt::{Medium, Reading, place};

use super::args::{PassphraseSource, SiteArgs};
use super::running;
use crate::terminal::{Terminal, watch_signals};

#[derive(Args)]
pub struct Adopt {
    /// Mount point of the medium
    medium: Utf8PathBuf,
    #[command(flatten)]
    args: SiteArgs,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Site key of the seed that made the medium, in hex
    #[arg(long, value_name = "KEY")]
    pin: String,
    /// Verify every package and chunk, not only the metadata
    #[arg(long)]
    verify: bool,
}

impl Adopt {
    pub fn run(&self) -> Result<()> {
        watch_signals()?;
        let site = self.args.site();
        let store = site.open_store()?;
        let maker =
            key_from_text(&self.pin).context("reading --pin").hint("`seedd init` and `seedd status` show it as `site key`")?;
        let medium = Medium::open(&self.medium, &maker)?;
        let keys = site.keys().unseal(&self.passphrase.get("Passphrase")?)?;
        let progress = Terminal::new();
        let how = if self.verify { Reading::All } else { Reading::Small };
        let placed = place(&site, &medium, &keys.site, how, &progress).with_context(|| format!("adopting {}", self.medium))?;
        drop(progress);
        running::put_in_use(&self.args.dir, &store, &placed)?;
        let m = &medium.manifest;
        let value = serde_json::json!({"medium": m.id, "snapshot": m.snapshot, "netboot": m.netboot, "artifacts": m.artifacts});
        let mut text =
            format!("medium {} adopted\n  snapshot  {}\n  netboot   {}", m.id.short(), m.snapshot.short(), m.netboot.short());
        for (role, id) in &m.artifacts {
            text.push_str(&format!("\n  artifact  {}  role {role}", id.short()));
        }
        self.args.show(&value, &text)
    }
}
