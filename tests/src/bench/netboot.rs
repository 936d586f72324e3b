//! `./dev bench netboot`: DHCP and TFTP compared with other servers, as tables with ratios.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use super::dhcp::{self, Row};
use super::field::{BusyDisk, Field};
use super::tftp::{self, CASES, Cell};
use crate::dirs::RunDirs;
use crate::say;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    Dhcp,
    Tftp,
}

/// Measures and prints; with `report`, also writes the tables as Markdown. With `busy`, the disk of the leases has
/// another writer all the time.
pub fn run(dirs: &RunDirs, only: Option<What>, busy: bool, report: Option<&Path>) -> Result<()> {
    let field = Field::new(&dirs.work)?;
    let _busy = busy.then(|| BusyDisk::new(&dirs.work));
    let mut text = String::new();
    if only != Some(What::Tftp) {
        text.push_str(&dhcp_table(&dhcp::run(&field)?));
    }
    if only != Some(What::Dhcp) {
        text.push_str(&tftp_table(&tftp::run(&field)?));
    }
    text.lines().for_each(say::plain);
    if let Some(path) = report {
        std::fs::write(path, &text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn dhcp_table(rows: &[Row]) -> String {
    let mut out = String::from(
        "| client | DHCP server | DORA/s, under 1 % lost | kubedos is | p99 ms | CPU ms per 1,000 | leases |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for r in rows {
        // The first of each client is ours.
        let own = rows.iter().find(|o| o.client == r.client).map_or(0.0, |o| o.rate);
        let ratio = if r.rate > 0.0 { format!("{:.2} x", own / r.rate) } else { "-".into() };
        let _ = writeln!(
            out,
            "| {} | {} | {:.0} | {ratio} | {:.1} | {:.0} | {} |",
            r.client, r.server, r.rate, r.p99_ms, r.cpu_ms, r.durable
        );
    }
    out.push('\n');
    out
}

/// Per case: every server's MB/s and CPU seconds per GB, and our ratio to the fastest other.
fn tftp_table(cells: &[Cell]) -> String {
    let mut servers: Vec<&str> = Vec::new();
    for cell in cells.iter().filter(|c| c.case == CASES[0]) {
        servers.push(cell.server);
    }
    let mut out = format!("| clients | window | lost | {} | ratio to the fastest other |\n", servers.join(" | "));
    let _ = writeln!(out, "|---|---|---|{}---|", "---|".repeat(servers.len()));
    for case in CASES {
        let (clients, window, loss) = case;
        let _ = write!(out, "| {clients} | {window} | {} % |", f64::from(loss) / 10.0);
        let of = |name: &str| cells.iter().find(|c| c.case == case && c.server == name);
        for cell in servers.iter().filter_map(|s| of(s)) {
            let wrong = if cell.load.failed + cell.load.wrong > 0 { " (!)" } else { "" };
            let _ = write!(
                out,
                " {:.1} MB/s, {:.1}/s, {:.2} s/GB{wrong} |",
                cell.load.mb_per_s, cell.load.completions_per_s, cell.cpu_per_gb
            );
        }
        let others = servers.iter().filter(|s| **s != "kubedos").filter_map(|s| of(s)).map(|c| c.load.mb_per_s);
        let fastest = others.fold(0.0, f64::max);
        let own = of("kubedos").map_or(0.0, |c| c.load.mb_per_s);
        let ratio = if fastest > 0.0 { format!("{:.2}", own / fastest) } else { "-".into() };
        let _ = writeln!(out, " {ratio} |");
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::tftp::Load;

    #[test]
    fn tables_name_ratios_and_wrong_bytes() {
        let row =
            |client, server: &str, rate| Row { client, server: server.into(), rate, p99_ms: 1.0, cpu_ms: 2.0, durable: "x" };
        let of = |client, rate| [row(client, "kubedos", rate), row(client, "other", 50.0), row(client, "none", 0.0)];
        let text = dhcp_table(&[of("a", 100.0), of("b", 25.0)].concat());
        assert!(text.contains("| a | other | 50 | 2.00 x |") && text.contains("| a | none | 0 | - |"), "{text}");
        assert!(text.contains("| b | other | 50 | 0.50 x |"), "{text}");
        let cell = |server, mb_per_s, wrong| {
            let load = Load { mb_per_s, completions_per_s: 1.0, failed: 0, wrong };
            Cell { server, case: CASES[0], load, cpu_per_gb: 1.0 }
        };
        let text = tftp_table(&[cell("kubedos", 30.0, 0), cell("a", 10.0, 0), cell("b", 20.0, 1)]);
        assert!(text.contains("20.0 MB/s, 1.0/s, 1.00 s/GB (!) | 1.50 |"), "{text}");
    }
}
