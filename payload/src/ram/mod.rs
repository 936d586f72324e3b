//! The agent in RAM: from loading drivers to a bootable disk.

pub mod attempts;
pub mod dhcp;
pub mod enroll;
pub mod key;
pub mod modules;
pub mod rescue;
pub mod session;
pub mod site;

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::join::address::{Interface, StaticAddress};
use cluster_seed::join::token::JoinToken;
use cluster_seed::join::{Given, JoinSpec, MAX_BYTES};
use cluster_seed::machine::HardwareFacts;
use cluster_seed::secret::AgeKey;

use crate::cmdline::Cmdline;
use crate::console::Console;
use crate::http::{Http, Wait, chain};
use crate::install::medium;
use crate::install::place::place;
use crate::install::{Install, InstallError};
use crate::layout::STATIC_NETWORK;
use crate::ram::attempts::{Attempts, Next};
use crate::ram::dhcp::Dhcp;
use crate::ram::enroll::{ATTEMPTS, Enroller, Failed};
use crate::ram::modules::{ALWAYS, Index};
use crate::ram::session::{MachineSecrets, RANDOM, Session};
use crate::ram::site::Source;
use crate::report::{ReportError, Reporter};
use crate::state::NodeDir;
use host::files::{read_limited, replace_unsynced};
use host::hardware;
use host::tool::Running;

/// Seconds to wait for slow controllers to find their disks.
const DISK_SECONDS: u32 = 15;
/// In the RAM system of a medium: the same file as on a node's state partition; only its token is used.
const MEDIUM_JOIN: &str = "etc/kubedos/join.json";
/// Exists once the seed has acknowledged that the installation began.
const BEGAN: &str = "began";

/// Context of all steps in RAM.
pub struct Ram<'a> {
    /// `/`
    pub root: &'a Utf8Path,
    /// Directory of the session: a tmpfs.
    pub run: &'a Utf8Path,
    pub console: &'a Console,
    pub wait: Wait<'a>,
    /// Fills with random bytes.
    pub random: &'a dyn Fn(&mut [u8]) -> anyhow::Result<()>,
    /// Waits for a key press; false if there is no console.
    pub key: &'a dyn Fn() -> bool,
}

/// The kernel's modules, and those already tried.
#[derive(Default)]
pub struct Drivers {
    index: Index,
    done: BTreeSet<String>,
}

impl Drivers {
    /// Loads modules by name; built-in and missing ones are skipped.
    pub fn load(&self, modules: &[&str]) {
        for module in modules {
            if let Err(e) = self.index.load(module) {
                tracing::debug!(module, error = %e, "module not loaded");
            }
        }
    }
}

/// Result of the installation.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Installed,
    /// It failed permanently, and the seed was notified.
    GaveUp,
    /// It can be retried with the same session.
    Again,
}

