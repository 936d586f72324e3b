//! Wrong clocks: a machine whose hardware clock is at 1970 during installation, and at 2099 after a restart.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Error, Result, ensure};
use cluster_seed::time::{TimeSpec, TimeState, parse_tracking, seed_config};
use kubedos_skip as skip;

use crate::checks::Ssh;
use crate::demo::accelerator;
use crate::fleet::Fleet;
use crate::member::{Member, Step};
use crate::netns::{Netns, PREFIX, SEED_IP, SUBNET};
use crate::say;
use crate::site::Template;
use crate::stop;
use crate::tool::{self, Background, words};
use crate::vm::{Firmware, Spec, Vm};

const FLOW_LIMIT: Duration = Duration::from_secs(25 * 60);
const BOOT_LIMIT: Duration = Duration::from_secs(10 * 60);
/// Seconds between the node's clock and the host's that a busy emulator may make.
const CLOSE: u64 = 60;
/// wg1 of the default cluster.yaml, and the seed's address there.
const PLANE: &str = "10.78.0.0/16";
const SEED_ON_PLANE: &str = "10.78.0.1";
const EARLY: &str = "1970-01-01T00:00:00";
const LATE: &str = "2099-06-01T00:00:00";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// The seed's NTP server in the lab's network: chrony with the seed's own configuration, without touching the host's clock
/// (-x). `None` where chrony is not installed: then a node has only the lower bound of its image.
pub fn serve_time(ns: &Netns, work: &Path, logs: &Path) -> Result<Option<Background>> {
    let Some(chronyd) = tool::find("chronyd") else {
        skip::note("chronyd", "is not installed; the nodes get no time from the seed").map_err(Error::msg)?;
        return Ok(None);
    };
    let networks = [SUBNET.parse().context("reading the lab's subnet")?, PLANE.parse().context("reading wg1's subnet")?];
    let more = format!("user root\npidfile {0}/chronyd.pid\nbindcmdaddress /\ncmdport 0\n", work.display());
    let text = seed_config(&TimeSpec::default(), &networks).replace("/var/lib/chrony", &work.to_string_lossy()) + &more;
    let file = work.join("chrony.conf");
    std::fs::write(&file, text).context("writing chrony's configuration")?;
    let argv = ns.argv(&words(&[&chronyd.to_string_lossy(), "-x", "-d", "-f", &file.to_string_lossy()]));
    Background::spawn("chronyd", &argv, &logs.join("chronyd.log"), None).map(Some)
}

/// Installs under the early clock, starts again under the late one.
pub fn run(template: &Template, work: &Path, logs: &Path) -> Result<()> {
    let seedd = template.copy(&work.join("data"))?;
    let mut fleet = Fleet::start(&format!("{PREFIX}{}-clock", std::process::id()), seedd, 0, work, logs)?;
    fleet.accel = accelerator(&fleet.seedd, &fleet.work)?;
    let mut time = serve_time(&fleet.ns, work, logs)?;
    let spec = Spec { clock: Some(EARLY.to_owned()), ..Spec::new("clock", 61, Firmware::SeaBios) };
    fleet.add(spec.clone())?;
    fleet.until("the machine of 1970 to be Converged", FLOW_LIMIT, |fleet| {
        if let Some(code) = fleet.waiting_code(0) {
            fleet.approve(0, &code)?;
        }
        Ok(fleet.all(Step::Converged))
    })?;
    if let Some(time) = &mut time {
        time.must_run()?;
    }
    let address = fleet.members[0].machine.as_ref().context("no machine")?.planes().remove("wg1").context("no wg1")?;
    judge(&fleet, template, &address, time.is_some(), EARLY)?;
    let Member { vm, .. } = fleet.members.remove(0);
    let disk = vm.power_off();
    let late = Spec { clock: Some(LATE.to_owned()), ..spec };
    let mut vm = Vm::power_on(&fleet.ns, late, fleet.accel, disk, work, logs)?;
    vm.wait(0, "kubedos: step fabric gate", BOOT_LIMIT)?;
    judge(&fleet, template, &address, time.is_some(), LATE)?;
    fleet.ns.must_be_quiet()
}

/// The node can be reached by its plane, and its clock is right, or at least not that of its hardware.
fn judge(fleet: &Fleet, template: &Template, address: &str, served: bool, hardware: &str) -> Result<()> {
    let ssh = Ssh { fleet, key: &template.ssh_key, address };
    let clock = stop::wait_for(&format!("the clock of {address}"), BOOT_LIMIT, || {
        Ok(ssh.run("date +%s").ok().and_then(|text| text.trim().parse::<u64>().ok()))
    })?;
    // It may be between two starts of chrony: the second is over the control plane.
    let ask = || ssh.run("chronyc -n -c tracking").unwrap_or_default();
    let mut tracking = ask();
    if served {
        tracking = stop::wait_for("chrony to follow the seed", BOOT_LIMIT, || {
            let text = ask();
            Ok(parse_tracking(&text).is_some_and(|t| t.state == TimeState::Synchronised).then_some(text))
        })?;
    }
    say::line(&format!(
        "hardware clock {hardware}: the node's is {} s from the host's; chrony: {}",
        now().abs_diff(clock),
        tracking.trim()
    ));
    if served {
        let tracking = parse_tracking(&tracking).context("reading chrony's state on the node")?;
        ensure!(
            tracking.state == TimeState::Synchronised && [SEED_IP, SEED_ON_PLANE].contains(&tracking.source.as_str()),
            "chrony follows {tracking:?}"
        );
        ensure!(now().abs_diff(clock) < CLOSE, "the node's clock is at {clock}");
    }
    // 2025 to 2060: the date of the image, and whatever a person can have set meanwhile.
    ensure!((1_735_689_600..2_840_140_800).contains(&clock), "the node uses its hardware clock: {clock}");
    Ok(())
}
