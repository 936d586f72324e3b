//! What an installed node does at every start: name, planes, peers, gate, play, each step reported.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use camino::Utf8Path;
use cluster_seed::agent::{ApplyStep, ReportBody};
use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::identity::NodeIdentity;
use cluster_seed::peers::PeersFile;
use serde::Deserialize;

use crate::assets::ANSIBLE_DIR;
use crate::clock;
use crate::console::Console;
use crate::gate;
use crate::http::{Http, Wait, chain};
use crate::planes;
use crate::report::{LAST_WORDS, ReportError, Reporter};
use crate::state::{NodeDir, read_limited, write_atomic};
use host::tool::{Tool, ToolError};

/// Where what the play reads is written, in RAM.
const RUN: &str = "/run/kubedos";
/// Attempts to fetch the peer list before the one held must do.
const PEER_TRIES: u32 = 10;
/// Times the gate is reported until the seed has reached this node too, three seconds apart.
const GATE_REPORTS: u32 = 60;
/// Time limit of the play.
const PLAY: Duration = Duration::from_secs(50 * 60);
/// Largest hosts file looked at, in bytes.
const MAX_HOSTS: u64 = 16 << 20;
/// Runs of the play before it counts as failed.
const PLAY_TRIES: u32 = 3;
/// What the callback plugin puts before each line of its own.
const MARK: &str = "KUBEDOS ";

/// An installed node.
pub struct Node<'a> {
    /// `/`
    pub root: &'a Utf8Path,
    pub dir: &'a NodeDir,
    pub identity: &'a NodeIdentity,
    pub http: &'a Http,
    pub console: &'a Console,
    pub reporter: &'a Reporter<'a>,
    pub wait: Wait<'a>,
    /// Unix seconds by the node's clock.
    pub now: &'a dyn Fn() -> u64,
}

/// One line of the callback plugin.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Line {
    Stats { stats: Stats },
    Step { name: String, result: String, detail: String },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
struct Stats {
    ok: u32,
    changed: u32,
}

fn parse_line(line: &str) -> Option<Line> {
    serde_json::from_str(line.strip_prefix(MARK)?).ok()
}

