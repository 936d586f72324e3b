//! The loss of a site: a second one imports its capsule and replaces it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster_seed::agent::ReportBody;
use cluster_seed::ids::Digest;
use serde_json::json;

use crate::api::{Decision, Machine};
use crate::checks::Ssh;
use crate::demo::{accelerator, specs};
use crate::dirs::RunDirs;
use crate::drill::OVERLAY;
use crate::fake_agent::{FakeAgent, random};
use crate::fleet::{Access, Fleet};
use crate::member::Step;
use crate::netns::{PREFIX, SECOND_SEED_IP};
use crate::say;
use crate::seedd::Seedd;
use crate::site::Template;
use crate::stop;

const FLOW_LIMIT: Duration = Duration::from_secs(40 * 60);
/// Time limit for a node to refuse an older seed.
const REFUSAL_LIMIT: Duration = Duration::from_secs(180);
const NODES: [&str; 2] = ["alpha", "beta"];
const DISK: u64 = 8 << 30;
/// Names and plane addresses of nodes, in the order of [`NODES`].
type Addresses = Vec<Vec<(String, String)>>;

/// Site A with two nodes is lost; site B imports, is promoted and reinstalls both; then A comes back and is refused.
pub fn run(dirs: &RunDirs, template: &Template) -> Result<()> {
    let (work, logs) = dirs.part("second-site")?;
    let (a, before) = site_a(template, &work, &logs)?;
    let b = Seedd { address: SECOND_SEED_IP.to_owned(), ..template.seedd.on(&work.join("site-b")) };
    b.init().context("making site B")?;
    let capsule = export(&a, &b, &work)?;
    say::line("site A is lost");
    let lost = Instant::now();
    take_over(&a, &b, &capsule, &work)?;
    let (mut fleet, after) = rebuild(b, &work, &logs)?;
    ensure!(after == before, "the planes' addresses changed: {before:?} became {after:?}");
    say::line(&format!(
        "both nodes were restored {} after the loss, with their names and addresses",
        say::seconds(lost.elapsed())
    ));
    // The play that is behind the fabric gate brings the operators' SSH keys.
    fleet.until("both replacements to be Converged", FLOW_LIMIT, |fleet| Ok(fleet.all(Step::Converged)))?;
    refuses_the_old_seed(&mut fleet, &a, &template.ssh_key)?;
    fleet.ns.must_be_quiet()
}

/// Site A and its two nodes. They are agents without machines: what counts here is what the site knows of them.
fn site_a(template: &Template, work: &Path, logs: &Path) -> Result<(Seedd, Addresses)> {
    let (work, logs) = (work.join("a"), logs.join("a"));
    for dir in [&work, &logs] {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    }
    let seedd = template.copy(&work.join("data"))?;
    let fleet = Fleet::start(&format!("{PREFIX}{}-site-a", std::process::id()), seedd, 0, &work, &logs)?;
    for (number, name) in (41u8..).zip(NODES) {
        let mut agent = FakeAgent::new(&fleet.ns, number, DISK)?;
        let code = agent.enroll()?;
        let decision = Decision { code: &code, role: "base", hostname: name, disk: "vda", replace: false };
        fleet.client.approve(&agent.enrollment()?, &decision)?.good("approving at site A")?;
        ensure!(agent.confirm()?, "{name} did not confirm its code");
        agent.open(agent.send_claim(&agent.claim(random()?)?)?)?;
        let began = ReportBody::InstallBegan { artifact: Digest::of(b"any"), disk: "vda".into(), total: 1 };
        agent.report(1, began)?.good("reporting to site A")?;
        agent.report(2, ReportBody::InstallDone { seconds: 1 })?.good("reporting to site A")?;
    }
    let addresses = addresses(&fleet.client.machines()?)?;
    let Fleet { seedd, mut daemon, .. } = fleet;
    ensure!(daemon.stop(), "site A's daemon did not end on SIGTERM");
    Ok((seedd, addresses))
}

/// The live nodes' addresses, by name.
fn addresses(machines: &[Machine]) -> Result<Addresses> {
    let named = |name: &str| {
        let live = ["Installed", "FabricReady", "Converged"];
        let enrollments = machines.iter().filter_map(|m| m.enrollment.as_ref());
        let mut of = enrollments.filter(|e| e.hostname.as_deref().is_some_and(|h| h.split('.').next() == Some(name)));
        of.find(|e| live.contains(&e.state.as_str())).map(|e| e.addresses.clone()).with_context(|| format!("no node {name}"))
    };
    NODES.into_iter().map(named).collect()
}

