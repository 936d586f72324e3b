//! A platform from one seed: three blank machines become nodes with etcd, a load balancer, containers and monitoring; a change goes
//! round; a member dies and is replaced while a writer writes.

pub mod prepare;

pub mod lab;

mod hold;

mod loss;

mod measure;

pub mod shows;

mod trouble;

use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::dirs::RunDirs;
use crate::fleet::Fleet;
use crate::member::Step;
use crate::netns::PREFIX;
use crate::say;
use crate::site::Template;
use crate::vm::{Accel, Firmware, Spec};
use lab::{FLOW_LIMIT, Lab, NODES};

const MEMORY: u32 = 1536;
/// Bytes of each machine's second disk, which the play `storage` formats.
const DATA_DISK: u64 = 1 << 30;

pub fn run(dirs: &RunDirs, template: &Template, accel: Accel) -> Result<()> {
    let (work, logs) = dirs.part("platform")?;
    let seedd = prepare::site(template, &work, &logs)?;
    let mut fleet = Fleet::start(&format!("{PREFIX}{}-platform", std::process::id()), seedd, 0, &work, &logs)?;
    fleet.accel = accel;
    let _time = crate::clock::serve_time(&fleet.ns, &work, &logs)?;
    for (number, name) in (1u8..).zip(NODES) {
        let mut spec = Spec::new(name, number, Firmware::SeaBios);
        spec.memory = MEMORY;
        let data = work.join(format!("{name}.data"));
        std::fs::File::create(&data).and_then(|f| f.set_len(DATA_DISK)).context("making a data disk")?;
        spec.data = Some(data);
        fleet.add(spec)?;
    }
    let began = Instant::now();
    fleet.approve_until(Step::FabricReady, "three machines to be FabricReady", FLOW_LIMIT)?;
    say::line(&format!("FabricReady {} after power-on", say::seconds(began.elapsed())));
    let mut lab = Lab { fleet, template };
    let fabric = Instant::now();
    let mut hold = hold::Hold::new(dirs.cache.join("hold"), work);
    hold.step(&mut lab, "converged", |lab| lab.until_all("converged", FLOW_LIMIT))?;
    say::line(&format!(
        "the platform has converged {} after the fabric, {} after power-on",
        say::seconds(fabric.elapsed()),
        say::seconds(began.elapsed())
    ));
    type Try = fn(&mut Lab<'_>) -> Result<()>;
    let steps: [(&str, Try); 14] = [
        ("bytes", |lab| measure::bytes(lab)),
        ("etcd", |lab| shows::etcd(lab)),
        ("vip", |lab| shows::vip(lab)),
        ("metrics", |lab| shows::metrics(lab)),
        ("containers", |lab| shows::containers(lab)),
        ("storage", |lab| shows::storage(lab)),
        ("support", |lab| shows::support(lab)),
        ("the operator's play", |lab| shows::greeted(lab)),
        ("ansible-pull", measure::beside_ansible_pull),
        ("broken payload", trouble::broken),
        ("change", trouble::change),
        ("killed agent", loss::killed),
        ("replaced node", loss::replaced),
        ("acceptance", |lab| shows::accepted(lab)),
    ];
    for (name, step) in steps {
        hold.step(&mut lab, name, step)?;
    }
    hold.end()?;
    lab.fleet.ns.must_be_quiet()
}