impl Node<'_> {
    /// Everything; an error means that the unit tries again.
    pub fn apply(&self) -> anyhow::Result<()> {
        let host = &self.identity.info.hostname;
        nix::unistd::sethostname(host.label()).context("setting the host name")?;
        self.console.step(&format!("node {host}"));
        // Before WireGuard, which takes no handshake older than the last, and before apt.
        if let Some(seed) = clock::seed_of(&self.identity.info.seed_url) {
            let words = clock::follow(self.root, seed, self.wait).context("asking the seed for the time")?;
            self.console.step(&format!("time {words}"));
        }
        let peers = self.first_peers()?;
        self.console.step("planes");
        planes::up(self.root, self.identity, &peers).context("bringing up the planes")?;
        self.booted();
        self.gate(&peers)?;
        self.write_play_input(&peers)?;
        self.play()
    }

    fn first_peers(&self) -> anyhow::Result<PeersFile> {
        for attempt in 0..PEER_TRIES {
            match planes::refresh(self.http, self.dir, self.identity) {
                Ok((peers, _)) => return Ok(peers),
                Err(e) => {
                    tracing::warn!(error = %chain(&e), attempt, "peer list not refreshed");
                    (self.wait)(Duration::from_secs(3));
                }
            }
        }
        self.dir.peers(self.identity).context("reading the peer list")
    }

    /// Fetches the peer list and, if it is news, changes planes and hosts file.
    pub fn refresh_peers(&self) -> anyhow::Result<()> {
        let (peers, changed) = planes::refresh(self.http, self.dir, self.identity)?;
        let stale = planes::forget_ahead(self.identity, (self.now)());
        let missing = self.identity.info.planes.keys().any(|p| !self.root.join("sys/class/net").join(p).exists());
        if !changed && !missing && !stale {
            return Ok(());
        }
        planes::up(self.root, self.identity, &peers).context("changing the planes")?;
        let hosts = self.root.join("etc/hosts");
        let ours = read_limited(&hosts, MAX_HOSTS).is_ok_and(|b| planes::is_our_hosts(&String::from_utf8_lossy(&b)));
        if ours {
            write_atomic(&hosts, planes::hosts_text(self.identity, &peers).as_bytes(), 0o644)?;
        }
        tracing::info!(version = peers.version, nodes = peers.nodes.len(), "new peer list");
        Ok(())
    }

    fn booted(&self) {
        let read = |path: &str| fs::read_to_string(self.root.join(path)).unwrap_or_default().trim().to_owned();
        let body =
            ReportBody::Booted { kernel: read("proc/sys/kernel/osrelease"), boot_id: read("proc/sys/kernel/random/boot_id") };
        if let Err(e) = self.reporter.deliver(body, LAST_WORDS) {
            tracing::warn!(error = %chain(&e), "boot not reported");
        }
    }

    fn gate(&self, peers: &PeersFile) -> anyhow::Result<()> {
        self.console.step("fabric gate");
        let checks = gate::pass(gate::ROUNDS, self.wait, || gate::look(self.root, self.identity, peers));
        for check in checks.iter().filter(|c| !c.ok) {
            self.console.error(&format!("{}: {}", check.name, check.detail));
        }
        let here = gate::passed(&checks);
        for _ in 0..GATE_REPORTS {
            match self.reporter.deliver(ReportBody::Gate { checks: checks.clone() }, LAST_WORDS) {
                // Ours is well but the seed has not reached us yet: it looks again with each report.
                Ok(reply) if here && reply.state == EnrollmentState::Installed => (self.wait)(Duration::from_secs(3)),
                Ok(reply) => {
                    tracing::info!(state = reply.state.as_str(), "gate reported");
                    break;
                }
                // A node that converged long ago may be told that there is nothing to gate.
                Err(ReportError::Http(e)) if e.status() == Some(409) => break,
                Err(e) => return Err(e).context("reporting the gate"),
            }
        }
        if !here {
            bail!("the fabric gate did not pass");
        }
        self.console.step("fabric ready");
        Ok(())
    }

    /// Variables, hosts file and key ring for the play: nothing of it secret.
    fn write_play_input(&self, peers: &PeersFile) -> anyhow::Result<()> {
        let info = &self.identity.info;
        let run = Utf8Path::new(RUN);
        fs::create_dir_all(run).with_context(|| format!("making {run}"))?;
        let keyring = base64::engine::general_purpose::STANDARD.decode(&info.darksite.keyring).context("reading the key ring")?;
        let vars = serde_json::json!({ "kubedos": {
            "label": info.hostname.label(),
            "fqdn": info.hostname,
            "role": info.role,
            "planes": info.planes.keys().collect::<Vec<_>>(),
            "ports": info.planes.values().map(|p| p.port).collect::<Vec<_>>(),
            "authorized_keys": info.authorized_keys,
            "darksite": {
                "url": info.darksite.url,
                "suite": info.darksite.suite,
                "components": info.darksite.components,
                "mode": info.darksite.mode,
                "upstream": info.darksite.upstream,
            },
        }});
        write_atomic(&run.join("vars.json"), &serde_json::to_vec(&vars)?, 0o600)?;
        write_atomic(&run.join("darksite.gpg"), &keyring, 0o644)?;
        write_atomic(&run.join("hosts"), planes::hosts_text(self.identity, peers).as_bytes(), 0o644)?;
        Ok(())
    }

    /// A play that failed is run again before the seed is told: Failed is a state an enrollment does not leave.
    fn play(&self) -> anyhow::Result<()> {
        let mut attempt = 1;
        let stats = loop {
            self.console.step("play");
            match self.play_once() {
                Ok(stats) => break stats,
                Err(why) if attempt < PLAY_TRIES => self.console.error(&format!("play: {why}; trying again")),
                Err(why) => {
                    self.console.error(&format!("play: {why}"));
                    self.reporter.failed("ansible", &why);
                    bail!("the play failed: {why}");
                }
            }
            (self.wait)(Duration::from_secs(10));
            attempt += 1;
        };
        let done = ReportBody::ApplyDone { changed: stats.changed, ok: stats.ok };
        match self.reporter.deliver(done, LAST_WORDS) {
            Ok(_) => {}
            Err(ReportError::Http(e)) if e.status() == Some(409) => tracing::info!("the seed knew that this node had converged"),
            Err(e) => return Err(e).context("reporting the end of the play"),
        }
        self.console.step(&format!("converged ({} ok, {} changed)", stats.ok, stats.changed));
        Ok(())
    }

    /// One run; an error is why it failed, for people.
    fn play_once(&self) -> Result<Stats, String> {
        let (stats, failed) = (Mutex::new(Stats::default()), Mutex::new(String::new()));
        let on_line = |line: &str| match parse_line(line) {
            Some(Line::Stats { stats: total }) => *lock(&stats) = total,
            Some(Line::Step { name, result, detail }) => {
                self.console.step(&format!("play: {name}: {result}"));
                if result == "failed" || result == "unreachable" {
                    *lock(&failed) = format!("{name}: {detail}");
                }
                self.reporter.tell(ReportBody::ApplyProgress { step: ApplyStep { name, result, detail } });
            }
            None => tracing::info!(line, "ansible"),
        };
        let result = ansible().on_stderr_line(on_line).run();
        let why = lock(&failed).clone();
        match result {
            Ok(_) => Ok(*lock(&stats)),
            Err(e) if why.is_empty() => Err(without_lines(&e)),
            Err(_) => Err(why),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The end of stderr without the callback's lines.
fn without_lines(error: &ToolError) -> String {
    chain(error).lines().filter(|l| !l.contains(MARK)).collect::<Vec<_>>().join(" ")
}

fn ansible<'t>() -> Tool<'t> {
    Tool::new("ansible-playbook")
        .args(["-i", "localhost,", "-c", "local", "-e", &format!("@{RUN}/vars.json"), "playbooks/site.yml"])
        .dir(ANSIBLE_DIR.into())
        .clean_env()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("LC_ALL", "C.UTF-8")
        .env("ANSIBLE_ROLES_PATH", format!("{ANSIBLE_DIR}/roles"))
        .env("ANSIBLE_CALLBACK_PLUGINS", format!("{ANSIBLE_DIR}/callback_plugins"))
        .env("ANSIBLE_STDOUT_CALLBACK", "kubedos_json")
        .env("ANSIBLE_PYTHON_INTERPRETER", "/usr/bin/python3")
        .env("ANSIBLE_PIPELINING", "True")
        .env("ANSIBLE_LOCAL_TEMP", format!("{RUN}/ansible"))
        .env("ANSIBLE_REMOTE_TEMP", format!("{RUN}/ansible"))
        .env("ANSIBLE_NOCOLOR", "1")
        .timeout(PLAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_callback_are_told_from_the_rest() {
        let step = parse_line(r#"KUBEDOS {"name": "Host name", "result": "changed", "detail": ""}"#).unwrap();
        assert_eq!(step, Line::Step { name: "Host name".into(), result: "changed".into(), detail: String::new() });
        let stats = parse_line(r#"KUBEDOS {"stats": {"ok": 3, "changed": 1, "failures": 0}}"#).unwrap();
        assert_eq!(stats, Line::Stats { stats: Stats { ok: 3, changed: 1 } });
        for other in ["[WARNING]: x", r#"{"name":"a","result":"ok","detail":""}"#, "KUBEDOS {", "KUBEDOS []"] {
            assert_eq!(parse_line(other), None, "{other}");
        }
    }
}
