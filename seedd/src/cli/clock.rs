//! `seedd clock`

use anyhow::{Result, anyhow};
use appliance::control::{Request, ask};
use clap::{Args, Subcommand};
use site::hint::Hint as _;

use super::args::SiteArgs;

#[derive(Subcommand)]
pub enum Clock {
    /// Show the seed's clock, its source and its drift
    Show(Show),
    /// Set the clock of a running seed
    ///
    /// Nodes follow the seed's clock. A seed that follows NTP servers itself need not be set.
    #[command(after_long_help = "\
Example:
  seedd clock set 2026-11-22T19:54:05Z")]
    Set(Set),
}

#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    args: SiteArgs,
}

#[derive(Args)]
pub struct Set {
    #[command(flatten)]
    args: SiteArgs,
    /// Time in UTC: 2026-11-22T19:54:05Z or "2026-11-22 19:54"
    time: String,
}

impl Clock {
    pub fn run(&self) -> Result<()> {
        let (args, request) = match self {
            Clock::Show(v) => (&v.args, Request::Clock),
            Clock::Set(v) => {
                let to_ms = web::dates::parse_time(&v.time)
                    .ok_or_else(|| anyhow!("{:?} is not a time", v.time))
                    .hint("the format is 2026-11-22T19:54:05Z")?;
                (&v.args, Request::SetClock { to_ms })
            }
        };
        let value = ask(&args.site().control_socket(), &request)?;
        let ms = value["clockMs"].as_i64().unwrap_or_default();
        let time = jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |t| t.to_string());
        let mut text = format!("{time}\n  source  {}", value["source"].as_str().unwrap_or("unknown"));
        if let Some(offset) = value["offset"].as_f64() {
            text.push_str(&format!("\n  offset  {offset:.6} s"));
        }
        if let Some(drift) = value["drift"].as_f64() {
            text.push_str(&format!("\n  drift   {drift:.3} ppm"));
        }
        if let Some(doubt) = value["doubt"].as_str() {
            text.push_str(&format!("\n  warning {doubt}"));
        }
        args.show(&value, &text)
    }
}
