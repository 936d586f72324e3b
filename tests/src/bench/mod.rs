//! `kubedos-lab bench`: the product beside its peers, measured in one run on one machine.
//!
//! Except for the fleet, every measured piece of work is a process of its own under time(1), which tells its wall time, CPU time and peak memory.

pub mod darksite;
pub mod dhcp;
pub mod field;
pub mod fleet;
pub mod formats;
pub mod http;
pub mod netboot;
mod peers;
mod steps;
pub mod tftp;

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::tool;

pub use steps::step;

/// What one process took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    pub wall: f64,
    pub cpu: f64,
    /// Peak of its resident memory, in MB.
    pub memory: f64,
}

/// Runs `argv` under time(1) and returns what it took.
pub fn measure(argv: &[String], log: &Path) -> Result<Cost> {
    let report = log.with_extension("time");
    let report_text = report.to_str().context("a path that is not UTF-8")?;
    let mut all = tool::words(&["time", "-o", report_text, "-f", "%e %U %S %M", "env", "LC_ALL=C"]);
    all.extend_from_slice(argv);
    let out = tool::outcome(&all)?;
    std::fs::write(log, format!("{}\n{}", out.stdout, out.stderr))?;
    ensure!(out.code == 0, "{}: code {}: {}", tool::shown(argv), out.code, tool::tail(log, 10));
    let text = std::fs::read_to_string(&report)?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|w| w.parse().ok()).collect();
    let [wall, user, system, kilobytes] = numbers[..] else { anyhow::bail!("time(1) said {text:?}") };
    Ok(Cost { wall, cpu: user + system, memory: kilobytes / 1024.0 })
}

/// The cheapest of several runs by wall time: what disturbs a run only makes it slower.
pub fn best(times: usize, mut run: impl FnMut() -> Result<Cost>) -> Result<Cost> {
    let mut best = run()?;
    for _ in 1..times {
        let next = run()?;
        if next.wall < best.wall {
            best = next;
        }
    }
    Ok(best)
}
