//! Tampering: a modified chunk and a modified manifest are refused, and the disk does not boot afterwards.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::dirs::RunDirs;
use crate::fleet::Fleet;
use crate::member::is_lost;
use crate::netns::PREFIX;
use crate::say;
use crate::seedd::Seedd;
use crate::site::{Template, flip_byte};
use crate::stop;
use crate::tool;
use crate::vm::{Accel, Firmware, Spec, Vm};

const FLOW_LIMIT: Duration = Duration::from_secs(25 * 60);
/// The agent writes this part of a disk last, after everything else was verified.
const FIRST_PART: usize = 1 << 20;

/// The modified object, the number of the machine that gets it, and its file.
type Variant = (&'static str, u8, fn(&Seedd) -> Result<PathBuf>);

/// Installs from a site with a changed chunk and from one with a changed manifest, side by side.
pub fn run(dirs: &RunDirs, template: &Template, accel: Accel) -> Result<()> {
    let mut fleets = Vec::new();
    let variants: [Variant; 2] = [("chunk", 21, a_chunk), ("manifest", 22, a_manifest)];
    for (name, number, choose) in variants {
        let (work, logs) = dirs.part(&format!("tampered-{name}"))?;
        let seedd = template.copy(&work.join("data"))?;
        let file = choose(&seedd)?;
        let mut fleet = Fleet::start(&format!("{PREFIX}{}-{name}", std::process::id()), seedd, 0, &work, &logs)?;
        fleet.accel = accel;
        fleet.add(Spec::new(&format!("bad{name}"), number, Firmware::SeaBios))?;
        fleets.push((fleet, name, file));
    }
    stop::wait_for("both tampered installs to be refused", FLOW_LIMIT, || {
        let mut refused = 0;
        for (fleet, name, file) in &mut fleets {
            fleet.tick(true)?;
            if let Some(code) = fleet.waiting_code(0) {
                // Only now: a seed whose own manifest is damaged offers no role at all.
                fleet.approve_and(0, &code, || flip_byte(file).context("tampering"))?;
                let file = file.file_name().unwrap_or_default().to_string_lossy();
                say::line(&format!("approved, then one byte of a {name} changed: {file}"));
            }
            let state = fleet.members[0].state();
            ensure!(!["Installed", "FabricReady", "Converged"].contains(&state), "a tampered installation reached {state}");
            let said = fleet.members[0].approval_sent && fleet.members[0].vm.console.find(0, "kubedos: error").is_some();
            refused += usize::from(is_lost(state) || said);
        }
        Ok((refused == fleets.len()).then_some(()))
    })?;
    for (fleet, _, _) in fleets {
        does_not_boot(fleet, accel)?;
    }
    Ok(())
}

/// A stored chunk from the middle of the role's image.
fn a_chunk(seedd: &Seedd) -> Result<PathBuf> {
    let manifest = a_manifest(seedd)?;
    let sealed: Value =
        serde_json::from_slice(&fs::read(&manifest).context("reading a manifest")?).context("reading a manifest")?;
    let payload: Value = serde_json::from_str(sealed["payload"].as_str().context("a manifest without payload")?)?;
    let chunks = payload["chunks"].as_array().context("a manifest without chunks")?;
    let stored: Vec<&str> = chunks.iter().filter_map(|c| c["stored"].as_str()).collect();
    let digest = stored.get(stored.len() / 4).context("an image without stored chunks")?;
    Ok(seedd.data.join("blobs/sha256").join(&digest[..2]).join(digest))
}

/// The manifest in use: a site that was built twice has older ones beside it.
fn a_manifest(seedd: &Seedd) -> Result<PathBuf> {
    let said = tool::run_owned(&seedd.argv(&["image", "list", "--json"]))?;
    let list: Value = serde_json::from_str(&said).context("reading the list of images")?;
    let id = list["artifacts"][0]["id"].as_str().context("the site has no artifact")?;
    Ok(seedd.data.join("artifacts").join(id).join("manifest.json"))
}

/// The disk has no boot code, and a machine with nothing else finds nothing to boot.
fn does_not_boot(mut fleet: Fleet, accel: Accel) -> Result<()> {
    let member = fleet.members.pop().context("no machine")?;
    let name = member.name().to_owned();
    let spec = Spec { name: format!("{name}2"), network_boot: false, ..member.vm.spec.clone() };
    let disk = member.vm.power_off();
    let mut first = vec![0u8; FIRST_PART];
    File::open(&disk).and_then(|mut f| f.read_exact(&mut first)).context("reading the disk left behind")?;
    ensure!(first.iter().all(|b| *b == 0), "{name}: the first MiB of the disk was written");
    fleet.ns.tap(&spec.name)?;
    let mut vm = Vm::power_on(&fleet.ns, spec, accel, disk, &fleet.work, &fleet.logs)?;
    vm.wait(0, "No bootable device", Duration::from_secs(180))?;
    say::line(&format!("{name}: refused; its disk does not boot"));
    fleet.ns.must_be_quiet().with_context(|| name)
}
