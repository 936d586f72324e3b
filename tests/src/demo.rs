//! `kubedos-lab demo`: two blank machines become members of a fleet.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::checks;
use crate::dirs::RunDirs;
use crate::fleet::{Fleet, PASSWORD, USER};
use crate::foundry::start;
use crate::member::Step;
use crate::netns::{Netns, PREFIX};
use crate::say;
use crate::seedd::Seedd;
use crate::site::Template;
use crate::summary::{self, Figures};
use crate::tool;
use crate::vm::{Accel, Firmware, Spec};

/// From power-on to converged, for all machines, under emulation.
pub const FLOW_LIMIT: Duration = Duration::from_secs(40 * 60);

#[derive(Debug, Default)]
pub struct Options {
    pub auto: bool,
    /// Port of the pages on 127.0.0.1; 0 takes any.
    pub port: u16,
    pub times: Option<PathBuf>,
    /// Output that the machines start from, instead of the network.
    pub target: Option<String>,
}

/// Outputs that the demo can start machines from. QEMU's name of the format is the same.
pub const TARGETS: [&str; 2] = ["qcow2", "raw"];

const PROGRAMS: [&str; 9] = ["ip", "nft", "wg", "ssh", "ssh-keygen", "ping", "qemu-system-x86_64", "mount", "cp"];

/// Step 1: all requirements are met.
pub fn check_host() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("step host: network namespaces need root");
    }
    let missing: Vec<&str> = PROGRAMS.into_iter().filter(|p| tool::find(p).is_none()).collect();
    if !missing.is_empty() {
        bail!("step host: not installed: {} (./dev installs them)", missing.join(", "));
    }
    Ok(())
}

/// The two machines of the demo.
pub fn specs() -> [Spec; 2] {
    [Spec::new("alpha", 1, Firmware::SeaBios), Spec::new("beta", 2, Firmware::Ovmf)]
}

/// How machines are executed here, found by booting the netboot kernel.
pub fn accelerator(seedd: &Seedd, work: &Path) -> Result<Accel> {
    let netboot = seedd.data.join("netboot");
    let list = std::fs::read_dir(&netboot).with_context(|| format!("reading {}", netboot.display()))?;
    let kernel = list.filter_map(|e| e.ok()).map(|e| e.path().join("vmlinuz")).find(|p| p.is_file());
    let accel = Accel::probe(&kernel.context("the site has no netboot kernel")?, work)?;
    say::line(&format!("machines run under {accel:?}"));
    Ok(accel)
}

/// The file of an output of the role `base`.
fn built(seedd: &Seedd, target: &str, work: &Path) -> Result<PathBuf> {
    let ns = Netns::lab(&format!("{PREFIX}{}-build", std::process::id()), work)?;
    say::line(&format!("building {target}"));
    let output = seedd.output_build(&ns, target, &[])?;
    ns.must_be_quiet()?;
    output["file"].as_str().map(PathBuf::from).context("the output has no file")
}

pub fn run(dirs: &RunDirs, options: &Options) -> Result<()> {
    say::line("step 1: host");
    check_host()?;
    let template = Template::prepare(dirs)?;
    if template.reused {
        say::line("steps 2 to 4: using site, darksite and images of an earlier run");
    }
    let (work, logs) = dirs.part("demo")?;
    say::line("step 5: seedd serve");
    let seedd = template.copy(&work.join("data"))?;
    let image =
        options.target.as_deref().map(|target| Ok::<_, anyhow::Error>((target, built(&seedd, target, &work)?))).transpose()?;
    let mut fleet = Fleet::start(&format!("{PREFIX}{}-demo", std::process::id()), seedd, options.port, &work, &logs)?;
    fleet.accel = accelerator(&fleet.seedd, &fleet.work)?;
    match &image {
        Some((target, image)) => {
            say::line(&format!("step 6: two machines that start from the {target} image"));
            specs().into_iter().try_for_each(|spec| start::power_on(&mut fleet, spec, image, target))?;
        }
        None => {
            say::line("step 6: two blank machines");
            specs().into_iter().try_for_each(|spec| fleet.add(spec))?;
        }
    }
    say::line("step 7: approval");
    if !options.auto {
        let status = fleet.client.status()?;
        let shown = status["fingerprint"].as_str().context("a status without a fingerprint")?;
        say::plain(&format!("\n    open {}  and log in as {USER} with {PASSWORD}", fleet.client.base));
        say::plain("    the browser does not trust this site's CA yet; compare the sha256 fingerprint of the certificate:");
        say::plain(&format!("    {shown}\n"));
        say::plain("    each machine's console shows its pairing code; enter it in the web interface\n");
    }
    let auto = options.auto;
    let mut told = [false; 2];
    fleet.until("every machine's approval", FLOW_LIMIT, |fleet| {
        for (index, told) in told.iter_mut().enumerate() {
            let Some(code) = fleet.waiting_code(index) else { continue };
            if auto {
                fleet.approve(index, &code).context("step 7: approval")?;
            } else if !*told {
                *told = true;
                say::line(&format!("console of {}: pairing code {code}", fleet.members[index].name()));
            }
        }
        Ok(fleet.all(Step::Approved))
    })?;
    say::line("step 8: install, fabric, play");
    fleet.until("every machine to be Converged", FLOW_LIMIT, |fleet| Ok(fleet.all(Step::Converged)))?;
    say::line("step 9: checks");
    let passed = checks::all(&fleet, &template.ssh_key).context("step 9: checks")?;
    let figures = Figures::measure(&fleet)?;
    summary::print(&fleet, &figures, &passed);
    if let Some(file) = &options.times {
        summary::write_times(&fleet, &figures, file)?;
    }
    fleet.ns.must_be_quiet().context("step 9")
}
