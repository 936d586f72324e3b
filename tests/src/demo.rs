//! `kubedos-lab demo`: two blank machines, and as many simulated ones as wanted, become members of a fleet.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::checks;
use crate::dirs::RunDirs;
use crate::fleet::{Fleet, PASSWORD, USER};
use crate::foundry::start;
use crate::member::{Member, Step};
use crate::netns::{Netns, PREFIX};
use crate::protocol::first_role;
use crate::say;
use crate::seedd::Seedd;
use crate::simulated::{self, Rack};
use crate::site::Template;
use crate::stop;
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
    /// Simulated machines.
    pub machines: u16,
    /// Without the two virtual machines.
    pub no_vms: bool,
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

/// Runs the demo. With a person, it ends when the person says so.
pub fn run(dirs: &RunDirs, options: &Options) -> Result<()> {
    match play(dirs, options) {
        Err(_) if !options.auto && stop::requested() => {
            say::line("ended");
            Ok(())
        }
        other => other,
    }
}

fn play(dirs: &RunDirs, options: &Options) -> Result<()> {
    say::line("step 1: host");
    check_host()?;
    let (work, logs) = dirs.part("demo")?;
    // Simulated machines need neither darksite nor images.
    let template = if options.no_vms { None } else { Some(Template::prepare(dirs)?) };
    if template.as_ref().is_some_and(|t| t.reused) {
        say::line("steps 2 to 4: using site, darksite and images of an earlier run");
    }
    let seedd = match &template {
        Some(template) => template.copy(&work.join("data"))?,
        None => simulated::site::make(&work)?,
    };
    let ssh_key = template.map(|t| t.ssh_key).unwrap_or_default();
    say::line("step 5: seedd serve");
    let image =
        options.target.as_deref().map(|target| Ok::<_, anyhow::Error>((target, built(&seedd, target, &work)?))).transpose()?;
    let mut fleet = Fleet::start(&format!("{PREFIX}{}-demo", std::process::id()), seedd, options.port, &work, &logs)?;
    match (&image, options.no_vms) {
        (_, true) => say::line("step 6: no virtual machines"),
        (Some((target, image)), _) => {
            fleet.accel = accelerator(&fleet.seedd, &fleet.work)?;
            say::line(&format!("step 6: two machines that start from the {target} image"));
            specs().into_iter().try_for_each(|spec| start::power_on(&mut fleet, spec, image, target))?;
        }
        (None, _) => {
            fleet.accel = accelerator(&fleet.seedd, &fleet.work)?;
            say::line("step 6: two blank machines");
            specs().into_iter().try_for_each(|spec| fleet.add(spec))?;
        }
    }
    let rack = (options.machines > 0).then(|| Rack::start(&fleet.ns, &work, options.machines)).transpose()?;
    if rack.is_some() {
        say::line(&format!("{} simulated machines ask to enroll", options.machines));
    }
    if options.auto {
        return by_itself(&mut fleet, &ssh_key, options, rack.as_ref());
    }
    with_a_person(&mut fleet, &ssh_key, rack.as_ref())
}

/// Approves everything, checks the nodes, prints the table of times, and ends.
fn by_itself(fleet: &mut Fleet, ssh_key: &Path, options: &Options, rack: Option<&Rack>) -> Result<()> {
    say::line("step 7: approval");
    if let Some(rack) = rack {
        let (role, mut used) = (first_role(&fleet.client)?, BTreeSet::new());
        stop::wait_for("every simulated machine to be installed", FLOW_LIMIT, || {
            rack.approve(&fleet.client, &role, &mut used)?;
            say::progress(&rack.summary());
            Ok(rack.screens().iter().all(|s| s.state == "Installed").then_some(()))
        })?;
        say::line(&format!("{} simulated machines are installed nodes", options.machines));
    }
    if options.no_vms {
        return fleet.ns.must_be_quiet().context("step 9");
    }
    fleet.until("every machine's approval", FLOW_LIMIT, |fleet| {
        for index in 0..fleet.members.len() {
            if let Some(code) = fleet.waiting_code(index) {
                fleet.approve(index, &code).context("step 7: approval")?;
            }
        }
        Ok(fleet.all(Step::Approved))
    })?;
    say::line("step 8: install, fabric, play");
    fleet.until("every machine to be Converged", FLOW_LIMIT, |fleet| Ok(fleet.all(Step::Converged)))?;
    say::line("step 9: checks");
    let passed = checks::all(fleet, ssh_key).context("step 9: checks")?;
    let figures = Figures::measure(fleet)?;
    summary::print(fleet, &figures, &passed);
    if let Some(file) = &options.times {
        summary::write_times(fleet, &figures, file)?;
    }
    fleet.ns.must_be_quiet().context("step 9")
}

