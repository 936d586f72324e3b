//! `seedd darksite verify`

use anyhow::Result;
use clap::Args;
use cluster_seed::ids::Digest;
use darksite::Keyring;

use super::current;
use crate::cli::{Where, show};
use crate::hint::Hint as _;
use crate::terminal::{Terminal, amount, watch_signals};

#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    place: Where,
    /// The snapshot's id; without it the one in use
    snapshot: Option<Digest>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub fn run(&self) -> Result<()> {
        watch_signals()?;
        let site = self.place.site();
        let id = match self.snapshot {
            Some(id) => id,
            None => current(&site)?,
        };
        let dir = site.join("snapshots").join(id.to_string());
        anyhow::ensure!(dir.is_dir(), "there is no snapshot {id}");
        let (keyring, key) = site.snapshot_keys(&site.open_store()?, id)?;
        let keyring = Keyring::from_bytes(&keyring)?;
        let progress = Terminal::new();
        let result = darksite::verify(&dir, &keyring, &key, &progress);
        drop(progress);
        match result {
            Ok(report) => {
                let value = serde_json::json!({"snapshot": id, "files": report.files, "bytes": report.bytes});
                let text =
                    format!("snapshot {id} is good: {} files, {}, every byte as signed", report.files, amount(report.bytes));
                show(self.json, &value, &text)
            }
            Err(e) => {
                let hint = e.hint();
                Err(e).hint(hint)
            }
        }
    }
}
