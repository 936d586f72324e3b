//! `kubedos-lab test`: the demo, with everything that may go wrong on the way.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::appliance;
use crate::checks;
use crate::clock;
use crate::cuts;
use crate::darksite;
use crate::demo::{FLOW_LIMIT, accelerator, specs};
use crate::dirs::RunDirs;
use crate::drill;
use crate::firmware;
use crate::fleet::Fleet;
use crate::member::Step;
use crate::menu;
use crate::netns::PREFIX;
use crate::pages::Operator;
use crate::protocol::{self, wrong_code};
use crate::prove;
use crate::refusals::{self, Bench};
use crate::say;
use crate::second_site;
use crate::seed_cuts;
use crate::site::Template;
use crate::summary::{self, Figures};
use crate::tampering;
use crate::twice;
use crate::two_seeds;
use crate::vm::Accel;

/// What passed and what did not; a failure does not stop the parts after it.
#[derive(Debug, Default)]
struct Score {
    passed: usize,
    failed: Vec<String>,
}

impl Score {
    fn note(&mut self, name: &str, result: Result<()>) -> Result<()> {
        crate::stop::check()?;
        match result {
            Ok(()) => {
                self.passed += 1;
                say::line(&format!("ok      {name}"));
            }
            Err(error) => {
                say::line(&format!("FAILED  {name}: {error:#}"));
                self.failed.push(name.to_owned());
            }
        }
        Ok(())
    }
}

/// A part of the end-to-end run.
struct Part {
    name: &'static str,
    /// Left to `--all`: it takes long, and tells more than the others only together with them.
    long: bool,
}

const fn part(name: &'static str, long: bool) -> Part {
    Part { name, long }
}

const PARTS: [Part; 18] = [
    part("darksite", false),
    part("prove", true),
    part("protocol", false),
    part("twice", false),
    part("firmware", false),
    part("journey", false),
    part("tampering", false),
    part("refusals", false),
    part("stick", false),
    part("second-site", true),
    part("medium-twice", true),
    part("clock", true),
    part("menu", true),
    part("disc", true),
    part("two-seeds", true),
    part("drill", true),
    part("cuts", true),
    part("seed-cuts", true),
];

/// Which parts run.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only this one.
    pub only: Option<String>,
    /// The long ones too.
    pub all: bool,
}

impl Selection {
    fn wants(&self, part: &Part) -> bool {
        self.only.as_ref().map_or(self.all || !part.long, |only| only == part.name)
    }
}

/// Runs the chosen parts.
pub fn run(dirs: &RunDirs, selection: &Selection, pictures: Option<&Path>) -> Result<()> {
    let names = PARTS.iter().map(|p| p.name).collect::<Vec<_>>().join(", ");
    if let Some(unknown) = selection.only.as_ref().filter(|o| !PARTS.iter().any(|p| p.name == **o)) {
        bail!("no part {unknown}; there are {names}");
    }
    let pictures = pictures.map_or_else(|| dirs.logs.join("pictures"), Path::to_owned);
    let mut score = Score::default();
    // Needs no site, and is done before one is made.
    if PARTS.iter().any(|p| p.name == "darksite" && selection.wants(p)) {
        darksites(dirs, &mut score)?;
    }
    if selection.only.as_deref() == Some("darksite") {
        return told(dirs, &score);
    }
    let template = Template::prepare(dirs)?;
    for part in PARTS.iter().filter(|p| selection.wants(p) && p.name != "darksite") {
        let began = std::time::Instant::now();
        run_part(part.name, dirs, &template, &pictures, &mut score)?;
        say::line(&format!("part {} took {}", part.name, say::seconds(began.elapsed())));
    }
    let left: Vec<&str> = PARTS.iter().filter(|p| !selection.wants(p)).map(|p| p.name).collect();
    if selection.only.is_none() && !left.is_empty() {
        say::plain(&format!("left to `./dev test --all`: {}", left.join(", ")));
    }
    told(dirs, &score)
}

fn darksites(dirs: &RunDirs, score: &mut Score) -> Result<()> {
    let began = std::time::Instant::now();
    let bench = darksite::Bench::new(dirs)?;
    for (name, case) in darksite::CASES {
        score.note(&format!("darksite: {name}"), case(&bench))?;
    }
    say::line(&format!("part darksite took {}", say::seconds(began.elapsed())));
    Ok(())
}

fn told(dirs: &RunDirs, score: &Score) -> Result<()> {
    say::plain(&format!("{} passed, {} failed", score.passed, score.failed.len()));
    if score.failed.is_empty() {
        return Ok(());
    }
    bail!("{}; logs: {}", score.failed.join("; "), dirs.logs.display())
}

fn run_part(name: &str, dirs: &RunDirs, template: &Template, pictures: &Path, score: &mut Score) -> Result<()> {
    let accel = || -> Result<Accel> { accelerator(&template.seedd, &dirs.part("probe")?.0) };
    match name {
        "protocol" => protocols(dirs, template, score),
        "refusals" => {
            let (work, _) = dirs.part("refusals")?;
            let bench = Bench { template, work };
            refusals::CASES.iter().try_for_each(|(name, case)| score.note(&format!("refused: {name}"), case(&bench)))
        }
        "twice" => {
            let (work, logs) = dirs.part("twice")?;
            score.note("images built twice from one snapshot have the same bytes", twice::run(template, &work, &logs))
        }
        "firmware" => {
            let (work, logs) = dirs.part("firmware")?;
            let result = firmware::run(template, &work, &logs);
            score.note("BIOS, UEFI, UEFI by HTTP and UEFI with Secure Boot start the agent from the network", result)
        }
        "journey" => {
            let result = journey(dirs, template, pictures);
            score.note("two blank machines become nodes, through five power cuts of the daemon", result)
        }
        "tampering" => {
            let result = accel().and_then(|accel| tampering::run(dirs, template, accel));
            score.note("a tampered chunk and a tampered manifest are refused, and nothing boots", result)
        }
        "stick" => {
            let result = accel().and_then(|accel| appliance::stick(dirs, template, accel, pictures));
            score
                .note("a USB stick under Secure Boot becomes a seed, a blank machine its node; the stick holds no secret", result)
        }
        long => run_long_part(long, dirs, template, pictures, score),
    }
}

