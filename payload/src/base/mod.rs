//! The base role: configuration that every node has, in addition to its role. The agent applies it itself, because Ansible
//! takes minutes for it on a slow machine (docs/adr/0018-the-agent-writes-the-base-role.md).
//!
//! Everything static is in the artifact ([`crate::assets`]). These steps write the files that depend on the node's identity,
//! and restore static files that were changed. Steps are idempotent.

mod command;
mod context;
mod files;

pub mod apt;
pub mod firewall;
pub mod hosts;
pub mod ssh;

pub use command::Command;
pub use context::{Base, BaseError, Change};

use cluster_seed::agent::{ApplyStep, StepResult};

use crate::http::chain;

/// Longest detail text of a step, in characters.
const MAX_DETAIL: usize = 800;

/// The steps of the base role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    HostName,
    Hosts,
    SshServer,
    AuthorizedKeys,
    FirewallRules,
    FirewallLoaded,
    FirewallAtBoot,
    AptKeyring,
    AptSources,
    AptPriority,
    OtherAptSources,
    PackageLists,
}

impl Step {
    /// In the order they run.
    pub const ALL: &'static [Step] = &[
        Step::HostName,
        Step::Hosts,
        Step::SshServer,
        Step::AuthorizedKeys,
        Step::FirewallRules,
        Step::FirewallLoaded,
        Step::FirewallAtBoot,
        Step::AptKeyring,
        Step::AptSources,
        Step::AptPriority,
        Step::OtherAptSources,
        Step::PackageLists,
    ];
    /// The steps that need no network: cheap enough for a timer.
    pub const LOCAL: &'static [Step] = Step::ALL.split_at(Step::ALL.len() - 1).0;

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Step::HostName => "Host name",
            Step::Hosts => "Hosts file with every node",
            Step::SshServer => "SSH server settings",
            Step::AuthorizedKeys => "Authorized SSH keys",
            Step::FirewallRules => "Firewall rules",
            Step::FirewallLoaded => "Firewall loaded",
            Step::FirewallAtBoot => "Firewall enabled at boot",
            Step::AptKeyring => "APT keyring",
            Step::AptSources => "APT sources",
            Step::AptPriority => "APT source priority",
            Step::OtherAptSources => "No other APT sources",
            Step::PackageLists => "Package lists",
        }
    }
}

/// A step and its result.
#[derive(Debug)]
pub struct Outcome {
    pub step: Step,
    pub result: Result<Change, BaseError>,
}

impl Outcome {
    /// The form that is reported to the seed.
    pub fn report(&self) -> ApplyStep {
        let (result, detail) = match &self.result {
            Ok(Change::None) => (StepResult::Ok, String::new()),
            Ok(Change::Made) => (StepResult::Changed, String::new()),
            Err(e) => (StepResult::Failed, chain(e).chars().take(MAX_DETAIL).collect()),
        };
        ApplyStep { name: self.step.name().to_owned(), result, detail }
    }
}

impl Base<'_> {
    /// Runs steps in order and continues after a failure. `done` is called after each.
    pub fn apply(&mut self, steps: &[Step], done: &mut dyn FnMut(&Outcome)) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(steps.len());
        for &step in steps {
            let outcome = Outcome { step, result: self.one(step) };
            done(&outcome);
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Whether the kernel's firewall is that of this identity and list. Changes nothing.
    pub fn has_firewall(&self) -> bool {
        firewall::is_loaded(self).unwrap_or(false)
    }

    fn one(&mut self, step: Step) -> Result<Change, BaseError> {
        match step {
            Step::HostName => hosts::write_name(self),
            Step::Hosts => hosts::write_hosts(self),
            Step::SshServer => ssh::configure_server(self),
            Step::AuthorizedKeys => ssh::write_keys(self),
            Step::FirewallRules => firewall::write_rules(self),
            Step::FirewallLoaded => firewall::load(self),
            Step::FirewallAtBoot => firewall::enable(self),
            Step::AptKeyring => apt::write_keyring(self),
            Step::AptSources => apt::write_sources(self),
            Step::AptPriority => apt::write_priority(self),
            Step::OtherAptSources => apt::remove_other_sources(self),
            Step::PackageLists => apt::update_lists(self),
        }
    }
}
