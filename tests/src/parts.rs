//! `kubedos-lab test`: the parts of the end-to-end tests.

use std::path::Path;

use anyhow::{Result, bail};

use crate::appliance;
use crate::arm64;
use crate::clock;
use crate::cuts;
use crate::dirs::RunDirs;
use crate::drill;
use crate::enroll_iso;
use crate::firmware;
use crate::foundry;
use crate::journey;
use crate::kubernetes;
use crate::menu;
use crate::package;
use crate::part_cases as cases;
use crate::platform;
use crate::rotate;
use crate::say;
use crate::score::{Bench, Score};
use crate::second_site;
use crate::seed_cuts;
use crate::site::Template;
use crate::tampering;
use crate::twice;
use crate::two_seeds;
use crate::wrong_seed;

/// How a part runs.
#[derive(Clone, Copy)]
enum Run {
    /// Without a site, before one is made. The directory is for pictures, if they were asked for.
    Alone(fn(&RunDirs, Option<&Path>, &mut Score) -> Result<()>),
    /// On copies of a prepared site; several cases that score themselves.
    Cases(fn(&Bench<'_>, &mut Score) -> Result<()>),
    /// On copies of a prepared site; one case, and what it shows.
    One(&'static str, fn(&Bench<'_>) -> Result<()>),
}

/// A part of the end-to-end run.
struct Part {
    name: &'static str,
    /// Only with `--all`: it takes long.
    long: bool,
    run: Run,
}

const fn short(name: &'static str, run: Run) -> Part {
    Part { name, long: false, run }
}

const fn long(name: &'static str, run: Run) -> Part {
    Part { name, long: true, run }
}

/// The parts in the order in which they run. This is the only list of them.
static PARTS: [Part; 32] = [
    short("darksite", Run::Alone(cases::darksites)),
    long("browse", Run::Alone(cases::browses)),
    long("prove", Run::Cases(cases::proofs)),
    short("protocol", Run::Cases(cases::protocols)),
    short(
        "twice",
        Run::One("images built twice from one snapshot have the same bytes", |b| {
            let (work, logs) = b.dirs.part("twice")?;
            twice::run(&b.template, &work, &logs)
        }),
    ),
    short(
        "firmware",
        Run::One("BIOS, UEFI, UEFI HTTP boot and UEFI with Secure Boot start the agent from the network", |b| {
            let (work, logs) = b.dirs.part("firmware")?;
            firmware::run(&b.template, &work, &logs)
        }),
    ),
    short(
        "journey",
        Run::One("two blank machines become nodes and run their plays in spite of six power failures of the daemon", |b| {
            journey::run(b.dirs, &b.template, &b.pictures)
        }),
    ),
    short(
        "tampering",
        Run::One("a tampered chunk and a tampered manifest are refused, and the disks do not boot", |b| {
            tampering::run(b.dirs, &b.template, b.accel()?)
        }),
    ),
    short("refusals", Run::Cases(cases::bad_input)),
    long(
        "stick",
        Run::One(
            "a USB stick boots a seed under Secure Boot, and a blank machine joins; the stick contains no unencrypted secret",
            |b| appliance::stick(b.dirs, &b.template, b.accel()?, &b.pictures),
        ),
    ),
    long(
        "package",
        Run::One("the Debian package installs, verifies and purges in chroots", |b| {
            let (work, _) = b.dirs.part("package")?;
            package::run(&b.template.seedd, &work)
        }),
    ),
    long("second-site", Run::One("a second site replaces a lost one", |b| second_site::run(b.dirs, &b.template))),
    long(
        "medium-twice",
        Run::One("the seed's medium built twice from one snapshot has the same bytes", |b| twice::medium(b.dirs, &b.template)),
    ),
    long(
        "clock",
        Run::One("hardware clocks of 1970 and 2099: the node converges and synchronises with the seed", |b| {
            let (work, logs) = b.dirs.part("clock")?;
            clock::run(&b.template, &work, &logs)
        }),
    ),
    long(
        "menu",
        Run::One("the boot menu: rescue shell and memory test", |b| {
            let (work, logs) = b.dirs.part("menu")?;
            menu::run(&b.template, &work, &logs)
        }),
    ),
    long(
        "disc",
        Run::One("a CD boots a seed in memory under SeaBIOS, and a blank machine joins", |b| {
            appliance::disc(b.dirs, &b.template, b.accel()?, &b.pictures)
        }),
    ),
    long(
        "two-seeds",
        Run::One(
            "site B, a second machine booted from the same medium, rebuilds the nodes of A; A comes back and is refused",
            |b| two_seeds::run(b.dirs, &b.template, b.accel()?, &b.pictures),
        ),
    ),
    long(
        "enroll-iso",
        Run::One("machines enroll from a medium under BIOS and Secure Boot, and a seed with another key gets nothing", |b| {
            enroll_iso::run(b.dirs, &b.template, b.accel()?)
        }),
    ),
    long(
        "wrong-seed",
        Run::One("two seeds on one segment: the one without the code gets nothing, and the disk keeps every byte", |b| {
            wrong_seed::run(b.dirs, &b.template, b.accel()?)
        }),
    ),
    long(
        "outputs",
        Run::One("every output of the foundry: built twice with the same bytes, compared, verified; damage is refused", |b| {
            foundry::outputs(b.dirs, &b.template)
        }),
    ),
    long(
        "boots",
        Run::One("machines that start from a QCOW2, VMDK or raw image become nodes", |b| {
            foundry::boots(b.dirs, &b.template, b.accel()?)
        }),
    ),
    long(
        "pxe-bundle",
        Run::One("machines start from a netboot bundle that dnsmasq and nginx serve, and become nodes", |b| {
            foundry::bundles(b.dirs, &b.template, b.accel()?)
        }),
    ),
    long(
        "node-iso",
        Run::One("machines enroll from the node medium and install without fetching a chunk", |b| {
            foundry::media(b.dirs, &b.template, b.accel()?)
        }),
    ),
    long(
        "packer",
        Run::One("Packer boots the image of its scaffold, packs it again, and the packed image enrolls", |b| {
            foundry::packer(b.dirs, &b.template, b.accel()?)
        }),
    ),
    long(
        "firecracker",
        Run::One("a Firecracker bundle is started by QEMU's microvm and becomes a node", |b| {
            foundry::firecracker(b.dirs, &b.template, b.accel()?)
        }),
    ),
    long(
        "platform",
        Run::One("three blank machines become a platform; a change goes round; a member is replaced under load", |b| {
            platform::run(b.dirs, &b.template, b.accel()?)
        }),
    ),
    long(
        "kubernetes",
        Run::One("three blank machines become a Kubernetes; pods answer through a service; a worker is replaced", |b| {
            kubernetes::run(b.dirs, &b.template, b.accel()?)
        }),
    ),
    long(
        "rotate",
        Run::One(
            "two nodes follow new keys of the seed and replace their own; a plane denies what is not allowed; a peer that is not \
             countersigned stays out",
            |b| rotate::run(b.dirs, &b.template, b.accel()?),
        ),
    ),
    long(
        "arm64",
        Run::One(
            "a machine with arm64 boots from the network to Pending, and is installed where its artifact can be built",
            |b| arm64::run(b.dirs, &b.template),
        ),
    ),
    long(
        "drill",
        Run::One("a drill rebuilds the site from its capsule and is recorded in the event log", |b| {
            drill::held(b.dirs, &b.template)
        }),
    ),
    long(
        "cuts",
        Run::One("a machine is installed in spite of ten power failures", |b| {
            let (work, logs) = b.dirs.part("cuts")?;
            cuts::run(&b.template, &work, &logs)
        }),
    ),
    long(
        "seed-cuts",
        Run::One("power failures of the seed during set-up, import and approval", |b| {
            seed_cuts::run(b.dirs, &b.template, b.accel()?)
        }),
    ),
];

/// The names of all parts, for the command line.
pub fn names() -> impl Iterator<Item = &'static str> {
    PARTS.iter().map(|p| p.name)
}

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
    let chosen: Vec<&Part> = PARTS.iter().filter(|p| selection.wants(p)).collect();
    if chosen.is_empty() {
        bail!("no part {}; choose from {}", selection.only.as_deref().unwrap_or(""), names().collect::<Vec<_>>().join(", "));
    }
    let mut score = Score::default();
    for part in &chosen {
        if let Run::Alone(run) = part.run {
            timed(part.name, || run(dirs, pictures, &mut score))?;
        }
    }
    if chosen.iter().any(|p| !matches!(p.run, Run::Alone(_))) {
        let pictures = pictures.map_or_else(|| dirs.logs.join("pictures"), Path::to_owned);
        let bench = Bench { dirs, template: Template::prepare(dirs)?, pictures };
        for part in &chosen {
            match part.run {
                Run::Alone(_) => {}
                Run::Cases(run) => timed(part.name, || run(&bench, &mut score))?,
                Run::One(shown, run) => timed(part.name, || score.note(shown, run(&bench)))?,
            }
        }
    }
    let left: Vec<&str> = PARTS.iter().filter(|p| !selection.wants(p)).map(|p| p.name).collect();
    if selection.only.is_none() && !left.is_empty() {
        say::plain(&format!("run only by `./dev test --all`: {}", left.join(", ")));
    }
    score.result(dirs)
}

fn timed(name: &str, run: impl FnOnce() -> Result<()>) -> Result<()> {
    let began = std::time::Instant::now();
    run()?;
    say::line(&format!("part {name} took {}", say::seconds(began.elapsed())));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_chosen_by_name_and_length() {
        let chosen = |only: Option<&str>, all| {
            let selection = Selection { only: only.map(str::to_owned), all };
            PARTS.iter().filter(|p| selection.wants(p)).count()
        };
        let distinct: std::collections::BTreeSet<&str> = names().collect();
        assert_eq!((distinct.len(), chosen(None, true)), (PARTS.len(), PARTS.len()));
        assert!(names().all(|name| chosen(Some(name), false) == 1) && chosen(Some("nothing"), true) == 0);
        assert_eq!(chosen(None, false), PARTS.iter().filter(|p| !p.long).count());
    }
}
