//! `kubedos-lab drill`: rebuilds a site from its capsule in an isolated network and measures the time.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster_seed::agent::ReportBody;
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::ids::Digest;
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::api::{Decision, Machine};
use crate::demo::accelerator;
use crate::dirs::RunDirs;
use crate::fake_agent::{FakeAgent, random};
use crate::fleet::{Access, Fleet};
use crate::member::Step;
use crate::netns::{PREFIX, SECOND_SEED_IP};
use crate::say;
use crate::seedd::Seedd;
use crate::site::Template;
use crate::vm::{Firmware, Spec};

const DISK: u64 = 8 << 30;
const FLOW_LIMIT: Duration = Duration::from_secs(60 * 60);
/// Host name of the replacement where the site has no node yet.
const FIRST_NODE: &str = "drill-1";
/// Who logs in at the rebuilt site.
const USER: &str = "drill";
/// The drill's own segment, laid over the site's cluster.yaml.
pub const OVERLAY: &str =
    "underlay:\n  subnet: 10.45.0.0/24\n  seed: 10.45.0.1\n  pool: {first: 10.45.0.100, last: 10.45.0.199}\n";

#[derive(Debug)]
pub struct Options {
    /// Data directory of the site that is taken as lost; only read.
    pub data: PathBuf,
    pub passphrase_file: PathBuf,
    /// Where the times go, as JSON.
    pub report: Option<PathBuf>,
}

/// A secret as a file for other programs, without a place on a disk; it is gone with this process (memfd_create(2)).
struct InMemory(File);

impl InMemory {
    fn new(name: &str, secret: &[u8]) -> Result<Self> {
        let mut file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC).context("making a file in memory")?);
        file.write_all(secret).context("writing a file in memory")?;
        Ok(InMemory(file))
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()))
    }
}

