//! The context of a step, and its result.

use camino::Utf8Path;
use cluster_seed::identity::IdentityInfo;
use cluster_seed::peers::PeersFile;
use host::files::FileError;
use host::tool::ToolError;

use super::command::Command;

#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A value that would change the meaning of the file it is written to.
    #[error("{what} {value:?} is refused: {why}")]
    Refused { what: &'static str, value: String, why: &'static str },
}

impl BaseError {
    pub(super) fn refused(what: &'static str, value: &str, why: &'static str) -> Self {
        BaseError::Refused { what, value: value.chars().take(80).collect(), why }
    }
}

/// Result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    None,
    Made,
}

impl Change {
    pub(super) fn made_if(changed: bool) -> Self {
        if changed { Change::Made } else { Change::None }
    }
}

/// The base role of one node.
pub struct Base<'a> {
    /// `/`
    pub root: &'a Utf8Path,
    pub info: &'a IdentityInfo,
    pub peers: &'a PeersFile,
    /// Runs a program: [`Command::run`].
    pub run: &'a dyn Fn(&Command) -> Result<(), ToolError>,
    pub(super) stale: Stale,
}

/// Written but not loaded yet; kept for the next attempt if loading fails.
#[derive(Debug, Default)]
pub(super) struct Stale {
    pub ssh: bool,
    pub firewall: bool,
}

impl<'a> Base<'a> {
    pub fn new(
        root: &'a Utf8Path,
        info: &'a IdentityInfo,
        peers: &'a PeersFile,
        run: &'a dyn Fn(&Command) -> Result<(), ToolError>,
    ) -> Self {
        Base { root, info, peers, run, stale: Stale::default() }
    }
}
