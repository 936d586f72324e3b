//! Kubernetes from one seed: three blank machines become a control plane and two workers, with certificates of the vault and
//! images of the extras; pods reach each other and a service over wg3; a worker is replaced under its name.
//!
//! The version is 1.20.2, built from Debian 12's source package ([`fixture`]): newer ones cannot be had here. What differs between
//! versions is compared with goldens (`payload/tests/platform`).

pub mod fixture;

mod prepare;

mod shows;

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::dirs::RunDirs;
use crate::fleet::Fleet;
use crate::member::Step;
use crate::netns::PREFIX;
use crate::platform::lab::{FLOW_LIMIT, Lab};
use crate::platform::shows::accepted;
use crate::say;
use crate::site::Template;
use crate::vm::{Accel, Firmware, Spec};

/// Name, which begins with the role, memory in MiB, and processors: etcd and the parts of a control plane would take all of one
/// emulated processor even when nothing happens, and lose their leases.
const NODES: [(&str, u32, u8); 3] = [("control-1", 2560, 2), ("node-1", 1536, 1), ("node-2", 1536, 1)];
/// From the fabric to Converged, all plays included, under emulation.
const CONVERGE_LIMIT: Duration = Duration::from_secs(150 * 60);

pub fn run(dirs: &RunDirs, template: &Template, accel: Accel) -> Result<()> {
    let Some(fixture) = fixture::built(&dirs.cache, &dirs.logs)? else { return Ok(()) };
    let (work, logs) = dirs.part("kubernetes")?;
    let seedd = prepare::site(template, &fixture, &work, &logs)?;
    let mut fleet = Fleet::start(&format!("{PREFIX}{}-kube", std::process::id()), seedd, 0, &work, &logs)?;
    fleet.accel = accel;
    for (number, (name, memory, cpus)) in (1u8..).zip(NODES) {
        let mut spec = Spec::new(name, number, Firmware::SeaBios);
        (spec.memory, spec.cpus) = (memory, cpus);
        fleet.add(spec)?;
    }
    let began = Instant::now();
    fleet.approve_until(Step::FabricReady, "three machines to be FabricReady", FLOW_LIMIT)?;
    let fabric = Instant::now();
    say::line(&format!("FabricReady {} after power-on", say::seconds(began.elapsed())));
    let mut lab = Lab { fleet, template };
    lab.until_all("converged", CONVERGE_LIMIT)?;
    say::line(&format!(
        "Kubernetes {} has converged {} after the fabric, {} after power-on",
        fixture::VERSION,
        say::seconds(fabric.elapsed()),
        say::seconds(began.elapsed())
    ));
    shows::nodes(&lab, NODES.len())?;
    shows::deployed(&lab)?;
    shows::endpoint(&lab)?;
    accepted(&lab)?;
    shows::replaced(&mut lab, NODES[1].0)?;
    lab.fleet.ns.must_be_quiet()
}
