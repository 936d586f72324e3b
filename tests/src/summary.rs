//! The summary at the end of a run.

use std::path::Path;

use anyhow::{Context, Result};

use crate::api::http_agent;
use crate::fleet::Fleet;
use crate::member::Step;
use crate::say::{megabytes, plain, seconds};

/// Measurements besides the times.
#[derive(Debug)]
pub struct Figures {
    pub kernel: u64,
    pub initramfs: u64,
    pub daemon: u64,
    pub daemon_peak: u64,
    pub escaped: u64,
}

impl Figures {
    pub fn measure(fleet: &Fleet) -> Result<Self> {
        let seed = &fleet.seedd.address;
        let (kernel, initramfs) = fleet.ns.enter(|| Ok((size(seed, "vmlinuz")?, size(seed, "initrd.img")?)))?;
        Ok(Figures {
            kernel,
            initramfs,
            daemon: fleet.daemon.memory,
            daemon_peak: fleet.daemon.peak_memory,
            escaped: fleet.ns.escaped()?,
        })
    }
}

/// Content-Length of a boot file, as a machine would see it.
fn size(seed: &str, name: &str) -> Result<u64> {
    let response = http_agent(std::time::Duration::from_secs(20)).head(format!("http://{seed}/boot/{name}")).call();
    let response = response.with_context(|| format!("asking for /boot/{name}"))?;
    let length = response.headers().get("content-length").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    length.with_context(|| format!("/boot/{name} has no length"))
}

/// Prints times, sizes and what was checked.
pub fn print(fleet: &Fleet, figures: &Figures, passed: &[String]) {
    plain("");
    plain(&format!("  {:<14}{}", "power-on to", fleet.members.iter().map(|m| format!("{:>16}", m.name())).collect::<String>()));
    for step in Step::ALL {
        let cells = fleet.members.iter().map(|m| m.marks[step as usize].map_or("-".to_owned(), seconds));
        plain(&format!("  {:<14}{}", step.name(), cells.map(|c| format!("{c:>16}")).collect::<String>()));
    }
    plain("");
    let both = figures.kernel + figures.initramfs;
    plain(&format!(
        "  kernel + initramfs   {} ({} + {})",
        megabytes(both),
        megabytes(figures.kernel),
        megabytes(figures.initramfs)
    ));
    plain(&format!(
        "  daemon, resident     {} (for a second {}, while the passphrase is opened)",
        megabytes(figures.daemon),
        megabytes(figures.daemon_peak)
    ));
    plain(&format!("  packets addressed to the outside of the lab: {}", figures.escaped));
    for line in passed {
        plain(&format!("  ok  {line}"));
    }
    plain("");
}

/// The times as JSON, seconds per machine and step.
pub fn write_times(fleet: &Fleet, figures: &Figures, file: &Path) -> Result<()> {
    let mut machines = serde_json::Map::new();
    for member in &fleet.members {
        let times: serde_json::Map<String, serde_json::Value> = Step::ALL
            .iter()
            .filter_map(|s| Some((s.name().to_owned(), member.marks[*s as usize]?.as_secs_f64().into())))
            .collect();
        machines.insert(member.name().to_owned(), times.into());
    }
    let all = serde_json::json!({
        "seconds": machines, "kernelBytes": figures.kernel, "initramfsBytes": figures.initramfs,
        "daemonBytes": figures.daemon, "daemonPeakBytes": figures.daemon_peak, "escapedPackets": figures.escaped,
        "accelerator": format!("{:?}", fleet.accel),
    });
    std::fs::write(file, serde_json::to_string_pretty(&all).context("writing times")?)
        .with_context(|| format!("writing {}", file.display()))
}
