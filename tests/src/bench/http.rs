//! Files by HTTP: the seed against nginx with sendfile, from the same directory, by the same client (wrk).

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::daemon::Daemon;
use crate::dirs::RunDirs;
use crate::netns::{Netns, PREFIX, SEED_IP};
use crate::say;
use crate::seedd::Seedd;
use crate::site::Template;
use crate::stop;
use crate::tool::{self, Background};

/// The large file, and number and mean size of the small ones, in bytes.
const LARGE: u64 = 1 << 30;
const SMALL_FILES: usize = 10_000;
const CLIENTS: [u32; 4] = [1, 4, 16, 64];
/// Rounds of each case: the better of them counts, for either side.
const ROUNDS: usize = 2;
const NGINX_PORT: u16 = 8081;
/// The case in which each file is asked for the first time.
const NEW: &str = "small, new";

#[derive(Debug)]
pub struct Options {
    /// The program to measure; a release build.
    pub seedd: PathBuf,
    /// Seconds of one round.
    pub seconds: u32,
    /// Where the table goes, as JSON.
    pub report: Option<PathBuf>,
}

/// What one side did in one case.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Measured {
    pub requests_per_second: f64,
    pub bytes_per_second: f64,
    /// Of the server's processes, user and system.
    pub cpu_seconds_per_gb: f64,
}

#[derive(Debug, Serialize)]
pub struct Row {
    pub case: &'static str,
    pub clients: u32,
    pub ours: Measured,
    pub nginx: Measured,
    /// Ours by nginx's: of bytes for the large file, of requests for the small ones.
    pub ratio: f64,
    pub cpu_ratio: f64,
}

