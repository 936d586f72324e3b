//! Connections to hosts, by the `ssh` of this machine: the operator's agent or a file holds the key, nothing of ours does. Host
//! keys are pinned in a file of our own; one that changed is refused. In reading order:

/// Errors and their hints.
mod error;

/// Pinned host keys.
pub mod pins;

/// One connection: commands and scripts.
mod remote;

/// Images, sent once and resumed.
mod upload;

pub use error::SshError;
pub use remote::{Remote, SshSettings, quoted};
pub use upload::Uploaded;
