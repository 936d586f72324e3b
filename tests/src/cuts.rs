//! Power failures of a machine during installation: whenever it happens, switching it on again continues.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::demo::accelerator;
use crate::fleet::Fleet;
use crate::member::{Member, Step};
use crate::netns::PREFIX;
use crate::say;
use crate::site::Template;
use crate::vm::{Firmware, Spec};

const FLOW_LIMIT: Duration = Duration::from_secs(60 * 60);
const NAME: &str = "cut";

/// Description of a moment, and a test for it.
type Cut = (&'static str, fn(&Member) -> bool);

fn shows(member: &Member, text: &str) -> bool {
    member.vm.console.find(0, text).is_some()
}

fn written(member: &Member, percent: u64) -> bool {
    member.state() == "Installing" && member.percent().unwrap_or(0) >= percent
}

const CUTS: [Cut; 10] = [
    ("while the loader is fetched", |m| shows(m, "iPXE")),
    ("while kernel and initramfs are fetched", |m| shows(m, "initrd.img")),
    ("when the agent has started", |m| shows(m, "kubedos: step init")),
    ("while it is waiting for approval", |m| m.state() == "Pending" && m.vm.console.pairing_code().is_some()),
    ("right after the approval", |m| m.approval_sent),
    ("at the first chunks", |m| written(m, 1)),
    ("in the middle of the install", |m| written(m, 50)),
    ("after the last chunk, before the first MiB", |m| m.state() == "Installing" && shows(m, "kubedos: step flush")),
    ("after the install, before it starts from its disk", |m| m.state() == "Installed"),
    ("while it starts from its disk", |m| m.state() == "Installed" && shows(m, "systemd[1]")),
];

/// One machine, ten cuts, one node in the end.
pub fn run(template: &Template, work: &Path, logs: &Path) -> Result<()> {
    let seedd = template.copy(&work.join("data"))?;
    let mut fleet = Fleet::start(&format!("{PREFIX}{}-cuts", std::process::id()), seedd, 0, work, logs)?;
    fleet.accel = accelerator(&fleet.seedd, &fleet.work)?;
    fleet.add(Spec::new(NAME, 71, Firmware::SeaBios))?;
    let mut cuts = CUTS.iter().peekable();
    fleet.until("the machine to be Converged after its last power cut", FLOW_LIMIT, |fleet| {
        if let Some((when, _)) = cuts.next_if(|(_, now)| now(&fleet.members[0])) {
            say::line(&format!("power failure of the machine {when}"));
            fleet.pull_plug(0)?;
            return Ok(false);
        }
        if let Some(code) = fleet.waiting_code(0) {
            fleet.approve(0, &code)?;
        }
        Ok(cuts.peek().is_none() && fleet.all(Step::Converged))
    })?;
    ensure!(cuts.peek().is_none(), "not every power failure was simulated");
    let machine = fleet.members[0].machine.as_ref().map(|m| m.id);
    let issued = fleet.client.events()?.iter().filter(|e| e.machine == machine && e.kind == "enrollment.issued").count();
    // Every identity whose machine lost it has been revoked.
    let nodes = fleet.client.machines()?.iter().filter(|m| m.state() == "Converged").count();
    ensure!(nodes == 1, "there are {nodes} nodes");
    say::line(&format!("{} power failures, {issued} identities issued, one node", CUTS.len()));
    fleet.ns.must_be_quiet()
}