fn run_long_part(name: &str, dirs: &RunDirs, template: &Template, pictures: &Path, score: &mut Score) -> Result<()> {
    let accel = || -> Result<Accel> { accelerator(&template.seedd, &dirs.part("probe")?.0) };
    match name {
        "prove" => {
            let (work, logs) = dirs.part("prove")?;
            let bench = prove::Bench { template, work, logs };
            prove::CASES.iter().try_for_each(|(name, case)| score.note(&format!("darksite: {name}"), case(&bench)))
        }
        "medium-twice" => {
            score.note("the seed's medium built twice from one snapshot has the same bytes", twice::medium(dirs, template))
        }
        "clock" => {
            let (work, logs) = dirs.part("clock")?;
            let result = clock::run(template, &work, &logs);
            score.note("hardware clocks of 1970 and 2099: the node converges and takes the time from the seed", result)
        }
        "second-site" => score.note("a second site takes the place of a lost one", second_site::run(dirs, template)),
        "disc" => {
            let result = accel().and_then(|accel| appliance::disc(dirs, template, accel, pictures));
            score.note("a CD under SeaBIOS becomes a seed in memory, and a blank machine its node", result)
        }
        "two-seeds" => {
            let result = accel().and_then(|accel| two_seeds::run(dirs, template, accel, pictures));
            score.note(
                "site B, another machine from the same medium, rebuilds the nodes of A; A comes back and is refused",
                result,
            )
        }
        "drill" => {
            score.note("a drill rebuilds the site from its capsule and is kept in the event log", drill::held(dirs, template))
        }
        "menu" => {
            let (work, logs) = dirs.part("menu")?;
            score.note("the machine's menu: a rescue shell and a memory test", menu::run(template, &work, &logs))
        }
        "cuts" => {
            let (work, logs) = dirs.part("cuts")?;
            score.note("a machine is installed through ten power cuts", cuts::run(template, &work, &logs))
        }
        _ => {
            let result = accel().and_then(|accel| seed_cuts::run(dirs, template, accel));
            score.note("power cuts of the seed at set-up, import and approval", result)
        }
    }
}

fn protocols(dirs: &RunDirs, template: &Template, score: &mut Score) -> Result<()> {
    type Case = (&'static str, fn(&mut Fleet) -> Result<()>);
    const CASES: [Case; 6] = [
        ("DHCP, TFTP and HTTP with udhcpc, tftp-hpa and curl; leases outlive kill -9", protocol::leases),
        ("the pages come by HTTPS only, with a certificate of the site's CA", protocol::pages),
        ("a wrong code is refused and counted; an identity is issued once", protocol::identities),
        ("a disk that is too small is refused", protocol::small_disk),
        ("codes cannot be guessed", protocol::guessing),
        ("a second daemon on the same site goes away", protocol::two_daemons),
    ];
    let (work, logs) = dirs.part("protocol")?;
    let seedd = template.copy(&work.join("data"))?;
    let mut fleet = match Fleet::start(&format!("{PREFIX}{}-protocol", std::process::id()), seedd, 0, &work, &logs) {
        Ok(fleet) => fleet,
        Err(error) => return score.note("starting a seed", Err(error)),
    };
    for (name, case) in CASES {
        score.note(name, case(&mut fleet))?;
    }
    score.note("nothing was addressed to the outside", fleet.ns.must_be_quiet())?;
    let went = fleet.daemon.stop().then_some(()).context("the daemon did not end on SIGTERM");
    score.note("SIGTERM ends the daemon", went)
}

/// When the daemon is killed: what is said, and whether the time has come for the first machine.
type Cut = (&'static str, fn(&Fleet) -> bool);

const CUTS: [Cut; 5] = [
    ("after the first DHCP ACK", |f| f.members[0].machine.as_ref().is_some_and(|m| m.ip.is_some())),
    ("after the hello, while Pending", |f| f.members[0].state() == "Pending"),
    ("after the approval", |f| f.members[0].has(Step::Approved)),
    ("in the middle of the install", |f| f.members[0].state() == "Installing" && f.members[0].percent().unwrap_or(0) >= 20),
    ("after the install", |f| f.members[0].has(Step::Installed)),
];

fn journey(dirs: &RunDirs, template: &Template, pictures: &Path) -> Result<()> {
    let (work, logs) = dirs.part("journey")?;
    let seedd = template.copy(&work.join("data"))?;
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
    ensure!(cuts.peek().is_none(), "not every power cut came to pass");
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
    passed.push(format!("{} power cuts of the daemon: one identity each, no lease lost", fleet.daemon.restarts));
    let figures = Figures::measure(fleet)?;
    summary::print(fleet, &figures, &passed);
    fleet.ns.must_be_quiet()
}
