//! A complete lab: namespace, seed, operator, machines.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::api::Client;
use crate::daemon::Daemon;
use crate::member::{Member, Step, is_lost};
use crate::netns::Netns;
use crate::say;
use crate::seedd::Seedd;
use crate::site::PASSPHRASE;
use crate::stop;
use crate::trust::ca_of;
use crate::vm::{Accel, Spec, Vm};

/// The lab's operator, printed where a person has to log in.
pub const USER: &str = "operator";
pub const PASSWORD: &str = "lab-operator-password";
/// How often the seed is asked for its machines.
const ASK: Duration = Duration::from_millis(500);

/// Credentials of the lab for a seed.
#[derive(Debug, Clone)]
pub struct Access {
    pub user: String,
    pub password: String,
    pub passphrase: String,
}

impl Access {
    /// The lab's own operator and passphrase.
    pub fn lab() -> Self {
        Access { user: USER.to_owned(), password: PASSWORD.to_owned(), passphrase: PASSPHRASE.to_owned() }
    }
}

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
    access: Access,
    asked: Option<Instant>,
}

impl Fleet {
    /// Starts the daemon on a fresh copy of a site and makes the operator.
    pub fn start(name: &str, seedd: Seedd, port: u16, work: &Path, logs: &Path) -> Result<Self> {
        let mut fleet = Fleet::serve(name, seedd, port, (Access::lab(), &[]), work, logs)?;
        fleet.client.setup(&fleet.daemon.setup_code()?, USER, PASSWORD)?;
        fleet.client.unseal(PASSPHRASE)?.good("unsealing")?;
        fleet.client.trust(&[ca_of(&fleet.seedd.data)?]);
        Ok(fleet)
    }

    /// Starts the daemon on a site that nobody has logged in to; the lab's operator is made by whoever uses it.
    pub fn untouched(name: &str, seedd: Seedd, work: &Path, logs: &Path) -> Result<Self> {
        Fleet::serve(name, seedd, 0, (Access::lab(), &[]), work, logs)
    }

    /// Logs in to a seed that is unsealed.
    pub fn log_in(&mut self) -> Result<()> {
        self.client.trust_compared();
        self.client.login(&self.access.user, &self.access.password)?;
        self.client.trust(&[ca_of(&self.seedd.data)?]);
        Ok(())
    }

    /// Starts the daemon on a site that has an operator already. `planes` are those that the lab's own site has not.
    pub fn again(name: &str, seedd: Seedd, access: Access, planes: &[String], work: &Path, logs: &Path) -> Result<Self> {
        let mut fleet = Fleet::serve(name, seedd, 0, (access, planes), work, logs)?;
        fleet.enter()?;
        Ok(fleet)
    }

    fn serve(
        name: &str,
        seedd: Seedd,
        port: u16,
        (access, planes): (Access, &[String]),
        work: &Path,
        logs: &Path,
    ) -> Result<Self> {
        let ns = Netns::lab_at(name, work, &seedd.address, planes)?;
        let mut daemon = Daemon::new(port, &logs.join("seedd.log"))?;
        daemon.start(&ns, &seedd).context("step seedd serve")?;
        let client = Client::compared(&daemon.address()?);
        let (work, logs) = (work.to_owned(), logs.to_owned());
        Ok(Fleet { members: Vec::new(), daemon, client, ns, seedd, accel: Accel::Tcg, work, logs, access, asked: None })
    }

    /// Logs in and unseals.
    fn enter(&mut self) -> Result<()> {
        // Sealed, it shows the certificate whose fingerprint it printed; the daemon was waited for with that.
        self.client.trust_compared();
        self.client.login(&self.access.user, &self.access.password)?;
        self.client.unseal(&self.access.passphrase)?.good("unsealing after a restart")?;
        self.client.trust(&[ca_of(&self.seedd.data)?]);
        Ok(())
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
        self.enter()
    }