pub fn run(dirs: &RunDirs, options: &Options) -> Result<()> {
    for program in ["nginx", "wrk"] {
        tool::find(program).with_context(|| format!("{program} is not installed (apt install nginx-light wrk)"))?;
    }
    let (work, logs) = dirs.part("bench-http")?;
    let template = prepared(dirs)?;
    let site = Seedd { program: options.seedd.clone(), ..template.copy(&work.join("site"))? };
    let root = snapshot(&site)?;
    say::line("writing one file of 1 GiB and 10,000 small ones");
    files(&root.join("pool/bench"))?;
    let ns = Netns::lab(&format!("{PREFIX}{}-bench", std::process::id()), &work)?;
    let mut daemon = Daemon::new(0, &logs.join("seedd.log"))?;
    daemon.start(&ns, &site)?;
    let nginx = nginx(&ns, &work, &root, &logs)?;
    // The kernel keeps 15 bytes of a program's name.
    let name: String = options.seedd.file_name().unwrap_or_default().to_string_lossy().chars().take(15).collect();
    let (ours, theirs) = (processes(&name, &work)?, processes("nginx", &work)?);
    let mut rows = Vec::new();
    let small = lua(&work)?;
    // Small files that nobody asked for before are another case than those that a rack of machines has just fetched.
    let cases: [(_, Option<&Path>, &[u32]); 3] =
        [("1 GiB", None, &CLIENTS), (NEW, Some(&small), &CLIENTS[..1]), ("10,000 small", Some(&small), &CLIENTS)];
    for (case, script, clients) in cases {
        for clients in clients {
            stop::check()?;
            rows.push(measure(&ns, options, case, *clients, script, &ours, &theirs)?);
            print(rows.last().context("a row was just pushed")?);
        }
    }
    drop(nginx);
    daemon.stop();
    if let Some(path) = &options.report {
        fs::write(path, serde_json::to_string_pretty(&rows)?).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// The lab's site, of whichever program it is: only where its files lie counts here.
pub(super) fn prepared(dirs: &RunDirs) -> Result<Template> {
    let dir = dirs.cache.join("site");
    if !dir.join("data/seed.db").exists() {
        return Template::prepare(dirs);
    }
    let seedd = Seedd::new(&dir.join("data"), &dir.join("passphrase"))?;
    Ok(Template { seedd, ssh_key: dir.join("ssh-key"), reused: true })
}

/// The directory that the seed publishes as the current snapshot.
fn snapshot(site: &Seedd) -> Result<PathBuf> {
    let all = fs::read_dir(site.data.join("snapshots")).context("listing snapshots")?;
    let newest = all.filter_map(|e| Some((e.as_ref().ok()?.metadata().ok()?.modified().ok()?, e.ok()?.path()))).max();
    Ok(newest.context("the site has no snapshot")?.1)
}

fn files(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).context("making the directory of the files")?;
    let block: Vec<u8> = (0..1u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut large = fs::File::create(dir.join("large")).context("writing the large file")?;
    for _ in 0..LARGE >> 20 {
        large.write_all(&block)?;
    }
    for n in 0..SMALL_FILES {
        // 1 to 8 KiB: Packages' indexes, control files, small packages.
        let size = 1_024 + n * 7_919 % 7_168;
        fs::write(dir.join(format!("s{n}")), &block[..size])?;
    }
    Ok(())
}

fn nginx(ns: &Netns, work: &Path, root: &Path, logs: &Path) -> Result<Background> {
    let dir = work.to_string_lossy();
    let config = format!(
        "daemon off;\nworker_processes 2;\nuser root;\npid {dir}/nginx.pid;\nerror_log {}/nginx-error.log;\n\
         events {{ worker_connections 1024; }}\nhttp {{\n  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  \
         keepalive_requests 100000000;\n  client_body_temp_path {dir}/nginx-body;\n  proxy_temp_path {dir}/nginx-proxy;\n  \
         fastcgi_temp_path {dir}/nginx-fastcgi;\n  uwsgi_temp_path {dir}/nginx-uwsgi;\n  scgi_temp_path {dir}/nginx-scgi;\n  \
         server {{ listen {SEED_IP}:{NGINX_PORT}; location /darksite/current/ {{ alias {}/; }} }}\n}}\n",
        logs.to_string_lossy(),
        root.to_string_lossy()
    );
    let path = work.join("nginx.conf");
    fs::write(&path, config).context("writing nginx's configuration")?;
    let argv = ns.argv(&tool::words(&["nginx", "-c", &path.to_string_lossy()]));
    let mut running = Background::spawn("nginx", &argv, &logs.join("nginx.log"), None)?;
    stop::wait_for("nginx's first answer", Duration::from_secs(10), || {
        running.must_run()?;
        Ok(work.join("nginx.pid").exists().then_some(()))
    })?;
    Ok(running)
}

/// Processes of that name whose command line or parent's names this run's directory.
fn processes(name: &str, work: &Path) -> Result<Vec<u32>> {
    let work = work.to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("listing processes")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let read = |pid: u32, what: &str| fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default();
        let parent = read(pid, "status").lines().find_map(|l| l.strip_prefix("PPid:")?.trim().parse::<u32>().ok()).unwrap_or(0);
        let ours = read(pid, "cmdline").contains(&work) || read(parent, "cmdline").contains(&work);
        if read(pid, "comm").trim() == name && ours {
            found.push(pid);
        }
    }
    if found.is_empty() {
        bail!("no process of {name} was found");
    }
    Ok(found)
}

/// User and system time of these processes so far, in seconds (proc_pid_stat(5); 100 ticks a second on Linux).
fn cpu(pids: &[u32]) -> f64 {
    let of = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let after = stat.rsplit_once(')')?.1;
        let fields: Vec<&str> = after.split_whitespace().collect();
        Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) / 100.0)
    };
    pids.iter().filter_map(of).sum()
}

/// Paths in an order that no cache likes, the same for both sides.
fn lua(work: &Path) -> Result<PathBuf> {
    let path = work.join("small.lua");
    let script = format!(
        "local n = 0\nrequest = function()\n  n = (n + 7919) % {SMALL_FILES}\n  \
         return wrk.format('GET', '/darksite/current/pool/bench/s' .. n)\nend\n"
    );
    fs::write(&path, script).context("writing wrk's script")?;
    Ok(path)
}

