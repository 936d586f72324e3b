//! TFTP compared with other servers: many clients, with and without windows and loss.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::dhcp::kubedos_argv;
use super::field::{FIRST_CLIENT, Field, SERVER, SERVER_DEV, example, peer};
use crate::say;
use crate::tool;

/// One boot image, in bytes.
const FILE: usize = 8 << 20;
const NAME: &str = "image";
const SECONDS: &str = "3";
const BLKSIZE: &str = "1468";

/// Clients at once, window, packets lost of 1000 each way.
pub const CASES: [(u32, u32, u32); 12] = [
    (1, 1, 0),
    (10, 1, 0),
    (100, 1, 0),
    (300, 1, 0),
    (1, 16, 0),
    (10, 16, 0),
    (100, 16, 0),
    (300, 16, 0),
    (10, 1, 10),
    (100, 1, 10),
    (10, 16, 10),
    (100, 16, 10),
];

/// What the load generator prints.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Load {
    pub mb_per_s: f64,
    pub completions_per_s: f64,
    pub failed: u64,
    pub wrong: u64,
}

/// One server in one case.
#[derive(Debug, Clone)]
pub struct Cell {
    pub server: &'static str,
    pub case: (u32, u32, u32),
    pub load: Load,
    pub cpu_per_gb: f64,
}

fn servers(field: &Field, root: &Path) -> Result<Vec<(&'static str, Vec<String>)>> {
    let root = root.to_string_lossy();
    let mut all = vec![("kubedos", kubedos_argv(field)?)];
    if let Some(dnsmasq) = peer("dnsmasq") {
        let argv =
            [&dnsmasq, "-k", "-C", "/dev/null", "-p", "0", "-i", SERVER_DEV, "--enable-tftp", "--tftp-max=512", "--user=root"];
        all.push(("dnsmasq", [tool::words(&argv), vec![format!("--tftp-root={root}")]].concat()));
    }
    if let Some(hpa) = peer("in.tftpd") {
        all.push(("tftpd-hpa", tool::words(&[&hpa, "-L", "-u", "root", "-a", &format!("{SERVER}:69"), "-s", &root])));
    }
    if let Some(atftpd) = peer("atftpd") {
        let log = field.dir.join("atftpd.own.log");
        let log = log.to_string_lossy();
        let argv = [
            &atftpd,
            "--daemon",
            "--no-fork",
            "--port",
            "69",
            "--maxthread",
            "512",
            "--user",
            "root",
            "--group",
            "root",
            "--logfile",
            &log,
            &root,
        ];
        all.push(("atftpd", tool::words(&argv)));
    }
    Ok(all)
}

/// All servers that are there, case by case.
pub fn run(field: &Field) -> Result<Vec<Cell>> {
    let root = field.dir.join("netboot");
    fs::create_dir_all(&root).context("making a directory")?;
    let bytes: Vec<u8> = (0..FILE as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(root.join(NAME), bytes).context("writing the file to fetch")?;
    let mut cells = Vec::new();
    for (name, argv) in servers(field, &root)? {
        for case in CASES {
            // Clients that were cut off at the end of the case before would still hold slots of some servers.
            let server = field.start(&format!("{name}-tftp"), &argv)?;
            let (clients, window, loss) = case;
            let numbers = [clients.to_string(), window.to_string(), loss.to_string()];
            let before = server.cpu()?;
            let load = example("tftp_load")?;
            let argv = [&load, SERVER, NAME, &numbers[0], BLKSIZE, &numbers[1], SECONDS, &numbers[2], FIRST_CLIENT];
            let said = field.client.run(&argv)?;
            let load: Load = serde_json::from_str(said.trim()).with_context(|| format!("reading {said:?}"))?;
            let gigabytes = (load.mb_per_s * SECONDS.parse::<f64>().unwrap_or(1.0) / 1e3).max(1e-6);
            let cpu_per_gb = (server.cpu()? - before) / gigabytes;
            say::line(&format!(
                "{name}: {clients} clients, window {window}, {} % lost: {:.1} MB/s",
                f64::from(loss) / 10.0,
                load.mb_per_s
            ));
            cells.push(Cell { server: name, case, load, cpu_per_gb });
            server.stop();
        }
    }
    Ok(cells)
}
