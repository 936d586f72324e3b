//! What can go wrong between this machine and a host.

use host::files::FileError;
use host::tool::ToolError;

#[derive(Debug, thiserror::Error)]
pub enum SshError {
    #[error("the key of host {host} is not known yet")]
    NotPinned { host: String },
    #[error("host {host} has another key than the pinned one ({pinned}); it now shows {shown}")]
    KeyChanged { host: String, pinned: String, shown: String },
    #[error("host {host} refused the login of {user}: {stderr}")]
    Denied { host: String, user: String, stderr: String },
    #[error("cannot connect to host {host}: {stderr}")]
    Connect { host: String, stderr: String },
    #[error("the connection to host {host} was lost during: {during}: {stderr}")]
    Lost { host: String, during: String, stderr: String },
    #[error("{command} on host {host} failed with status {status}: {stderr}")]
    Command { host: String, command: String, status: i32, stderr: String },
    #[error("stopped on request")]
    Cancelled,
    #[error("running {program} for host {host}")]
    Tool {
        host: String,
        program: &'static str,
        #[source]
        source: Box<ToolError>,
    },
    #[error("reading the pinned host keys")]
    Pins(#[source] FileError),
    #[error("{host}: {why}")]
    Other { host: String, why: String },
}

impl SshError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            SshError::NotPinned { .. } => "compare its fingerprint with the one on the host's console, and confirm it",
            SshError::KeyChanged { .. } => {
                "if the host was reinstalled, remove its lines from the file of pinned keys; otherwise it may be an attack"
            }
            SshError::Denied { .. } => "load the key into the SSH agent, or name it with --identity FILE",
            SshError::Connect { .. } => "check address and port in substrate.hosts, and that SSH answers there",
            SshError::Lost { .. } | SshError::Cancelled => "run it again: it continues where it was interrupted",
            SshError::Command { stderr, .. } => command_hint(stderr),
            SshError::Tool { .. } => "apt install openssh-client",
            SshError::Pins(e) => e.hint(),
            SshError::Other { .. } => "",
        }
    }
}

/// Only a hint depends on these texts of Proxmox VE.
fn command_hint(stderr: &str) -> &'static str {
    let lower = stderr.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| lower.contains(w));
    if has(&["no space left", "out of space", "not enough free space", "insufficient free space", "disk quota exceeded"]) {
        "the storage is full: free some space, or choose another storage"
    } else if has(&["is locked", "can't lock file", "got lock timeout"]) {
        "another task works on the machine: wait for it; after a crash of the host: qm unlock VMID"
    } else if has(&["sudo:", "please run as root", "permission denied"]) {
        "log in as root, or allow the user sudo without a password"
    } else if has(&["protection mode"]) {
        "the machine is protected against removal: qm set VMID --protection 0"
    } else if has(&["not found"]) {
        "check that this is a Proxmox VE host"
    } else {
        "the task log of the host has details"
    }
}

/// The end of an error's text, on one line.
pub(super) fn last_lines(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let text = lines[lines.len().saturating_sub(4)..].join("; ");
    let plain: String = text.chars().filter(|c| !c.is_control()).take(400).collect();
    if plain.is_empty() { "(no output)".to_owned() } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_follow_the_cause() {
        for (stderr, word) in [
            ("unable to create image: out of space", "full"),
            ("VM is locked (backup)", "another task"),
            ("sudo: a password is required", "sudo"),
            ("sh: qm: not found", "Proxmox VE host"),
            ("something else", "task log"),
        ] {
            assert!(command_hint(stderr).contains(word), "{stderr}");
        }
    }
}