fn measure(
    ns: &Netns,
    options: &Options,
    case: &'static str,
    clients: u32,
    script: Option<&Path>,
    ours: &[u32],
    theirs: &[u32],
) -> Result<Row> {
    let (mut our, mut their) = (Measured::default(), Measured::default());
    // What is asked for a second time is not new.
    let rounds = if case == NEW { 1 } else { ROUNDS };
    for _ in 0..rounds {
        // One after the other, never at once: they would take the processors from each other.
        for (port, pids, best) in [(80, ours, &mut our), (NGINX_PORT, theirs, &mut their)] {
            let one = wrk(ns, options.seconds, port, clients, script, pids)?;
            if one.bytes_per_second > best.bytes_per_second {
                *best = one;
            }
        }
    }
    let (a, b) = match script {
        None => (our.bytes_per_second, their.bytes_per_second),
        Some(_) => (our.requests_per_second, their.requests_per_second),
    };
    Ok(Row { case, clients, ours: our, nginx: their, ratio: a / b, cpu_ratio: our.cpu_seconds_per_gb / their.cpu_seconds_per_gb })
}

fn wrk(ns: &Netns, seconds: u32, port: u16, clients: u32, script: Option<&Path>, pids: &[u32]) -> Result<Measured> {
    let url = format!("http://{SEED_IP}:{port}/darksite/current/pool/bench/large");
    let (connections, duration) = (format!("-c{clients}"), format!("-d{seconds}s"));
    let mut argv = tool::words(&["wrk", "-t1", &connections, &duration, "--timeout", "30s"]);
    if let Some(script) = script {
        argv.extend(tool::words(&["-s", &script.to_string_lossy()]));
    }
    argv.push(url);
    let before = cpu(pids);
    let said = tool::run_owned(&ns.argv(&argv))?;
    let used = cpu(pids) - before;
    let (requests, bytes) = parse(&said).with_context(|| format!("reading what wrk said: {said}"))?;
    let gb = bytes * f64::from(seconds) / 1e9;
    Ok(Measured { requests_per_second: requests, bytes_per_second: bytes, cpu_seconds_per_gb: used / gb.max(1e-9) })
}

/// Requests and bytes per second of wrk's report; `None` if it had errors, which would be no measurement.
fn parse(said: &str) -> Option<(f64, f64)> {
    let bad = |l: &&str| l.contains("Non-2xx") || l.trim_start().starts_with("Socket errors:") && !l.contains("timeout 0");
    if said.lines().any(|l| bad(&l)) {
        return None;
    }
    let value = |name: &str| said.lines().find_map(|l| l.trim().strip_prefix(name)).map(str::trim);
    let requests = value("Requests/sec:")?.parse().ok()?;
    let text = value("Transfer/sec:")?;
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "GB" => 1024f64.powi(3),
        "MB" => 1024f64.powi(2),
        "KB" => 1024.0,
        "B" => 1.0,
        _ => return None,
    };
    Some((requests, digits.parse::<f64>().ok()? * unit))
}

fn print(row: &Row) {
    let mb = |m: &Measured| m.bytes_per_second / 1e6;
    say::line(&format!(
        "{:13} {:3} clients: {:8.0} MB/s {:8.0} req/s {:.3} CPU s/GB; nginx {:8.0} MB/s {:8.0} req/s {:.3} CPU s/GB; ratio {:.2}, CPU {:.2}",
        row.case,
        row.clients,
        mb(&row.ours),
        row.ours.requests_per_second,
        row.ours.cpu_seconds_per_gb,
        mb(&row.nginx),
        row.nginx.requests_per_second,
        row.nginx.cpu_seconds_per_gb,
        row.ratio,
        row.cpu_ratio
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrks_report_is_read_and_errors_are_no_measurement() {
        let good = "  2 requests in 1.00s, 1.50GB read\nRequests/sec:   1234.50\nTransfer/sec:      1.50GB\n";
        assert_eq!(parse(good), Some((1234.5, 1.5 * 1024f64.powi(3))));
        assert_eq!(parse(&good.replace("1.50GB\n", "12.00KB\n")).unwrap().1, 12.0 * 1024.0);
        assert_eq!(parse(&format!("{good}  Non-2xx or 3xx responses: 4\n")), None);
        assert_eq!(parse(&format!("  Socket errors: connect 0, read 3, write 0, timeout 2\n{good}")), None);
        assert_eq!(parse(""), None);
        assert!(cpu(&[std::process::id()]) >= 0.0 && cpu(&[0]) == 0.0);
    }
}
