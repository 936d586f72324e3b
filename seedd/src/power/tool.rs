//! IPMI through ipmitool. The password goes by its environment: a command line can be read by everybody.

use std::time::Duration;

use anyhow::{Result, anyhow};
use host::tool::{Tool, ToolError};
use site::hint::Hint as _;
use web::api::PowerAction;
use zeroize::Zeroizing;

use super::controller::Controller;

const LIMIT: Duration = Duration::from_secs(30);

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

/// Carries the action out; returns what ipmitool printed last. `uefi`: how the machine boots.
pub fn act(controller: &Controller, password: &[u8], action: PowerAction, uefi: bool) -> Result<String> {
    let Some(words) = words(action, uefi) else {
        return Err(anyhow!("IPMI has no virtual drive")).hint("save the controller with --kind redfish if it supports Redfish");
    };
    let password = Zeroizing::new(std::str::from_utf8(password)?.to_owned());
    let (host, port) = (controller.host.to_string(), controller.port.to_string());
    // Two tries of three seconds: a controller that is there answers within one.
    let base = ["-I", "lanplus", "-H", &host, "-p", &port, "-U", &controller.user, "-E", "-N", "3", "-R", "2"];
    let tool = Tool::new("ipmitool").args(base).args(words.iter().copied());
    match tool.env("IPMI_PASSWORD", password.as_str()).timeout(LIMIT).run() {
        Ok(out) => Ok(said(&out.text())),
        Err(ToolError::Start { .. }) => {
            Err(anyhow!("ipmitool is not installed on the seed")).hint("install the package ipmitool, or use Redfish")
        }
        Err(ToolError::Failed { stderr, .. }) => Err(anyhow!("ipmitool failed: {}", said(&stderr)))
            .hint("check the user, the password and the address, and that IPMI over LAN is enabled on the controller"),
        Err(e) => Err(e.into()),
    }
}

/// The last line, bounded and printable.
fn said(text: &str) -> String {
    let line = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("(no output)");
    line.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_its_words_or_none() {
        assert_eq!(words(PowerAction::NextBootPxe, true).unwrap().last(), Some(&"options=efiboot"));
        assert_eq!(words(PowerAction::NextBootPxe, false).unwrap().last(), Some(&"pxe"));
        assert!(words(PowerAction::InsertMedia, true).is_none() && words(PowerAction::Wake, true).is_none());
        assert_eq!(said("a\n\nChassis Power is on\n\n"), "Chassis Power is on");
        assert_eq!(said(""), "(no output)");
    }
}
