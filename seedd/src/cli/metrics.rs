//! `seedd metrics`

use anyhow::Result;
use appliance::control::Client;
use appliance::control::answer::MetricsTokenMade;
use clap::{Args, Subcommand};

use super::args::{DataDir, SiteArgs, say};
use super::running;
use crate::app::metrics::{make_token, revoke_token};

/// The actor in the event log.
const ACTOR: &str = "command line";

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
                match running::control(&v.args) {
                    Some(daemon) => daemon.revoke_metrics_token().map(drop)?,
                    None => v.args.site().open_store()?.write(|tx| revoke_token(tx, ACTOR))?,
                }
                say("token revoked")
            }
        }
    }
}

impl Token {
    fn make(&self) -> Result<()> {
        let MetricsTokenMade { token, expires } = match running::control(&self.args.dir) {
            Some(daemon) => daemon.create_metrics_token(self.days)?,
            None => {
                let (text, expires) = self.args.site().open_store()?.write(|tx| make_token(tx, ACTOR, self.days))?;
                MetricsTokenMade { token: text.to_string(), expires }
            }
        };
        let value = serde_json::json!({ "token": token, "expires": expires });
        self.args.show(&value, &format!("{token}\n(shown only once; valid for {} days)", self.days))
    }
}