    /// Looks at consoles and seed once; says what is new. An error if a machine is lost, unless `may_fail`.
    pub fn tick(&mut self, may_fail: bool) -> Result<()> {
        stop::check()?;
        self.daemon.must_run()?;
        let due = self.asked.is_none_or(|at| at.elapsed() >= ASK);
        if due {
            self.asked = Some(Instant::now());
        }
        if !look(&mut self.members, due.then_some(&self.client), may_fail)? {
            return Ok(());
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

    /// Approves every machine that shows a code, until all of them have reached `step`.
    pub fn approve_until(&mut self, step: Step, what: &str, limit: Duration) -> Result<()> {
        self.until(what, limit, |fleet| {
            for index in 0..fleet.members.len() {
                if let Some(code) = fleet.waiting_code(index) {
                    fleet.approve(index, &code)?;
                }
            }
            Ok(fleet.all(step))
        })
    }

    /// The code on a Pending machine's console that has not been used yet.
    pub fn waiting_code(&self, index: usize) -> Option<String> {
        self.members[index].waiting_code()
    }

    /// The role that has an artifact, and the disk of the machine: the first of each.
    pub fn choice(&self, index: usize) -> Result<(String, String)> {
        self.members[index].choice(&self.client)
    }

    /// Approves through the API with the code from the console.
    pub fn approve(&mut self, index: usize, code: &str) -> Result<()> {
        self.members[index].approve(&self.client, code)
    }

    /// Approves while the machine stands still, then does `work` before it goes on.
    pub fn approve_and(&mut self, index: usize, code: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let member = &mut self.members[index];
        member.vm.pause()?;
        let done = member.approve(&self.client, code).and_then(|()| work());
        member.vm.go_on()?;
        done
    }

    /// Cuts a machine's power and switches it on again: what it had in memory is gone, its disk stays.
    pub fn pull_plug(&mut self, index: usize) -> Result<()> {
        let member = self.members.remove(index);
        let over = member.enrollment().map(str::to_owned);
        let Member { vm, hostname, .. } = member;
        let spec = vm.spec.clone();
        let disk = vm.power_off();
        let vm = Vm::power_on(&self.ns, spec, self.accel, disk, &self.work, &self.logs)?;
        let mut member = Member::new(vm).replacing(true);
        (member.hostname, member.over) = (hostname, over);
        self.members.insert(index, member);
        Ok(())
    }

    /// Switches a machine off for good, and another one on: with the same name and data disk, an empty disk and a card of its own.
    /// The seed keeps the old one until the other is approved in its place; a machine with the old card would be told to start from
    /// its disk.
    pub fn blank(&mut self, index: usize) -> Result<()> {
        let mac = next_card(&self.members[index].vm.spec.mac)?;
        let Member { vm, hostname, .. } = self.members.remove(index);
        let spec = Spec { mac, ..vm.spec.clone() };
        let disk = vm.power_off();
        std::fs::remove_file(&disk).with_context(|| format!("removing {}", disk.display()))?;
        std::fs::File::create(&disk).and_then(|f| f.set_len(spec.disk)).context("making an empty disk")?;
        let vm = Vm::power_on(&self.ns, spec, self.accel, disk, &self.work, &self.logs)?;
        let mut member = Member::new(vm).replacing(true);
        member.hostname = hostname;
        self.members.insert(index, member);
        Ok(())
    }

    pub fn all(&self, step: Step) -> bool {
        self.members.iter().all(|m| m.has(step))
    }
}

/// The address of the card of the machine that comes after this one in its place: the fifth byte counts them.
fn next_card(mac: &str) -> Result<String> {
    let bytes: Vec<&str> = mac.split(':').collect();
    let [a, b, c, d, e, f] = bytes[..] else { bail!("{mac} is no MAC address") };
    let next = u8::from_str_radix(e, 16).with_context(|| format!("reading {mac}"))?.wrapping_add(1);
    Ok(format!("{a}:{b}:{c}:{d}:{next:02x}:{f}"))
}

/// Reads every console and, with a client, asks the seed once; says what is new. True if the seed was asked. An error if
/// a machine is lost, unless `may_fail`.
pub fn look(members: &mut [Member], client: Option<&Client>, may_fail: bool) -> Result<bool> {
    for member in members.iter_mut() {
        member.vm.poll()?;
        if let Some(news) = member.note_console() {
            say::line(&news);
        }
    }
    let Some(client) = client else { return Ok(false) };
    let machines = client.machines()?;
    for member in members {
        let Some(machine) = machines.iter().find(|m| m.mac == member.vm.spec.mac) else { continue };
        if let Some(news) = member.note_machine(machine.clone(), Instant::now()) {
            say::line(&news);
        }
        if is_lost(member.state()) && !may_fail {
            bail!("{} is {}; its console: {}", member.name(), member.state(), member.vm.console.path().display());
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_in_the_place_of_another_has_a_card_that_no_machine_of_the_lab_had() {
        let first = Spec::new("core-1", 7, crate::vm::Firmware::SeaBios).mac;
        let second = next_card(&first).unwrap();
        let third = next_card(&second).unwrap();
        let usual: Vec<String> = (1..=250).map(|n| Spec::new("any", n, crate::vm::Firmware::SeaBios).mac).collect();
        assert!(usual.contains(&first) && !usual.contains(&second) && !usual.contains(&third) && second != third);
        assert_eq!(second.len(), first.len());
        assert!(next_card("52:54:00").is_err() && next_card("52:54:00:6b:zz:01").is_err());
    }
}