/// Shows codes as they appear and the lines that log in, until the person ends it.
fn with_a_person(fleet: &mut Fleet, ssh_key: &Path, rack: Option<&Rack>) -> Result<()> {
    say::line("step 7: approval");
    let status = fleet.client.status()?;
    let shown = status["fingerprint"].as_str().context("a status without a fingerprint")?;
    say::plain(&format!("\n    open {}  and log in as {USER} with {PASSWORD}", fleet.client.base));
    say::plain("    the browser does not trust this site's CA yet; compare the sha256 fingerprint of the certificate:");
    say::plain(&format!("    {shown}\n"));
    say::plain("    each machine's console shows its pairing code; enter it in the web interface");
    let codes = fleet.work.join("codes");
    let role = first_role(&fleet.client)?;
    if rack.is_some() {
        say::plain(&format!("    the codes of the simulated machines, with role, name and disk: {}", codes.display()));
        let data = fleet.seedd.data.display();
        say::plain(&format!(
            "    all at once: {} machine approve --file {} --data {data}",
            fleet.seedd.program.display(),
            codes.display()
        ));
    }
    say::plain("    Enter or Ctrl-C ends the demo and removes everything\n");
    let enter = until_enter();
    let mut shown_codes = vec![None; fleet.members.len()];
    let mut logins = vec![None; fleet.members.len()];
    while !enter.load(Ordering::Relaxed) {
        if fleet.members.is_empty() {
            stop::check()?;
            fleet.daemon.must_run()?;
        } else {
            // What a person denies or revokes is no failure of the demo.
            fleet.tick(true)?;
        }
        for index in 0..fleet.members.len() {
            let code = fleet.waiting_code(index);
            if code.is_some() && code != shown_codes[index] {
                say::line(&format!("console of {}: pairing code {}", fleet.members[index].name(), code.as_deref().unwrap_or("")));
                shown_codes[index] = code;
            }
            let member = &fleet.members[index];
            let address = reachable(member);
            if address.is_some() && address != logins[index] {
                let line = login(fleet.ns.name(), ssh_key, address.as_deref().unwrap_or_default());
                say::line(&format!("log in to {}, as root on this machine: {line}", member.name()));
                logins[index] = address;
            }
        }
        if let Some(rack) = rack {
            std::fs::write(&codes, rack.codes(&role)).context("writing the codes of the simulated machines")?;
            if fleet.members.is_empty() {
                say::progress(&rack.summary());
            }
        }
        std::thread::sleep(stop::TICK);
    }
    say::line("ended");
    fleet.ns.must_be_quiet()
}

/// The address of a node that is on its planes now: one that was revoked and enrolled again may have another.
fn reachable(member: &Member) -> Option<String> {
    Step::reached(member.state()).filter(|step| *step >= Step::FabricReady)?;
    member.machine.as_ref()?.planes().remove("wg1")
}

/// The command that logs in to a node: its address is on a plane, which only the lab's namespace reaches.
fn login(namespace: &str, key: &Path, address: &str) -> String {
    // Neither settings nor keys of whoever enters it: sshd takes six keys of an agent and then hangs up.
    let own = "-F none -o IdentitiesOnly=yes";
    // The node is new each time, and so is its host key.
    let new = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null";
    format!("ip netns exec {namespace} ssh -i {} {own} {new} root@{address}", word(key))
}

/// A path as a word for a shell, in whatever directory it is: $KUBEDOS_CACHE may be relative, and have blanks.
fn word(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let text = path.to_string_lossy();
    if text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c)) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Becomes true once Enter was pressed. Without a terminal only a signal ends the demo.
fn until_enter() -> Arc<AtomicBool> {
    let pressed = Arc::new(AtomicBool::new(false));
    if std::io::stdin().is_terminal() {
        let flag = pressed.clone();
        // It waits for a line that may never come, and ends with the program.
        std::thread::spawn(move || {
            let read = std::io::stdin().read_line(&mut String::new());
            flag.store(read.is_ok(), Ordering::Relaxed);
        });
    }
    pressed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_runs_in_the_namespace_of_the_lab() {
        let line = login("kdlab-7-demo", Path::new("/c/site/ssh-key"), "10.78.0.2");
        assert!(
            line.starts_with("ip netns exec kdlab-7-demo ssh -i /c/site/ssh-key ") && line.ends_with(" root@10.78.0.2"),
            "{line}"
        );
        assert!(line.contains(" -F none -o IdentitiesOnly=yes "), "keys of an agent do not come first: {line}");
    }

    #[test]
    fn the_key_of_a_login_is_one_word_from_every_directory() {
        assert_eq!(word(Path::new("/c/site-1/ssh-key")), "/c/site-1/ssh-key");
        assert_eq!(word(Path::new("/a b/it's/ssh-key")), r"'/a b/it'\''s/ssh-key'");
        let here = std::env::current_dir().unwrap().join("c/ssh-key");
        assert_eq!(word(Path::new("c/ssh-key")), word(&here));
    }
}
