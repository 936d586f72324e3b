//! Parts of the run with several cases that score themselves.

use std::path::Path;

use anyhow::{Context, Result};

use crate::browse;
use crate::darksite;
use crate::dirs::RunDirs;
use crate::fleet::Fleet;
use crate::floods;
use crate::netns::PREFIX;
use crate::protocol;
use crate::prove;
use crate::refusals;
use crate::score::{Bench, Score};

pub fn darksites(dirs: &RunDirs, _: Option<&Path>, score: &mut Score) -> Result<()> {
    let bench = darksite::Bench::new(dirs)?;
    darksite::CASES.iter().try_for_each(|(name, case)| score.note(&format!("darksite: {name}"), case(&bench)))
}

/// The pages in a browser.
pub fn browses(dirs: &RunDirs, pictures: Option<&Path>, score: &mut Score) -> Result<()> {
    browse::run(dirs, pictures, |name, result| score.note(&format!("browse: {name}"), result))
}

pub fn proofs(bench: &Bench<'_>, score: &mut Score) -> Result<()> {
    let (work, logs) = bench.dirs.part("prove")?;
    let bench = prove::Bench { template: &bench.template, work, logs };
    prove::CASES.iter().try_for_each(|(name, case)| score.note(&format!("darksite: {name}"), case(&bench)))
}

pub fn bad_input(bench: &Bench<'_>, score: &mut Score) -> Result<()> {
    let (work, _) = bench.dirs.part("refusals")?;
    let bench = refusals::Bench { template: &bench.template, work };
    refusals::CASES.iter().try_for_each(|(name, case)| score.note(&format!("refused: {name}"), case(&bench)))
}

pub fn protocols(bench: &Bench<'_>, score: &mut Score) -> Result<()> {
    type Case = (&'static str, fn(&mut Fleet) -> Result<()>);
    const CASES: [Case; 8] = [
        ("DHCP, TFTP and HTTP with udhcpc, tftp-hpa and curl; leases survive kill -9", protocol::leases),
        ("the web interface uses HTTPS only, with a certificate of the site's CA", protocol::pages),
        ("a wrong code is refused and counted; an identity is issued once", protocol::identities),
        ("a disk that is too small is refused", protocol::small_disk),
        ("codes cannot be guessed", protocol::guessing),
        ("a second daemon on the same site exits", protocol::two_daemons),
        ("a minute of refused claims adds fewer than ten rows to the event log", floods::claims),
        ("a rack of 40 machines enrolls through all floods at once, from 64 addresses", floods::rack),
    ];
    let (work, logs) = bench.dirs.part("protocol")?;
    let seedd = bench.template.copy(&work.join("data"))?;
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
