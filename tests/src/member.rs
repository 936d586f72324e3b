//! One machine during its enrollment, with the times of all steps.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::api::{Client, Decision, Machine};
use crate::say;
use crate::vm::Vm;

/// The steps the summary shows, in the order they happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    AgentUp,
    Enrolled,
    Approved,
    Installed,
    FabricReady,
    Converged,
}

impl Step {
    pub const ALL: [Step; 6] =
        [Step::AgentUp, Step::Enrolled, Step::Approved, Step::Installed, Step::FabricReady, Step::Converged];

    pub fn name(self) -> &'static str {
        match self {
            Step::AgentUp => "agent up",
            Step::Enrolled => "enrolled",
            Step::Approved => "approved",
            Step::Installed => "installed",
            Step::FabricReady => "fabric ready",
            Step::Converged => "converged",
        }
    }

    /// The last step that a machine in this enrollment state has behind it.
    pub fn reached(state: &str) -> Option<Step> {
        Some(match state {
            "Pending" | "Confirming" => Step::Enrolled,
            "Approved" | "Issued" | "Installing" => Step::Approved,
            "Installed" => Step::Installed,
            "FabricReady" => Step::FabricReady,
            "Converged" => Step::Converged,
            _ => return None,
        })
    }
}

/// Final states of a failed enrollment.
pub fn is_lost(state: &str) -> bool {
    ["Denied", "Revoked", "Failed", "Expired"].contains(&state)
}

/// A virtual machine and its state.
#[derive(Debug)]
pub struct Member {
    pub vm: Vm,
    /// Time from power-on to each step.
    pub marks: [Option<Duration>; 6],
    pub machine: Option<Machine>,
    pub approval_sent: bool,
    /// It takes the place of the node that has its name.
    pub replaces: bool,
    /// The host name it gets; without one, its own.
    pub hostname: Option<String>,
    /// Its enrollment before the power was cut: its console shows the code of another one by now.
    pub over: Option<String>,
    told: String,
}

impl Member {
    pub fn new(vm: Vm) -> Self {
        Member {
            vm,
            marks: [None; 6],
            machine: None,
            approval_sent: false,
            replaces: false,
            hostname: None,
            over: None,
            told: String::new(),
        }
    }

    /// It takes the place of the node that has its name.
    pub fn replacing(mut self, replaces: bool) -> Self {
        self.replaces = replaces;
        self
    }

    pub fn name(&self) -> &str {
        &self.vm.spec.name
    }

    pub fn state(&self) -> &str {
        self.machine.as_ref().map_or("", Machine::state)
    }

    pub fn enrollment(&self) -> Option<&str> {
        self.machine.as_ref()?.enrollment.as_ref().map(|e| e.id.as_str())
    }

    pub fn has(&self, step: Step) -> bool {
        self.marks[step as usize].is_some()
    }

    /// Share of the install that is done, in percent.
    pub fn percent(&self) -> Option<u64> {
        let progress = self.machine.as_ref()?.enrollment.as_ref()?.progress.as_ref()?;
        (progress.written * 100).checked_div(progress.total)
    }

    fn mark(&mut self, step: Step, at: Instant) {
        let since = at.saturating_duration_since(self.vm.powered_on);
        for earlier in Step::ALL.into_iter().filter(|s| *s <= step) {
            self.marks[earlier as usize].get_or_insert(since);
        }
    }

    /// Takes in what the console said; a sentence if a step was reached.
    pub fn note_console(&mut self) -> Option<String> {
        if self.has(Step::AgentUp) {
            return None;
        }
        let at = self.vm.console.find(0, "kubedos: ")?.at;
        self.mark(Step::AgentUp, at);
        Some(format!("{}: agent up", self.name()))
    }

    /// Takes in what the seed says; a sentence if the state is a new one.
    pub fn note_machine(&mut self, machine: Machine, now: Instant) -> Option<String> {
        let state = machine.state().to_owned();
        let reason = machine.enrollment.as_ref().and_then(|e| e.reason.clone()).map(|r| format!(" ({r})")).unwrap_or_default();
        self.machine = Some(machine);
        if let Some(step) = Step::reached(&state) {
            self.mark(step, now);
        }
        if state == self.told || state.is_empty() {
            return None;
        }
        self.told.clone_from(&state);
        Some(format!("{}: {state}{reason}", self.name()))
    }

    /// The code on the console of a Pending machine that has not been used yet.
    pub fn waiting_code(&self) -> Option<String> {
        let current = self.over.is_none() || self.enrollment() != self.over.as_deref();
        (current && self.state() == "Pending" && !self.approval_sent).then(|| self.vm.console.pairing_code()).flatten()
    }

    /// The role that the machine is named after (`core-1`), else the first one that has an artifact; and the first disk.
    pub fn choice(&self, client: &Client) -> Result<(String, String)> {
        let status = client.status()?;
        let roles = status["roles"].as_array().cloned().unwrap_or_default();
        let label = self.hostname.as_deref().unwrap_or(self.name());
        let named = label.rsplit_once('-').map_or(label, |(role, _)| role);
        let mut built: Vec<&str> = roles.iter().filter(|r| !r["artifact"].is_null()).filter_map(|r| r["name"].as_str()).collect();
        built.sort_by_key(|role| *role != named);
        let role = built.first().copied();
        let machine = self.machine.as_ref().context("the machine is not known to the seed")?;
        let disks = client.disks(machine.id)?;
        let disk = disks.first().context("the machine reported no disk")?;
        Ok((role.context("no role has an artifact")?.to_owned(), disk.0.clone()))
    }

    /// Approves through the API with the code from the console.
    pub fn approve(&mut self, client: &Client, code: &str) -> Result<()> {
        let (role, disk) = self.choice(client)?;
        let id = self.enrollment().context("nothing to approve")?;
        let hostname = self.hostname.as_deref().unwrap_or(self.name());
        say::line(&format!("{hostname}: approving with code {code}, role {role}, disk {disk}"));
        let decision = Decision { code, role: &role, hostname, disk: &disk, replace: self.replaces };
        client.approve(id, &decision)?.good("approving")?;
        self.approval_sent = true;
        Ok(())
    }

    /// One phrase for the progress line.
    pub fn phrase(&self) -> String {
        let progress = self.machine.as_ref().and_then(|m| m.enrollment.as_ref()).and_then(|e| e.progress.as_ref());
        match (self.state(), progress) {
            ("Installing", Some(p)) => {
                format!("{} installing {} % {:.1} MB/s", self.name(), self.percent().unwrap_or(0), p.rate as f64 / 1e6)
            }
            ("", _) => format!("{} booting", self.name()),
            (state, _) => {
                let said = self.vm.console.last_of_agent().and_then(|l| l.split_once("kubedos: ")).map_or("", |(_, t)| t);
                format!("{} {state} ({said})", self.name())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_successful_state_belongs_to_a_step() {
        let road = ["Pending", "Confirming", "Approved", "Issued", "Installing", "Installed", "FabricReady", "Converged"];
        let steps: Vec<Step> = road.iter().filter_map(|s| Step::reached(s)).collect();
        assert_eq!(steps.len(), road.len());
        assert!(steps.is_sorted());
        for state in ["Discovered", "Failed", "Denied", "Expired", "Revoked", ""] {
            assert_eq!(Step::reached(state), None, "{state}");
        }
        assert!(is_lost("Failed") && !is_lost("Converged") && !is_lost(""));
    }
}
