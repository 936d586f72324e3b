//! `seedd support`: one encrypted file for those who help, without secrets.

use anyhow::{Result, anyhow};
use camino::Utf8PathBuf;
use clap::Args;
use host::files::{PRIVATE, write_atomic};
use serde_json::json;
use site::hint::Hint as _;

use super::args::SiteArgs;
use crate::app::support::{Bundle, bundle};
use crate::terminal::amount;

#[derive(Args)]
pub struct Support {
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: Utf8PathBuf,
    /// age recipient of the reader [default: the operator's key of this site]
    #[arg(long, value_name = "RECIPIENT")]
    recipient: Option<String>,
    #[command(flatten)]
    args: SiteArgs,
}

impl Support {
    pub fn run(&self) -> Result<()> {
        let site = self.args.site();
        if self.out.exists() {
            return Err(anyhow!("{} already exists", self.out)).hint("choose another --out; nothing is overwritten");
        }
        let recipient = match &self.recipient {
            Some(given) => given.clone(),
            None => site.keys().public()?.operator,
        };
        let Bundle { sealed, parts } = bundle(&super::converge::open_at(&site)?, &recipient)?;
        write_atomic(&self.out, &sealed, PRIVATE)?;
        let value = json!({"file": self.out, "bytes": sealed.len(), "parts": parts.files.len(), "leftOut": parts.left_out, "recipient": recipient});
        let mut text =
            format!("{}: {} files, {}, encrypted to {recipient}", self.out, parts.files.len(), amount(sealed.len() as u64));
        parts.left_out.iter().for_each(|why| text.push_str(&format!("\nleft out {why}")));
        self.args.show(&value, &text)
    }
}
