//! DORA per second: the highest rate with less than 1 % lost exchanges, and its CPU cost. With two clients: perfdhcp, which
//! needs more CPU than the servers, and `pxe/examples/dhcp_load.rs`, which needs little.

use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::field::{CLIENT, CLIENT_DEV, Field, SERVER, SERVER_DEV, example, peer};
use crate::say;
use crate::tool;

/// Rates tried, in DORA per second, each for [`SECONDS`].
const RATES: [u32; 12] = [500, 1_000, 2_000, 4_000, 8_000, 10_000, 13_000, 16_000, 20_000, 25_000, 32_000, 40_000];
const SECONDS: u32 = 3;
/// Clients that come back again and again.
const CLIENTS: &str = "1000";
/// A rate is kept up if no more than this share of exchanges is lost, in percent.
const MAX_DROPS: f64 = 1.0;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    Perfdhcp,
    Load,
}

impl Client {
    pub fn name(self) -> &'static str {
        match self {
            Client::Perfdhcp => "perfdhcp",
            Client::Load => "dhcp_load",
        }
    }
}

/// What `dhcp_load` prints.
#[derive(Debug, Deserialize)]
struct Said {
    rate: f64,
    lost_percent: f64,
    p99_ms: f64,
    wrong: u64,
}

/// What one server reached.
#[derive(Debug, Clone)]
pub struct Row {
    pub client: &'static str,
    pub server: String,
    /// DORA per second; 0 if even the lowest rate lost too much.
    pub rate: f64,
    pub p99_ms: f64,
    /// Processor milliseconds per 1,000 DORA at that rate.
    pub cpu_ms: f64,
    pub durable: &'static str,
}

struct Try {
    rate: f64,
    drops: f64,
    p99_ms: f64,
    cpu_ms: f64,
}

/// All servers that are there, by both clients.
pub fn run(field: &Field) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for client in [Client::Load, Client::Perfdhcp] {
        rows.extend(by(field, client)?);
    }
    Ok(rows)
}

fn by(field: &Field, client: Client) -> Result<Vec<Row>> {
    let mut rows = vec![measure(field, client, "kubedos", "every ACK after its sync", &kubedos(field)?)?];
    if let Some(kea) = peer("kea-dhcp4") {
        for (name, threads) in [("kea, 2 threads", 2), ("kea, 1 thread", 1)] {
            rows.push(measure(field, client, name, "written, not synced", &kea_argv(field, &kea, threads)?)?);
        }
    }
    if let Some(dnsmasq) = peer("dnsmasq") {
        let leases = field.dir.join("dnsmasq.leases");
        let argv = tool::words(&[
            &dnsmasq,
            "-k",
            "-C",
            "/dev/null",
            "-p",
            "0",
            "-i",
            SERVER_DEV,
            "--no-ping",
            "--dhcp-lease-max=100000",
            "--dhcp-range=10.99.1.0,10.99.200.0,255.255.0.0,10m",
            "--user=root",
            "--quiet-dhcp",
        ]);
        let argv = [argv, vec![format!("--dhcp-leasefile={}", leases.display())]].concat();
        rows.push(measure(field, client, "dnsmasq", "written, not synced", &argv)?);
    }
    Ok(rows)
}

fn kubedos(field: &Field) -> Result<Vec<String>> {
    let (nb, leases) = (field.dir.join("netboot"), field.dir.join("leases"));
    fs::create_dir_all(&nb).context("making a directory")?;
    let fixed = [example("serve")?, SERVER_DEV.into(), SERVER.into(), "16".into(), "10.99.1.0".into(), "10.99.200.0".into()];
    let rest = [nb.display().to_string(), "http://10.99.0.1/boot/ipxe".into(), leases.display().to_string()];
    Ok([&fixed[..], &rest, &["quiet".into(), "nowatch".into(), "transfers=512".into()]].concat())
}

/// The example server with these boot files.
pub fn kubedos_argv(field: &Field) -> Result<Vec<String>> {
    kubedos(field)
}

fn kea_argv(field: &Field, kea: &str, threads: u32) -> Result<Vec<String>> {
    let csv = field.dir.join(format!("kea-{threads}.csv"));
    let config = serde_json::json!({"Dhcp4": {
        "interfaces-config": {"interfaces": [SERVER_DEV], "dhcp-socket-type": "udp"},
        "lease-database": {"type": "memfile", "persist": true, "name": csv, "lfc-interval": 0},
        "multi-threading": {"enable-multi-threading": threads > 1, "thread-pool-size": threads, "packet-queue-size": 64},
        "valid-lifetime": 600,
        "subnet4": [{"id": 1, "subnet": "10.99.0.0/16", "pools": [{"pool": "10.99.1.0 - 10.99.200.0"}],
            "option-data": [{"name": "routers", "data": SERVER}]}],
        "loggers": [{"name": "kea-dhcp4", "severity": "ERROR", "output_options": [{"output": "stderr"}]}],
    }});
    let file = field.dir.join(format!("kea-{threads}.json"));
    fs::write(&file, config.to_string()).context("writing kea's configuration")?;
    let env = format!("KEA_PIDFILE_DIR={}", field.dir.display());
    Ok(tool::words(&["env", &env, "KEA_LOCKFILE_DIR=none", kea, "-c", &file.to_string_lossy()]))
}