impl Ram<'_> {
    /// Reads the module list and loads the modules that are always needed.
    pub fn drivers(&self) -> Drivers {
        let drivers = self.modules();
        self.console.step("drivers");
        drivers.load(ALWAYS);
        drivers
    }

    /// The module list of the running kernel.
    fn modules(&self) -> Drivers {
        let release = fs::read_to_string(self.root.join("proc/sys/kernel/osrelease")).unwrap_or_default();
        let dir = self.root.join("lib/modules").join(release.trim());
        let index = Index::read(&dir).unwrap_or_else(|e| {
            self.console.error(&format!("no module list in {dir}: {e}"));
            Index::default()
        });
        Drivers { index, done: BTreeSet::new() }
    }

    /// Loads drivers of newly appeared hardware.
    pub fn refresh(&self, drivers: &mut Drivers) {
        let fresh = drivers.index.load_for_hardware(self.root, &mut drivers.done);
        if !fresh.is_empty() {
            self.console.step(&format!("loaded {}", fresh.join(" ")));
        }
    }

    /// Gets an address. The handle renews the lease until it is dropped. Where the loader did not tell which card it booted from
    /// (a medium), the card that got the address counts.
    pub fn network(&self, cmdline: &mut Cmdline, exe: &Utf8Path, drivers: &mut Drivers) -> Running {
        let dhcp = Dhcp { root: self.root, dir: self.run, exe, console: self.console, wait: self.wait };
        let (running, mac) = dhcp.run(cmdline.boot_mac, &mut || self.refresh(drivers));
        cmdline.boot_mac.get_or_insert(mac);
        running
    }

    /// Sets the static address of `ip=` instead, once its card is there, and keeps it for the installed system.
    pub fn fixed(&self, cmdline: &mut Cmdline, address: &StaticAddress, drivers: &mut Drivers) -> anyhow::Result<()> {
        let mac = loop {
            self.refresh(drivers);
            let nics = hardware::nics(self.root);
            // Where several cards are there and none is named, the one that the machine booted from.
            let booted = nics.iter().find(|n| address.interface == Interface::First && Some(n.mac) == cmdline.boot_mac);
            if let Some(nic) = booted.or_else(|| nics.iter().find(|n| address.interface.is(&n.name, n.mac))) {
                dhcp::fix(&nic.name, address).context("setting the address of ip=")?;
                self.console.step(&format!("address {}/{} on {}", address.address, address.prefix, nic.name));
                break nic.mac;
            }
            self.console.error(&format!("the network card for the address {} of ip= is not there yet", address.address));
            (self.wait)(Duration::from_secs(10));
        };
        cmdline.boot_mac.get_or_insert(mac);
        Ok(replace_unsynced(&self.run.join(STATIC_NETWORK), address.networkd(mac).as_bytes())?)
    }

    fn facts(&self, cmdline: &Cmdline, drivers: &mut Drivers) -> HardwareFacts {
        for _ in 0..DISK_SECONDS {
            self.refresh(drivers);
            let facts = hardware::gather(self.root, cmdline.boot_mac);
            if !facts.disks.is_empty() {
                return facts;
            }
            (self.wait)(Duration::from_secs(1));
        }
        hardware::gather(self.root, cmdline.boot_mac)
    }

    /// Enrolls repeatedly until the machine is approved. Returns at once if an earlier run was approved.
    pub fn enroll(&self, cmdline: &Cmdline, token: Option<&JoinToken>, drivers: &mut Drivers) -> anyhow::Result<Session> {
        if let Some(session) = self.approved_before() {
            return Ok(session);
        }
        let given = cmdline.site.map(|key| (Source::CommandLine, key));
        let sites = site::known(self.root, given).context("reading the site key given to this machine")?;
        let (http, tries) = (Http::new(&cmdline.seed), ATTEMPTS);
        // Who knows the site's key has another proof than the network.
        let may_tell = cmdline.may_tell && sites.is_empty();
        let (console, wait, dir) = (self.console, self.wait, self.run);
        let enroller = Enroller { http: &http, console, wait, dir, sites: &sites, token, tries, may_tell };
        let mut attempts = Attempts::default();
        loop {
            let facts = self.facts(cmdline, drivers);
            match self.attempt(&enroller, &facts)? {
                Ok(session) => return Ok(session),
                Err(failed) => self.pause(&failed, &mut attempts),
            }
        }
    }

    /// The join token of the command line, or of the medium's join.json.
    pub fn token(&self, cmdline: &str) -> anyhow::Result<Option<JoinToken>> {
        let given = Given::of_words(cmdline.split_ascii_whitespace()).context("reading the kernel command line")?;
        if given.token.is_some() {
            return Ok(given.token);
        }
        match read_limited(&self.root.join(MEDIUM_JOIN), MAX_BYTES as u64) {
            Ok(bytes) => Ok(JoinSpec::parse(&bytes).context("reading the medium's join.json")?.token),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// The session of an earlier run of this program since the machine started.
    pub fn approved_before(&self) -> Option<Session> {
        if !Session::path(self.run).exists() {
            return None;
        }
        Session::load(self.run).inspect_err(|e| self.console.error(&chain(e))).ok()
    }

    /// One enrollment with fresh keys; its session is saved.
    pub fn attempt(&self, enroller: &Enroller<'_>, facts: &HardwareFacts) -> anyhow::Result<Result<Session, Failed>> {
        let mut random = zeroize::Zeroizing::new([0u8; RANDOM]);
        (self.random)(&mut *random)?;
        let secrets = MachineSecrets::new(AgeKey::generate(), &random, enroller.token).context("generating a pairing code")?;
        let done = enroller.run(secrets, facts);
        if let Ok(session) = &done {
            session.save(self.run)?;
        }
        Ok(done)
    }

    /// Waits before the next attempt, and tells why.
    pub fn pause(&self, failed: &Failed, attempts: &mut Attempts) {
        self.console.error(&chain(failed));
        match attempts.failed(failed.failure) {
            Next::Pause(pause) => {
                self.console.step(&format!("next attempt in {} s", pause.as_secs()));
                (self.wait)(pause);
            }
            Next::Key(pause) => {
                let count = attempts.codes();
                self.console.error(&format!("the code changed {count} times without approval: press a key for a new one"));
                if (self.key)() {
                    attempts.someone_is_here();
                } else {
                    self.console.step(&format!("no console for a key press; next attempt in {} s", pause.as_secs()));
                    (self.wait)(pause);
                }
            }
        }
    }

    /// Carries out the session's order of installation.
    pub fn install(&self, session: &Session) -> anyhow::Result<Outcome> {
        let http = Http::new(session.seed());
        let sequence = NodeDir::new(self.run).sequence(1);
        let reporter =
            Reporter::new(&http, session.node_key(), session.enrollment(), sequence, self.wait).to_one_that(session.knows());
        let approved = session.open()?;
        let began = self.run.join(BEGAN);
        // Found again at every attempt: it may have been taken out.
        self.modules().load(medium::MODULES);
        let medium = medium::mounted(self.root, self.run, self.console);
        let mountpoint: Utf8PathBuf = self.run.join("state");
        let network = fs::read_to_string(self.run.join(STATIC_NETWORK)).ok();
        let install = Install {
            http: &http,
            console: self.console,
            reporter: &reporter,
            approved: &approved,
            node_key: session.node_key(),
            root: self.root,
            medium: medium.as_deref(),
            place: &|disk, offset, files| place(disk, offset, files, &mountpoint),
            wait: self.wait,
            network: network.as_deref(),
            announce: (!began.exists()).then_some(began.as_path()),
        };
        let Err(e) = install.run() else { return Ok(Outcome::Installed) };
        let why = chain(&e);
        self.console.error(&why);
        if matches!(&e, InstallError::Began(ReportError::Http(h)) if h.is_temporary()) {
            return Ok(Outcome::Again);
        }
        let cause = e.cause();
        self.console.error(&format!("{} The machine does not try again by itself.", cause.hint()));
        reporter.failed(e.step(), &why, cause);
        // The identity cannot be used again: the next start is a new enrollment.
        fs::remove_file(Session::path(self.run))?;
        Ok(Outcome::GaveUp)
    }
}