/// Moments since the loss, in the order they came.
#[derive(Debug)]
struct Clock {
    lost: Instant,
    moments: Vec<(&'static str, f64)>,
}

impl Clock {
    fn note(&mut self, what: &'static str) {
        let at = self.lost.elapsed();
        self.moments.push((what, at.as_secs_f64()));
        say::line(&format!("{what} after {}", say::seconds(at)));
    }
}

/// Runs the drill. The site's own daemon may go on running: its database is read, nothing of it is written.
pub fn run(dirs: &RunDirs, options: &Options) -> Result<()> {
    let (work, logs) = dirs.part("drill")?;
    // Standard input can be read once, but several verbs need the passphrase.
    let given = std::fs::read(&options.passphrase_file).context("reading the site's passphrase")?;
    let given = InMemory::new("passphrase", &given)?;
    let lost_site = Seedd::new(&options.data, &given.path())?;
    let spec = spec_of(&lost_site)?;
    let passphrase = hex(&random()?);
    let own = InMemory::new("own", passphrase.as_bytes())?;
    let site = Seedd { address: SECOND_SEED_IP.to_owned(), ..Seedd::new(&work.join("site"), &own.path())? };
    say::line("a seed of its own for the drill");
    site.init().context("making the drill's seed")?;
    say::line("the site's capsule");
    let capsule = work.join("site.capsule");
    let path = capsule.to_string_lossy();
    lost_site.say(&["export", "--recipient", &site.public("operator")?, "--out", &path]).context("exporting the site")?;
    let size = std::fs::metadata(&capsule).context("reading the capsule")?.len();
    say::line(&format!("the site is lost; a capsule of {} is left", say::megabytes(size)));
    let mut clock = Clock { lost: Instant::now(), moments: Vec::new() };
    site.say(&["import", &path, "--pin", &lost_site.public("site")?]).context("importing the capsule")?;
    clock.note("imported");
    promote(&site, &work, &own)?;
    clock.note("promoted");
    let planes: Vec<String> = spec.spec.networking.planes.values().map(|p| p.value.cidr.to_string()).collect();
    let name = rebuild(site, &passphrase, &planes, &work, &logs, &mut clock)?;
    let seconds = clock.lost.elapsed().as_secs_f64();
    finish(options, &spec, &name, size, seconds, &clock)
}

/// `seedd drill` as an operator types it, on a site with one node; what it measured is in the site's event log afterwards.
pub fn held(dirs: &RunDirs, template: &Template) -> Result<()> {
    let (work, logs) = dirs.part("held-drill")?;
    let seedd = template.copy(&work.join("data"))?;
    let name = format!("{PREFIX}{}-drilled", std::process::id());
    let fleet = Fleet::start(&name, seedd, 0, &work, &logs)?;
    let mut agent = FakeAgent::new(&fleet.ns, 81, DISK)?;
    let code = agent.enroll()?;
    let decision = Decision { code: &code, role: "base", hostname: "delta", disk: "vda", replace: false };
    fleet.client.approve(&agent.enrollment()?, &decision)?.good("approving the drill's node")?;
    ensure!(agent.confirm()?, "the drill's node did not confirm its code");
    agent.open(agent.send_claim(&agent.claim(random()?)?)?)?;
    let began = ReportBody::InstallBegan { artifact: Digest::of(b"any"), disk: "vda".into(), total: 1 };
    agent.report(1, began)?.good("reporting")?;
    agent.report(2, ReportBody::InstallDone { seconds: 1 })?.good("reporting")?;
    // The site goes on while the drill is held.
    let told = fleet.seedd.say(&["drill", "--json"]).context("seedd drill")?;
    let report: serde_json::Value = serde_json::from_str(&told).with_context(|| format!("reading the report {told}"))?;
    ensure!(report["node"] == "delta" && report["passed"] == true, "the drill's report: {report}");
    let event = fleet.client.events()?.into_iter().find(|e| e.kind == "drill.passed");
    let event = event.context("the event log contains no drill")?;
    say::line(&event.text);
    let site = fleet.client.site()?;
    ensure!(site["drills"][0]["kind"] == "drill.passed" && site["noDrill"].is_null(), "the page does not show it: {site}");
    fleet.ns.must_be_quiet()
}

fn spec_of(site: &Seedd) -> Result<ClusterSpec> {
    let file = site.cluster_file();
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    ClusterSpec::parse(&text).map_err(|e| anyhow::anyhow!("{}: {e}", file.display()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn promote(site: &Seedd, work: &Path, password: &InMemory) -> Result<()> {
    let overlay = work.join("overlay.yaml");
    std::fs::write(&overlay, OVERLAY).context("writing the overlay")?;
    site.say_plain(&["cluster", "overlay", &overlay.to_string_lossy()]).context("moving to the drill's segment")?;
    site.say(&["promote", "--drill", "--yes"]).context("promoting the drill's seed")?;
    let file = password.path();
    site.say_plain(&["admin", "set", USER, "--password-file", &file.to_string_lossy()]).context("making an administrator")?;
    Ok(())
}

/// One blank machine takes the place of the first node that the capsule knows.
fn rebuild(site: Seedd, secret: &str, planes: &[String], work: &Path, logs: &Path, clock: &mut Clock) -> Result<String> {
    let access = Access { user: USER.to_owned(), password: secret.to_owned(), passphrase: secret.to_owned() };
    let mut fleet = Fleet::again(&format!("{PREFIX}{}-drill", std::process::id()), site, access, planes, work, logs)?;
    clock.note("seed up");
    let known = first_node(&fleet.client.machines()?);
    let name = known.clone().unwrap_or_else(|| FIRST_NODE.to_owned());
    fleet.accel = accelerator(&fleet.seedd, &fleet.work)?;
    fleet.add(Spec { mac: "52:54:00:6b:66:01".to_owned(), ..Spec::new("spare", 1, Firmware::SeaBios) })?;
    fleet.members[0].replaces = known.is_some();
    fleet.members[0].hostname = Some(name.clone());
    clock.note("machine on");
    fleet.until("the replacement to be FabricReady", FLOW_LIMIT, |fleet| {
        if let Some(code) = fleet.waiting_code(0) {
            fleet.approve(0, &code)?;
        }
        Ok(fleet.all(Step::FabricReady))
    })?;
    clock.note("fabric ready");
    Ok(name)
}

/// Label of the first node in the fabric or on its way there.
fn first_node(machines: &[Machine]) -> Option<String> {
    let live = ["Installed", "FabricReady", "Converged"];
    let mut nodes = machines.iter().filter_map(|m| m.enrollment.as_ref()).filter(|e| live.contains(&e.state.as_str()));
    nodes.find_map(|e| e.hostname.as_ref()?.split('.').next().map(str::to_owned))
}

fn finish(options: &Options, spec: &ClusterSpec, node: &str, capsule: u64, seconds: f64, clock: &Clock) -> Result<()> {
    let target = f64::from(spec.spec.acceptance.mttr_target_minutes) * 60.0;
    let moments: serde_json::Map<String, serde_json::Value> =
        clock.moments.iter().map(|(what, at)| ((*what).to_owned(), (*at).into())).collect();
    let report = serde_json::json!({
        "site": spec.metadata.name, "node": node, "capsuleBytes": capsule, "seconds": seconds,
        "targetSeconds": target, "passed": seconds <= target, "moments": moments,
    });
    if let Some(file) = &options.report {
        let text = serde_json::to_string_pretty(&report).context("writing the report")?;
        std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    let took = say::seconds(Duration::from_secs_f64(seconds));
    let aim = say::seconds(Duration::from_secs_f64(target));
    if seconds > target {
        bail!("the drill took {took}, the target (acceptance.mttrTargetMinutes) is {aim}");
    }
    say::line(&format!("{node} was restored {took} after the loss of the site; the target is {aim}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_memory_is_read_by_each_program_that_needs_it() {
        let secret = InMemory::new("test", b"correct horse").unwrap();
        for _ in 0..2 {
            assert_eq!(
                crate::tool::run_owned(&["cat".to_owned(), secret.path().display().to_string()]).unwrap(),
                "correct horse"
            );
        }
    }

    #[test]
    fn the_node_to_replace_is_not_a_revoked_one() {
        let machine = |state: &str, name: Option<&str>| -> Machine {
            let enrollment = serde_json::json!({"id": "x", "state": state, "hostname": name, "addresses": []});
            serde_json::from_value(serde_json::json!({"id": 1, "mac": "m", "ip": null, "enrollment": enrollment})).unwrap()
        };
        assert_eq!(first_node(&[]), None);
        assert_eq!(first_node(&[machine("Pending", None), machine("Revoked", Some("old.x"))]), None);
        let machines = [machine("Failed", Some("a.x")), machine("Converged", Some("beta.kubedos.lan"))];
        assert_eq!(first_node(&machines).as_deref(), Some("beta"));
    }
}
