//! IPMI through ipmitool. The password goes by its environment: a command line can be read by everybody.

use std::time::Duration;

use anyhow::{Result, anyhow};
use host::tool::{Tool, ToolError};
use site::hint::{self, Hint as _};
use web::api::{IpmiPrivilege, PowerAction};
use zeroize::Zeroizing;

use super::controller::Controller;

const LIMIT: Duration = Duration::from_secs(30);
/// Looks at the power state after a change, and the pause between them.
const LOOKS: usize = 5;
const PAUSE: Duration = Duration::from_secs(1);
/// Keeps the boot flags until the next start: without it controllers drop them after 60 s (IPMI 2.0, 28.12 and 28.13,
/// parameter 3: bit 3 is "do not clear on timeout").
const KEEP_FLAGS: [&str; 5] = ["raw", "0x00", "0x08", "0x03", "0x08"];

/// What to ask ipmitool; `None` for what IPMI does not know.
fn words(action: PowerAction, uefi: bool) -> Option<&'static [&'static str]> {
    Some(match action {
        PowerAction::Status => &["chassis", "power", "status"],
        PowerAction::On => &["chassis", "power", "on"],
        PowerAction::Off => &["chassis", "power", "off"],
        PowerAction::Cycle => &["chassis", "power", "cycle"],
        PowerAction::NextBootPxe if uefi => &["chassis", "bootdev", "pxe", "options=efiboot"],
        PowerAction::NextBootPxe => &["chassis", "bootdev", "pxe"],
        PowerAction::InsertMedia | PowerAction::EjectMedia | PowerAction::Wake => return None,
    })
}

/// A program that speaks IPMI to one controller.
pub struct Ipmi<'c> {
    /// `ipmitool`, except in tests.
    pub program: &'c str,
    pub controller: &'c Controller,
    password: Zeroizing<String>,
    pub pause: Duration,
}

impl<'c> Ipmi<'c> {
    pub fn new(controller: &'c Controller, password: &[u8]) -> Result<Self> {
        let password = Zeroizing::new(std::str::from_utf8(password)?.to_owned());
        Ok(Ipmi { program: "ipmitool", controller, password, pause: PAUSE })
    }

    /// Carries the action out; what ipmitool printed last, and what was read back where it differs. `uefi`: how the machine
    /// boots.
    pub fn act(&self, action: PowerAction, uefi: bool) -> Result<String> {
        let Some(words) = words(action, uefi) else {
            return Err(anyhow!("IPMI has no virtual drive"))
                .hint("save the controller with --kind redfish if it supports Redfish");
        };
        if action == PowerAction::NextBootPxe {
            return self.next_boot(words, uefi);
        }
        let done = self.run(words);
        let wanted = match action {
            PowerAction::On => "on",
            PowerAction::Off => "off",
            _ => return done.map_err(|e| self.failed(e)),
        };
        // A lost answer is not a failure if the state says otherwise.
        let state = match &done {
            Err(ToolError::Start { .. }) => None,
            _ => self.state(wanted),
        };
        match (done, state) {
            (Ok(said), Some(state)) if state == wanted => Ok(said),
            (Ok(said), Some(state)) => Ok(format!("{said}, which is not confirmed: it still reads {state}")),
            (Ok(said), None) => Ok(format!("{said}, which is not confirmed: the state cannot be read")),
            (Err(_), Some(state)) if state == wanted => Ok(format!("the controller did not confirm it, and it is {state}")),
            (Err(error), _) => Err(self.failed(error)),
        }
    }

    /// Sets the boot device of the next start, and says what the controller made of it.
    fn next_boot(&self, words: &[&str], uefi: bool) -> Result<String> {
        let kept = match self.run(&KEEP_FLAGS) {
            Err(error @ ToolError::Start { .. }) => return Err(self.failed(error)),
            kept => kept.is_ok(),
        };
        let said = self.run(words).map_err(|e| self.failed(e))?;
        let mut remarks = match self.all(&["chassis", "bootparam", "get", "5"]) {
            Ok(text) => remarks(&text, uefi),
            Err(_) => vec!["it cannot be read back".to_owned()],
        };
        if !kept {
            remarks.push("the controller may forget it after 60 s: restart the machine now".to_owned());
        }
        Ok(if remarks.is_empty() { said } else { format!("{said}; {}", remarks.join("; ")) })
    }