fn measure(field: &Field, client: Client, name: &str, durable: &'static str, argv: &[String]) -> Result<Row> {
    let mut row = Row { client: client.name(), server: name.to_owned(), rate: 0.0, p99_ms: 0.0, cpu_ms: 0.0, durable };
    let mut missed = 0;
    let server = field.start(&name.replace([' ', ','], "-"), argv)?;
    // The first exchanges of a server fill its pool; they are no measure.
    attempt(field, client, &server, 500)?;
    for rate in RATES {
        let tried = attempt(field, client, &server, rate)?;
        say::line(&format!("{}, {name}: {rate}/s asked, {:.0}/s served, {:.2} % lost", client.name(), tried.rate, tried.drops));
        if tried.drops > MAX_DROPS {
            missed += 1;
            // One more chance: on a busy host a single try can fail for the host's reasons.
            if missed == 2 {
                break;
            }
            continue;
        }
        missed = 0;
        (row.rate, row.p99_ms, row.cpu_ms) = (tried.rate, tried.p99_ms, tried.cpu_ms);
    }
    server.stop();
    Ok(row)
}

fn attempt(field: &Field, client: Client, server: &super::field::Running, rate: u32) -> Result<Try> {
    let before = server.cpu()?;
    let (rate, seconds) = (rate.to_string(), SECONDS.to_string());
    let found = match client {
        Client::Perfdhcp => perfdhcp(field, &rate, &seconds)?,
        Client::Load => dhcp_load(field, &rate, &seconds)?,
    };
    let exchanges = (found.rate * f64::from(SECONDS)).max(1.0);
    Ok(Try { cpu_ms: (server.cpu()? - before) * 1e6 / exchanges, ..found })
}

fn dhcp_load(field: &Field, rate: &str, seconds: &str) -> Result<Try> {
    let said = field.client.run(&[&example("dhcp_load")?, SERVER, CLIENT, rate, seconds, CLIENTS])?;
    let said: Said = serde_json::from_str(said.trim()).with_context(|| format!("reading {said:?}"))?;
    if said.wrong > 0 {
        bail!("{} answers were wrong: another address than offered, or one that another client holds", said.wrong);
    }
    Ok(Try { rate: said.rate, drops: said.lost_percent, p99_ms: said.p99_ms, cpu_ms: 0.0 })
}

fn perfdhcp(field: &Field, rate: &str, seconds: &str) -> Result<Try> {
    let argv = ["perfdhcp", "-4", "-l", CLIENT_DEV, "-r", rate, "-R", CLIENTS, "-p", seconds, "-g", "multi", "-x", "t", SERVER];
    // Its exit status tells of drops; the text tells how many.
    let said = field.client.outcome(&argv)?;
    read(&said.stdout)
}

/// Perfdhcp's report: rate, the worse of the two drop ratios, and p99 of the whole exchange from its time stamps.
fn read(text: &str) -> Result<Try> {
    let number = |line: &str, n: usize| line.split_whitespace().nth(n).and_then(|w| w.parse::<f64>().ok());
    let rate = text.lines().find(|l| l.starts_with("Rate:")).and_then(|l| number(l, 1)).context("perfdhcp printed no rate")?;
    let drops = text.lines().filter(|l| l.starts_with("drops ratio:")).filter_map(|l| number(l, 2)).fold(0.0, f64::max);
    Ok(Try { rate, drops, p99_ms: p99(text), cpu_ms: 0.0 })
}

/// The sum of both exchanges' 99th percentiles, in milliseconds; 0 where no time stamps were printed.
fn p99(text: &str) -> f64 {
    let mut sums = Vec::new();
    let mut times: Vec<f64> = Vec::new();
    for line in text.lines().chain(["***end"]) {
        if line.starts_with("***") {
            times.sort_by(f64::total_cmp);
            sums.extend(times.get(times.len() * 99 / 100).copied());
            times.clear();
        } else if let Some((sent, received)) = line.split_once("sent / received:").and_then(|(_, t)| t.split_once('/')) {
            let at = |t: &str| t.trim().parse::<f64>().ok();
            if let (Some(a), Some(b)) = (at(sent), at(received)) {
                times.push((b - a) * 1e3);
            }
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let text = "Rate: 7938.57 4-way exchanges/second, expected rate: 8000\n***Statistics for: DISCOVER-OFFER***\n\
            drops ratio: 0.117506 %\n***Statistics for: REQUEST-ACK***\ndrops ratio: 0.623 %\n\
            ***Timestamps for packets: DISCOVER-OFFER***\nsent / received: 000000.000064 / 000000.002064\n\
            ***Timestamps for packets: REQUEST-ACK***\nsent / received: 000001.5 / 000001.503\n";
        let found = read(text).unwrap();
        assert_eq!((found.rate, found.drops, found.p99_ms.round()), (7938.57, 0.623, 5.0));
        assert!(read("nothing").is_err());
    }
}
