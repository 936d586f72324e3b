//! The steps for one machine. Before anything is done to an existing one, its tags are read again: the plan may be old.

use std::time::Duration;

use super::outcome::{NodeResult, chain};
use crate::options::{How, create};
use crate::plan::Entry;
use crate::present::tags;
use crate::read::{ReadError, configs};
use crate::ssh::{Remote, SshError};
use crate::vm::{INCOMPLETE, MARK};

/// A command that changes no disk; it may wait for a lock.
const ASK: Duration = Duration::from_secs(120);
/// Importing an image takes as long as the storage needs.
const CREATE: Duration = Duration::from_secs(3_600);
/// Seconds until a machine that does not shut down is stopped.
const SHUTDOWN_SECONDS: u32 = 120;

/// What failed, and in which step.
#[derive(Debug)]
pub(super) struct Failure {
    step: &'static str,
    error: String,
    hint: String,
}

impl Failure {
    pub(super) fn new(step: &'static str, error: SshError) -> Self {
        Failure { step, error: chain(&error), hint: error.hint().to_owned() }
    }

    fn read(step: &'static str, error: ReadError) -> Self {
        Failure { step, error: chain(&error), hint: error.hint().to_owned() }
    }

    pub(super) fn result(self) -> NodeResult {
        NodeResult::Failed { step: self.step.to_owned(), error: self.error, hint: self.hint }
    }
}

fn qm(remote: &Remote<'_>, step: &'static str, argv: &[&str], limit: Duration) -> Result<(), Failure> {
    let argv: Vec<&str> = std::iter::once("qm").chain(argv.iter().copied()).collect();
    remote.run(&argv, limit).map(|_| ()).map_err(|e| Failure::new(step, e))
}

/// Makes and starts a machine. It has the tag [`INCOMPLETE`] until its disk has the right size; a later run makes it again if
/// that tag is still there. It is started after the tag is gone, so that a machine that ran is never taken for a half-made one.
pub(super) fn make(remote: &Remote<'_>, entry: &Entry) -> Result<(), Failure> {
    let vm = &entry.vm;
    let id = vm.vmid.to_string();
    let options = create(vm);
    let mut argv = vec!["create".to_owned(), id.clone()];
    argv.extend(options.into_iter().flat_map(|(key, value)| [format!("--{key}"), value]));
    qm(remote, "create", &argv.iter().map(String::as_str).collect::<Vec<_>>(), CREATE)?;
    let gib = vm.disks.first().map_or(0, |d| d.size_gib);
    if u64::from(gib) << 30 > entry.image_bytes {
        qm(remote, "grow the disk", &["disk", "resize", &id, "scsi0", &format!("{gib}G")], CREATE)?;
    }
    qm(remote, "finish", &["set", &id, "--tags", &vm.tags.join(";")], ASK)?;
    qm(remote, "start", &["start", &id], ASK)
}

/// Why a machine is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// It was never finished, so it was never started.
    Incomplete,
    /// Another one takes its place: backup jobs and the like stay.
    Replaced,
    /// It is gone for good.
    Removed,
}

/// An existing machine.
pub(super) struct Machine<'a> {
    pub remote: &'a Remote<'a>,
    pub site: &'a str,
    pub name: &'a str,
    /// The host that it is on.
    pub node: &'a str,
    pub vmid: u32,
}

impl Machine<'_> {
    /// Refuses a machine that is not this site's, or not this node's.
    fn guard(&self, incomplete: bool) -> Result<(), Failure> {
        let read = configs(self.remote, &[(self.node, self.vmid)]).map_err(|e| Failure::read("check the tags", e))?;
        let text = |key: &str| read.first().and_then(|config| config.get(key)).map_or("", String::as_str);
        let tags = tags(text("tags"));
        let ours = tags.contains(MARK) && tags.contains(&format!("site-{}", self.site)) && text("name") == self.name;
        if ours && (!incomplete || tags.contains(INCOMPLETE)) {
            return Ok(());
        }
        Err(Failure {
            step: "check the tags",
            error: format!("machine {} is no longer what the plan says: {:?}, tags {:?}", self.vmid, text("name"), text("tags")),
            hint: "make a new plan".to_owned(),
        })
    }

    /// Removes the machine and its disks.
    pub(super) fn destroy(&self, which: Which) -> Result<(), Failure> {
        self.guard(which == Which::Incomplete)?;
        let id = self.vmid.to_string();
        let status = self.remote.run(&["qm", "status", &id], ASK).map_err(|e| Failure::new("ask for its state", e))?;
        if status.text().ends_with("running") {
            let limit = ASK + Duration::from_secs(u64::from(SHUTDOWN_SECONDS));
            let seconds = SHUTDOWN_SECONDS.to_string();
            let argv = ["shutdown", &id, "--forceStop", "1", "--timeout", &seconds];
            qm(self.remote, "shut down", &argv, limit)?;
        }
        let purge: &[&str] = if which == Which::Removed { &["--purge", "1"] } else { &[] };
        qm(self.remote, "remove", &[&["destroy", &id][..], purge].concat(), CREATE)
    }

    /// Sets options and grows disks.
    pub(super) fn update(&self, entry: &Entry) -> Result<(), Failure> {
        self.guard(false)?;
        let id = self.vmid.to_string();
        let set = entry.differences.iter().filter(|d| d.how == How::Set);
        let options: Vec<String> = set.flat_map(|d| [format!("--{}", d.option), d.to.clone()]).collect();
        if !options.is_empty() {
            let argv: Vec<&str> = ["set", &id].into_iter().chain(options.iter().map(String::as_str)).collect();
            qm(self.remote, "set options", &argv, CREATE)?;
        }
        for disk in entry.differences.iter().filter(|d| d.how == How::Grow) {
            qm(self.remote, "grow a disk", &["disk", "resize", &id, &disk.option, &disk.to], CREATE)?;
        }
        match &entry.existing {
            Some(existing) if !existing.running => qm(self.remote, "start", &["start", &id], ASK),
            _ => Ok(()),
        }
    }

    pub(super) fn start(&self) -> Result<(), Failure> {
        self.guard(false)?;
        qm(self.remote, "start", &["start", &self.vmid.to_string()], ASK)
    }
}