    /// The power state once it is `wanted`, or the last one; `None` where it cannot be read.
    fn state(&self, wanted: &str) -> Option<String> {
        let mut last = None;
        for look in 0..LOOKS {
            if look > 0 {
                std::thread::sleep(self.pause);
            }
            let said = self.run(&["chassis", "power", "status"]).ok()?;
            last = said.rsplit(' ').next().map(str::to_lowercase);
            if last.as_deref() == Some(wanted) {
                break;
            }
        }
        last
    }

    /// The last line that it prints.
    fn run(&self, words: &[&str]) -> Result<String, ToolError> {
        self.all(words).map(|text| said(&text))
    }

    fn all(&self, words: &[&str]) -> Result<String, ToolError> {
        let c = self.controller;
        let (host, port) = (c.host.to_string(), c.port.to_string());
        // Two tries of three seconds: a controller that is there answers within one.
        let base = ["-I", "lanplus", "-H", &host, "-p", &port, "-U", &c.user, "-E", "-N", "3", "-R", "2"];
        let mut tool = Tool::new(self.program).args(base);
        if let Some(suite) = c.cipher_suite {
            tool = tool.args(["-C", &suite.to_string()]);
        }
        if let Some(privilege) = c.privilege {
            tool = tool.args(["-L", level(privilege)]);
        }
        let tool = tool.args(words.iter().copied());
        tool.env("IPMI_PASSWORD", self.password.as_str()).timeout(LIMIT).run().map(|out| out.text())
    }

    fn failed(&self, error: ToolError) -> anyhow::Error {
        match error {
            ToolError::Start { .. } => {
                hint::with(anyhow!("ipmitool is not installed on the seed"), "install the package ipmitool, or use Redfish")
            }
            ToolError::Failed { stderr, .. } => hint::with(anyhow!("ipmitool failed: {}", said(&stderr)), advice(&stderr)),
            ToolError::TimedOut { seconds, .. } => hint::with(
                anyhow!("the controller did not finish within {seconds} s"),
                "`seedd power status` shows whether it did it",
            ),
            e => e.into(),
        }
    }
}

/// As ipmitool names it.
fn level(privilege: IpmiPrivilege) -> &'static str {
    match privilege {
        IpmiPrivilege::User => "USER",
        IpmiPrivilege::Operator => "OPERATOR",
        IpmiPrivilege::Administrator => "ADMINISTRATOR",
    }
}

/// What to try, by what ipmitool printed.
fn advice(stderr: &str) -> &'static str {
    let text = stderr.to_lowercase();
    if text.contains("cipher suite") || text.contains("no matching") {
        "save the controller with another --cipher-suite: 17 on newer controllers, 3 on older ones"
    } else if text.contains("privilege") || text.contains("invalid role") {
        "save the controller with a --privilege that its user has, for example operator"
    } else {
        "check the user, the password and the address, and that IPMI over LAN is enabled on the controller; some need \
         --cipher-suite 3 or 17, or --privilege operator"
    }
}

/// What `chassis bootparam get 5` says against what was asked for (IPMI 2.0, table 28-14).
fn remarks(text: &str, uefi: bool) -> Vec<String> {
    let mut found = Vec::new();
    let has = |words: &str| text.to_lowercase().contains(&words.to_lowercase());
    // The rest means nothing then.
    if has("Boot Flag Invalid") {
        return vec!["the controller shows it as not valid".to_owned()];
    }
    if has("all future boots") {
        found.push("the controller keeps it for all later starts as well: change it back afterwards".to_owned());
    }
    if uefi && has("PC Compatible") {
        found.push("the controller dropped UEFI: the next start is in the mode Legacy".to_owned());
    }
    if has("Boot Device Selector") && !has("Force PXE") {
        found.push("the controller shows another boot device".to_owned());
    }
    found
}

/// The last line, bounded and printable.
fn said(text: &str) -> String {
    let line = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("(no output)");
    line.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

#[cfg(test)]
#[path = "tool_tests.rs"]
mod tests;
