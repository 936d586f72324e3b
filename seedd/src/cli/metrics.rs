//! `seedd metrics`

use anyhow::{Context as _, Result};
use appliance::control::Client;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use clap::{Args, Subcommand};
use cluster_seed::ids::Digest;
use host::clock::now;
use host::random;

use super::args::{DataDir, SiteArgs, say};
use crate::app::metrics::{MetricsToken, TOKEN};

#[derive(Subcommand)]
pub enum Metrics {
    /// Print the metrics of a running seed in Prometheus' text format
    Show(Show),
    /// Create an access token for a remote scraper
    ///
    /// The token is shown once and replaces the previous one.
    #[command(after_long_help = "\
Example:
  seedd metrics token --days 90")]
    Token(Token),
    /// Revoke the token
    Revoke(Show),
}

#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    args: DataDir,
}

#[derive(Args)]
pub struct Token {
    #[command(flatten)]
    args: SiteArgs,
    /// Validity in days
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
}

impl Metrics {
    pub fn run(&self) -> Result<()> {
        match self {
            Metrics::Show(v) => {
                print!("{}", Client::new(&v.args.site().control_socket()).metrics()?.text);
                Ok(())
            }
            Metrics::Token(v) => v.make(),
            Metrics::Revoke(v) => {
                v.args.site().open_store()?.write(|tx| tx.unset(TOKEN))?;
                say("token revoked")
            }
        }
    }
}

impl Token {
    fn make(&self) -> Result<()> {
        let token = format!("kdm-{}", B64.encode(random::bytes::<32>()?));
        let expires = now().saturating_add(u64::from(self.days) * 86_400);
        let kept = MetricsToken { sha256: Digest::of(token.as_bytes()), expires };
        let kept = serde_json::to_string(&kept).context("encoding the token")?;
        self.args.site().open_store()?.set(TOKEN, &kept)?;
        let value = serde_json::json!({ "token": token, "expires": expires });
        self.args.show(&value, &format!("{token}\n(shown only once; valid for {} days)", self.days))
    }
}
