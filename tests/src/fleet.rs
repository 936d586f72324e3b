//! A whole lab: namespace, seed, operator, machines.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::api::{Client, Decision};
use crate::daemon::Daemon;
use crate::member::{Member, Step, is_lost};
use crate::netns::Netns;
use crate::say;
use crate::seedd::Seedd;
use crate::site::PASSPHRASE;
use crate::stop;
use crate::vm::{Accel, Spec, Vm};

/// The lab's operator, printed where a person has to log in.
pub const USER: &str = "operator";
pub const PASSWORD: &str = "lab-operator-password";
/// How often the seed is asked for its machines.
const ASK: Duration = Duration::from_millis(500);

/// Machines first, then the daemon, then the namespace: the order in which they are dropped.
#[derive(Debug)]
pub struct Fleet {
    pub members: Vec<Member>,
    pub daemon: Daemon,
    pub client: Client,
    pub ns: Netns,
    pub seedd: Seedd,
    pub accel: Accel,
    pub work: PathBuf,
    pub logs: PathBuf,
    asked: Option<Instant>,
}

impl Fleet {
    /// Starts the daemon on a fresh copy of a site and makes the operator.
    pub fn start(name: &str, seedd: Seedd, port: u16, work: &Path, logs: &Path) -> Result<Self> {
        let ns = Netns::lab(name, work)?;
        let mut daemon = Daemon::new(port, &logs.join("seedd.log"))?;
        daemon.start(&ns, &seedd).context("step seedd serve")?;
        let mut client = Client::new(&daemon.address()?);
        client.setup(&daemon.setup_code()?, USER, PASSWORD)?;
        client.unseal(PASSPHRASE)?.good("unsealing")?;
        let (work, logs) = (work.to_owned(), logs.to_owned());
        Ok(Fleet { members: Vec::new(), daemon, client, ns, seedd, accel: Accel::Tcg, work, logs, asked: None })
    }

    pub fn add(&mut self, spec: Spec) -> Result<()> {
        say::line(&format!("power on {}: {:?}, {:?} disk, first boot from {:?}", spec.name, spec.firmware, spec.bus, spec.first));
        let vm = Vm::start(&self.ns, spec, self.accel, &self.work, &self.logs)?;
        self.members.push(Member::new(vm));
        Ok(())
    }

    /// kill -9, start again, log in, unseal.
    pub fn power_cut(&mut self, when: &str) -> Result<()> {
        say::line(&format!("kill -9 of the daemon {when}"));
        self.daemon.kill_and_restart(&self.ns, &self.seedd).with_context(|| format!("restarting the daemon {when}"))?;
        self.client.login(USER, PASSWORD)?;
        self.client.unseal(PASSPHRASE)?.good("unsealing after a restart")?;
        Ok(())
    }

    /// Looks at consoles and seed once; says what is new. An error if a machine is lost, unless `may_fail`.
    pub fn tick(&mut self, may_fail: bool) -> Result<()> {
        stop::check()?;
        self.daemon.must_run()?;
        for member in &mut self.members {
            member.vm.poll()?;
            if let Some(news) = member.note_console() {
                say::line(&news);
            }
        }
        if self.asked.is_some_and(|at| at.elapsed() < ASK) {
            return Ok(());
        }
        self.asked = Some(Instant::now());
        let machines = self.client.machines()?;
        for member in &mut self.members {
            let Some(machine) = machines.iter().find(|m| m.mac == member.vm.spec.mac) else { continue };
            if let Some(news) = member.note_machine(machine.clone(), Instant::now()) {
                say::line(&news);
            }
            if is_lost(member.state()) && !may_fail {
                bail!("{} is {}; its console: {}", member.name(), member.state(), member.vm.console.path().display());
            }
        }
        say::progress(&self.members.iter().map(Member::phrase).collect::<Vec<_>>().join("; "));
        Ok(())
    }

    /// Ticks until `done`; an error after `limit` that names what was waited for.
    pub fn until(&mut self, what: &str, limit: Duration, mut done: impl FnMut(&mut Fleet) -> Result<bool>) -> Result<()> {
        let logs = self.logs.display().to_string();
        stop::wait_for(&format!("{what} (logs: {logs})"), limit, || {
            self.tick(false)?;
            Ok(done(self)?.then_some(()))
        })
    }

    /// The code on a Pending machine's console that has not been used yet.
    pub fn waiting_code(&self, index: usize) -> Option<String> {
        let member = &self.members[index];
        (member.state() == "Pending" && !member.approval_sent).then(|| member.vm.console.pairing_code()).flatten()
    }

    /// The role that has an artifact, and the disk of the machine: the first of each.
    pub fn choice(&self, index: usize) -> Result<(String, String)> {
        let status = self.client.status()?;
        let roles = status["roles"].as_array().cloned().unwrap_or_default();
        let role = roles.iter().find(|r| !r["artifact"].is_null()).and_then(|r| r["name"].as_str());
        let machine = self.members[index].machine.as_ref().context("the machine is not known to the seed")?;
        let disks = self.client.disks(machine.id)?;
        let disk = disks.first().context("the machine told of no disk")?;
        Ok((role.context("no role has an artifact")?.to_owned(), disk.0.clone()))
    }

    /// Approves through the API with the code from the console.
    pub fn approve(&mut self, index: usize, code: &str) -> Result<()> {
        let (role, disk) = self.choice(index)?;
        let member = &self.members[index];
        let id = member.enrollment().context("nothing to approve")?.to_owned();
        let hostname = member.name().to_owned();
        say::line(&format!("{hostname}: approving with code {code}, role {role}, disk {disk}"));
        let decision = Decision { code, role: &role, hostname: &hostname, disk: &disk };
        self.client.approve(&id, &decision)?.good("approving")?;
        self.members[index].approval_sent = true;
        Ok(())
    }

    /// Approves while the machine stands still, then does `work` before it goes on.
    pub fn approve_and(&mut self, index: usize, code: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let (role, disk) = self.choice(index)?;
        let member = &self.members[index];
        let id = member.enrollment().context("nothing to approve")?.to_owned();
        let hostname = member.name().to_owned();
        let decision = Decision { code, role: &role, hostname: &hostname, disk: &disk };
        member.vm.while_stopped(|| {
            self.client.approve(&id, &decision)?.good("approving")?;
            work()
        })?;
        self.members[index].approval_sent = true;
        Ok(())
    }

    pub fn all(&self, step: Step) -> bool {
        self.members.iter().all(|m| m.has(step))
    }
}
