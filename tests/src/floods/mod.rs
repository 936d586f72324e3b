//! A rack of 40 machines enrolls while a stranger does all he can from 64 addresses of the same segment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster_seed::agent::ReportBody;
use cluster_seed::ids::{Digest, Mac};

use crate::api::Decision;
use crate::fake_agent::{FakeAgent, random};
use crate::fleet::Fleet;
use crate::netns::{Netns, PREFIX, SEED_IP};
use crate::protocol::{Guest, first_role};
use crate::say;
use crate::stop;

mod stranger;

use stranger::{Floods, addresses};

/// Machines of the rack, and the first one's number.
const RACK: u8 = 40;
const FIRST: u8 = 100;
const DISK: u64 = 64 << 30;
/// How long the floods run before the first machine is switched on.
const AHEAD: Duration = Duration::from_secs(25);
/// From the first DHCPDISCOVER to the last report.
const LIMIT: Duration = Duration::from_secs(600);
/// Between two attempts of a machine at one step, as firmware and the agent wait.
const AGAIN: Duration = Duration::from_secs(2);
/// How long refused claims alone are sent, and the rows that they may add to the event log.
const CLAIMS: Duration = Duration::from_secs(60);
const ROWS: i64 = 10;

/// The stranger's own network namespace, with a cable to the segment.
fn plug(fleet: &Fleet) -> Result<Netns> {
    let ns = Netns::empty(&format!("{PREFIX}{}-stranger", std::process::id()), &fleet.work)?;
    fleet.ns.cable("stranger", &ns, "eth0", "52:54:00:6b:66:66")?;
    for address in addresses() {
        ns.ip(&["addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
    }
    Ok(ns)
}

fn newest(fleet: &Fleet) -> Result<i64> {
    Ok(fleet.client.events()?.iter().map(|e| e.id).max().unwrap_or(0))
}

/// 60 seconds of claims for an enrollment that does not exist leave a counter, not rows.
pub fn claims(fleet: &mut Fleet) -> Result<()> {
    let ns = plug(fleet)?;
    let before = newest(fleet)?;
    let (stop, floods) = (AtomicBool::new(false), Floods::default());
    std::thread::scope(|scope| -> Result<()> {
        let running = scope.spawn(|| ns.enter(|| floods.claims_only(&stop)));
        let waited = stop::sleep(CLAIMS);
        stop.store(true, Ordering::Relaxed);
        running.join().map_err(|_| anyhow::anyhow!("the flood of claims panicked"))??;
        waited
    })?;
    let rows = newest(fleet)? - before;
    say::line(&format!("{} refused claims in {} s added {rows} rows", floods.claims(), CLAIMS.as_secs()));
    ensure!(floods.claims() > 1_000, "only {} claims were sent: that is no flood", floods.claims());
    ensure!(rows < ROWS, "refused claims added {rows} rows to the event log");
    Ok(())
}

/// The rack boots and enrolls through all floods at once; then its members are still reachable for the operator.
pub fn rack(fleet: &mut Fleet) -> Result<()> {
    let role = first_role(&fleet.client)?;
    let ns = plug(fleet)?;
    let guests = (FIRST..FIRST + RACK).map(|n| Guest::plug(fleet, n)).collect::<Result<Vec<_>>>()?;
    let (stop, floods) = (AtomicBool::new(false), Floods::default());
    let macs: Vec<Mac> = (FIRST..FIRST + RACK).map(mac).collect();
    let before = newest(fleet)?;
    let mut took = Duration::ZERO;
    let fleet_ref: &Fleet = fleet;
    let failed = std::thread::scope(|scope| -> Result<Vec<String>> {
        let running = scope.spawn(|| ns.enter(|| floods.all(&stop, &macs)));
        // The floods have taken what they can get before the rack is switched on.
        stop::sleep(AHEAD)?;
        let began = Instant::now();
        let failed = power_on(fleet_ref, &guests, &role);
        took = began.elapsed();
        stop.store(true, Ordering::Relaxed);
        running.join().map_err(|_| anyhow::anyhow!("the floods panicked"))??;
        Ok(failed)
    })?;
    say::line(&format!(
        "{} of {RACK} machines enrolled in {} through {}; {} rows were added to the event log",
        usize::from(RACK) - failed.len(),
        say::seconds(took),
        floods.summary(),
        newest(fleet)? - before
    ));
    floods.were_floods()?;
    ensure!(failed.is_empty(), "{} machines failed: {}", failed.len(), failed.join("; "));
    let members = fleet.client.machines()?.into_iter().filter(|m| m.state() == "Installed").count();
    ensure!(members >= usize::from(RACK), "{members} machines are shown as installed");
    fleet.daemon.must_run()
}

fn mac(number: u8) -> Mac {
    Mac([0x52, 0x54, 0x00, 0x6b, 0x99, number])
}

/// All machines at once; what failed, in words.
fn power_on(fleet: &Fleet, guests: &[Guest], role: &str) -> Vec<String> {
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for (number, guest) in (FIRST..).zip(guests) {
            let failed = &failed;
            scope.spawn(move || {
                if let Err(error) = machine(fleet, guest, number, role) {
                    failed.lock().unwrap_or_else(PoisonError::into_inner).push(format!("machine {number}: {error:#}"));
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// One machine: an address, its loader by TFTP, its boot script by HTTP, the pairing, its identity, two reports.
fn machine(fleet: &Fleet, guest: &Guest, number: u8, role: &str) -> Result<()> {
    let began = Instant::now();
    let address = again(began, "an address", || guest.lease())?;
    guest.ns.ip(&["addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
    let file = fleet.work.join(format!("loader-{number}"));
    again(began, "the loader", || {
        let path = file.to_string_lossy().into_owned();
        guest.ns.run(&["tftp", "-m", "binary", SEED_IP, "-c", "get", "undionly.kpxe", &path])?;
        let size = std::fs::metadata(&file).context("reading the loader")?.len();
        ensure!(size > 40_000, "the loader has {size} bytes");
        Ok(())
    })?;
    let url = format!("http://{SEED_IP}/boot/ipxe?mac={}&arch=x86_64", mac(number));
    again(began, "the boot script", || guest.ns.run(&["curl", "-sS", "--fail", "--max-time", "20", "-o", "/dev/null", &url]))?;
    let mut agent = FakeAgent::new(&guest.ns, number, DISK)?;
    agent.mac = mac(number);
    let host = format!("rack{number}");
    // A refusal ends an attempt, and the agent begins another one, as on a machine.
    again(began, "the approval", || {
        let code = agent.enroll()?;
        let decision = Decision { code: &code, role, hostname: &host, disk: "vda", replace: false };
        fleet.client.approve(&agent.enrollment()?, &decision)?.good("approving")?;
        ensure!(agent.confirm()?, "the code was wrong");
        Ok(())
    })?;
    let claim = agent.claim(random()?)?;
    let name = again(began, "the identity", || agent.open(agent.send_claim(&claim)?))?;
    ensure!(name.starts_with(&host), "the identity is for {name}");
    let report = ReportBody::InstallBegan { artifact: Digest::of(b"?"), disk: "vda".into(), total: 1 };
    again(began, "the first report", || agent.report(1, report.clone())?.good("reporting"))?;
    again(began, "the second report", || agent.report(2, ReportBody::InstallDone { seconds: 1 })?.good("reporting"))?;
    Ok(())
}

/// The step's result, tried until the rack's time is over.
fn again<T>(began: Instant, what: &str, mut step: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match step() {
            Ok(done) => return Ok(done),
            Err(error) if began.elapsed() > LIMIT => return Err(error.context(format!("{what} after {} s", LIMIT.as_secs()))),
            Err(_) => stop::sleep(AGAIN)?,
        }
    }
}