fn export(a: &Seedd, b: &Seedd, work: &Path) -> Result<PathBuf> {
    let file = work.join("site-a.capsule");
    let began = Instant::now();
    a.say(&["export", "--recipient", &b.public("operator")?, "--out", &file.to_string_lossy()]).context("exporting site A")?;
    let size = std::fs::metadata(&file).context("reading the capsule")?.len();
    say::line(&format!("capsule of {} written in {}", say::megabytes(size), say::seconds(began.elapsed())));
    Ok(file)
}

/// Import, another subnet, promotion. A wrong pin gets nothing first.
fn take_over(a: &Seedd, b: &Seedd, capsule: &Path, work: &Path) -> Result<()> {
    let file = capsule.to_string_lossy();
    ensure!(b.say(&["import", &file, "--pin", &"0".repeat(64)]).is_err(), "a capsule of another site was imported");
    b.say(&["import", &file, "--pin", &a.public("site")?]).context("importing at site B")?;
    ensure!(b.public("site")? == a.public("site")?, "site B did not get the site key");
    let overlay = work.join("overlay.yaml");
    std::fs::write(&overlay, OVERLAY).context("writing the overlay")?;
    b.say_plain(&["cluster", "overlay", &overlay.to_string_lossy()]).context("overriding the subnet with site B's")?;
    b.say(&["promote", "--yes"]).context("promoting site B").map(|_| ())
}

/// Site B serves its own segment and installs both nodes as replacements.
fn rebuild(b: Seedd, work: &Path, logs: &Path) -> Result<(Fleet, Addresses)> {
    let (work, logs) = (work.join("b"), logs.join("b"));
    for dir in [&work, &logs] {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    }
    let mut fleet = Fleet::again(&format!("{PREFIX}{}-site-b", std::process::id()), b, Access::lab(), &[], &work, &logs)?;
    fleet.accel = accelerator(&fleet.seedd, &fleet.work)?;
    for (number, spec) in (51u8..).zip(specs()) {
        let mac = format!("52:54:00:6b:65:{number:02x}");
        fleet.add(crate::vm::Spec { mac, ..spec })?;
    }
    for member in &mut fleet.members {
        member.replaces = true;
    }
    fleet.approve_until(Step::FabricReady, "both replacements to be FabricReady", FLOW_LIMIT)?;
    let after = addresses(&fleet.client.machines()?)?;
    Ok((fleet, after))
}

/// Site A's seed answers at B's address: the nodes send it the newer epoch, and it is fenced.
fn refuses_the_old_seed(fleet: &mut Fleet, a: &Seedd, key: &Path) -> Result<()> {
    let address = fleet.members[0].machine.as_ref().context("no machine")?.planes().remove("wg1").context("no wg1")?;
    let held = epoch_of(fleet, key, &address)?;
    say::line("site A comes back, at site B's address");
    let old = Seedd { address: SECOND_SEED_IP.to_owned(), ..a.clone() };
    old.say_plain(&["cluster", "overlay", &overlay_of(a)?.to_string_lossy()]).context("moving site A to site B's segment")?;
    let new = std::mem::replace(&mut fleet.seedd, old);
    fleet.power_cut("and site A's in its place")?;
    stop::wait_for("site A to be fenced by a node", REFUSAL_LIMIT, || {
        for member in &mut fleet.members {
            member.vm.poll()?;
        }
        // The listener is replaced when it is fenced.
        let mode = fleet.client.status().map(|s| s["mode"].clone()).unwrap_or_default();
        Ok((mode == json!("fenced")).then_some(()))
    })?;
    say::line("a node fenced site A");
    fleet.seedd = new;
    fleet.power_cut("of site A; site B continues")?;
    // The seed's plane is recreated.
    let now = stop::wait_for("a node to answer site B again", REFUSAL_LIMIT, || Ok(epoch_of(fleet, key, &address).ok()))?;
    ensure!(now == held, "the node's epoch changed");
    Ok(())
}

/// The epoch that a node follows.
fn epoch_of(fleet: &Fleet, key: &Path, address: &str) -> Result<String> {
    let said = Ssh { fleet, key, address }.run("/usr/lib/kubedos/kubedos-node status").context("asking a node for its epoch")?;
    let mut words = said.split_whitespace().skip_while(|w| *w != "epoch").skip(1);
    words.next().map(str::to_owned).with_context(|| format!("a node printed no epoch: {said}"))
}

fn overlay_of(a: &Seedd) -> Result<PathBuf> {
    let file = a.data.with_extension("overlay.yaml");
    std::fs::write(&file, OVERLAY).context("writing the overlay")?;
    Ok(file)
}
