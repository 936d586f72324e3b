//! `seedd clock`

use anyhow::{Result, anyhow};
use appliance::control::Client;
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
        let daemon = |args: &SiteArgs| Client::new(&args.site().control_socket());
        let (args, clock) = match self {
            Clock::Show(v) => (&v.args, daemon(&v.args).clock()?),
            Clock::Set(v) => {
                let to_ms = web::dates::parse_time(&v.time)
                    .ok_or_else(|| anyhow!("{:?} is not a time", v.time))
                    .hint("the format is 2026-11-22T19:54:05Z")?;
                (&v.args, daemon(&v.args).set_clock(to_ms)?)
            }
        };
        let time = super::args::time_of(clock.clock_ms).map_or_else(|| clock.clock_ms.to_string(), |t| t.to_string());
        let mut text = format!("{time}\n  source  {}", clock.source);
        if let Some(offset) = clock.offset {
            text.push_str(&format!("\n  offset  {offset:.6} s"));
        }
        if let Some(drift) = clock.drift {
            text.push_str(&format!("\n  drift   {drift:.3} ppm"));
        }
        if let Some(doubt) = &clock.doubt {
            text.push_str(&format!("\n  warning {doubt}"));
        }
        args.show(&clock, &text)
    }
}
