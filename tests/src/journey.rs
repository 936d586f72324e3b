//! Two blank machines become nodes in spite of failures.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::checks::{self, Ssh};
use crate::demo::{FLOW_LIMIT, accelerator, specs};
use crate::dirs::RunDirs;
use crate::fleet::Fleet;
use crate::member::Step;
use crate::netns::PREFIX;
use crate::pages::Operator;
use crate::platform::prepare;
use crate::protocol::wrong_code;
use crate::site::Template;
use crate::summary::{self, Figures};

/// When the daemon is killed: a description, and a test on the first machine.
type Cut = (&'static str, fn(&Fleet) -> bool);

const CUTS: [Cut; 6] = [
    ("after the first DHCP ACK", |f| f.members[0].machine.as_ref().is_some_and(|m| m.ip.is_some())),
    ("after the hello, while Pending", |f| f.members[0].state() == "Pending"),
    ("after the approval", |f| f.members[0].has(Step::Approved)),
    ("in the middle of the install", |f| f.members[0].state() == "Installing" && f.members[0].percent().unwrap_or(0) >= 20),
    ("after the install", |f| f.members[0].has(Step::Installed)),
    ("while the plays run", |f| f.members[0].has(Step::FabricReady)),
];

/// Two blank machines become nodes and run their plays while the daemon is killed six times.
pub fn run(dirs: &RunDirs, template: &Template, pictures: &Path) -> Result<()> {
    let (work, logs) = dirs.part("journey")?;
    let seedd = template.copy(&work.join("data"))?;
    prepare::small(&seedd)?;
    let mut fleet = Fleet::start(&format!("{PREFIX}{}-journey", std::process::id()), seedd, 0, &work, &logs)?;
    fleet.accel = accelerator(&fleet.seedd, &fleet.work)?;
    let operator = Operator::log_in(&fleet, pictures).context("logging in with a browser")?;
    for spec in specs() {
        fleet.add(spec)?;
    }
    let mut cuts = CUTS.iter().peekable();
    let mut addresses: [Option<String>; 2] = [None, None];
    let mut pictured = false;
    fleet.until("both machines to be Converged", FLOW_LIMIT, |fleet| {
        if let Some((when, _)) = cuts.next_if(|(_, now)| now(fleet)) {
            fleet.power_cut(when)?;
            return Ok(false);
        }
        for (index, first) in addresses.iter_mut().enumerate() {
            let ip = fleet.members[index].machine.as_ref().and_then(|m| m.ip.clone());
            if first.is_none() {
                first.clone_from(&ip);
            }
            ensure!(ip == *first, "{} had {first:?} and has {ip:?}: a lease was lost", fleet.members[index].name());
        }
        approve_waiting(fleet, &operator)?;
        let machine = fleet.members[1].machine.as_ref().map(|m| m.id);
        if let (false, "Installing", Some(id)) = (pictured, fleet.members[1].state(), machine) {
            operator.show_machine(id, "installing")?;
            pictured = true;
        }
        Ok(fleet.all(Step::Converged))
    })?;
    ensure!(cuts.peek().is_none(), "not every power failure was simulated");
    finish(&fleet, template, &operator)
}

/// The first machine is approved by the API, the second by a person's clicks, after a wrong code.
fn approve_waiting(fleet: &mut Fleet, operator: &Operator) -> Result<()> {
    if let Some(code) = fleet.waiting_code(0) {
        fleet.approve(0, &code)?;
    }
    if let Some(code) = fleet.waiting_code(1) {
        operator.show_list("machines")?;
        operator.approve(fleet, 1, &code, Some(&wrong_code(&code)?)).context("approving in the browser")?;
    }
    Ok(())
}

fn finish(fleet: &Fleet, template: &Template, operator: &Operator) -> Result<()> {
    operator.show_list("fleet")?;
    for member in &fleet.members {
        let machine = member.machine.as_ref().context("a member without a machine")?;
        let issued =
            fleet.client.events()?.iter().filter(|e| e.machine == Some(machine.id) && e.kind == "enrollment.issued").count();
        ensure!(issued == 1, "{} was issued {issued} identities", member.name());
        operator.show_machine(machine.id, &format!("converged-{}", member.name()))?;
    }
    let mut passed = checks::all(fleet, &template.ssh_key)?;
    for member in &fleet.members {
        let planes = member.machine.as_ref().context("a member without a machine")?.planes();
        let ssh = Ssh { fleet, key: &template.ssh_key, address: &planes["wg1"] };
        prepare::small_ran(member.name(), |command| ssh.run(command))?;
    }
    passed.push("the plays of both roles ran on every node".to_owned());
    passed.push(format!("{} power failures of the daemon: one identity per machine, no lease lost", fleet.daemon.restarts));
    let figures = Figures::measure(fleet)?;
    summary::print(fleet, &figures, &passed);
    fleet.ns.must_be_quiet()
}
