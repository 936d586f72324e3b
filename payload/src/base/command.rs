//! Programs run by the base role.

use std::time::Duration;

use host::tool::{Tool, ToolError};

use crate::assets::{FIREWALL, FIREWALL_UNIT};

const LIMIT: Duration = Duration::from_secs(60);
/// For an unreachable package source, apt makes several attempts of half a minute each.
const LISTS_LIMIT: Duration = Duration::from_secs(600);

/// One run of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Reloads the SSH server's settings.
    ReloadSsh,
    /// Loads `/etc/nftables.conf`, in one transaction.
    LoadFirewall,
    /// Fails unless the kernel's rules contain the given elements; the query is an nft script.
    QueryFirewall(String),
    /// Makes systemd load the firewall at boot.
    EnableFirewall,
    /// Fetches the package lists; `strict` fails if any source is unreachable.
    UpdateLists { strict: bool },
}

impl Command {
    /// Program and arguments.
    pub fn argv(&self) -> Vec<&str> {
        match self {
            Command::ReloadSsh => vec!["systemctl", "reload", "ssh.service"],
            Command::LoadFirewall => vec!["nft", "-f", FIREWALL.path],
            Command::QueryFirewall(query) => vec!["nft", query],
            Command::EnableFirewall => vec!["systemctl", "enable", FIREWALL_UNIT],
            Command::UpdateLists { strict: true } => vec!["apt-get", "--error-on=any", "-q", "update"],
            Command::UpdateLists { strict: false } => vec!["apt-get", "-q", "update"],
        }
    }

    /// Runs it and waits for it to exit.
    pub fn run(&self) -> Result<(), ToolError> {
        let limit = if matches!(self, Command::UpdateLists { .. }) { LISTS_LIMIT } else { LIMIT };
        let argv = self.argv();
        let (program, args) = argv.split_first().map_or(("", &[][..]), |(program, args)| (*program, args));
        Tool::new(program).args(args).env("LC_ALL", "C.UTF-8").timeout(limit).run().map(|_| ())
    }
}
