//! `seedd metrics`

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use clap::{Args, Subcommand};
use cluster_seed::ids::Digest;

use super::{Where, show};
use crate::app::metrics::{MetricsToken, TOKEN};
use appliance::control::SiteRequest;
use appliance::control::{Request, ask};
use host::clock::now;
use host::random;

#[derive(Subcommand)]
pub enum Metrics {
    /// Print what a scraper would get from a running seed
    Show(Show),
    /// Make the token that lets a scraper read them from elsewhere; it is printed once and replaces the one before
    Token(Token),
    /// Take the token's right away
    Revoke(Show),
}

#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    place: Where,
}

#[derive(Args)]
pub struct Token {
    #[command(flatten)]
    place: Where,
    /// Days it is good for
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Metrics {
    pub fn run(&self) -> Result<()> {
        match self {
            Metrics::Show(v) => {
                let value = ask(&v.place.site().control_socket(), &Request::Site { ask: SiteRequest::Metrics })?;
                print!("{}", value["text"].as_str().unwrap_or_default());
                Ok(())
            }
            Metrics::Token(v) => v.make(),
            Metrics::Revoke(v) => {
                v.place.site().open_store()?.write(|tx| tx.unset(TOKEN))?;
                show(false, &serde_json::Value::Null, "no token opens the metrics now")
            }
        }
    }
}

impl Token {
    fn make(&self) -> Result<()> {
        let token = format!("kdm-{}", B64.encode(random::bytes::<32>()?));
        let expires = now().saturating_add(u64::from(self.days) * 86_400);
        let kept = MetricsToken { sha256: Digest::of(token.as_bytes()), expires };
        let kept = serde_json::to_string(&kept).context("writing the token")?;
        self.place.site().open_store()?.set(TOKEN, &kept)?;
        let value = serde_json::json!({ "token": token, "expires": expires });
        show(self.json, &value, &format!("{token}\n(shown this once; good for {} days)", self.days))
    }
}
