//! `seedd clock`

use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};

use super::{Where, show};
use appliance::control::{Request, ask};
use site::hint::Hint as _;

#[derive(Subcommand)]
pub enum Clock {
    /// The seed's clock, what it follows and how it drifts
    Show(Show),
    /// Set the clock of a running seed, which the nodes follow
    Set(Set),
}

#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    place: Where,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Set {
    #[command(flatten)]
    place: Where,
    /// The time in UTC: 2026-11-22T19:54:05Z, or 2026-11-22 19:54
    time: String,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Clock {
    pub fn run(&self) -> Result<()> {
        let (place, request, json) = match self {
            Clock::Show(v) => (&v.place, Request::Clock, v.json),
            Clock::Set(v) => {
                let to_ms = web::dates::parse_time(&v.time)
                    .ok_or_else(|| anyhow!("{:?} is not a time", v.time))
                    .hint("write it as 2026-11-22T19:54:05Z")?;
                (&v.place, Request::SetClock { to_ms }, v.json)
            }
        };
        let value = ask(&place.site().control_socket(), &request)?;
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
        show(json, &value, &text)
    }
}
