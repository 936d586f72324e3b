//! Names of settings in the database.

pub const SNAPSHOT: &str = "snapshot";
pub const NETBOOT: &str = "netboot";
/// Id of the extras in use.
pub const EXTRAS: &str = "extras";
/// Followed by the role's name.
pub const ARTIFACT: &str = "artifact:";
pub const PEERS: &str = "peers";
pub const EPOCH: &str = "epoch";
/// The site's signature of the epoch.
pub const EPOCH_PROOF: &str = "epoch-proof";
/// Followed by the id of a snapshot or of extras that another site made: that site's key.
pub const MAKER: &str = "maker:";
/// Id of the medium adopted last.
pub const MEDIUM: &str = "medium";
/// Prefix of settings of this installation only; they are not part of a capsule.
pub const LOCAL: &str = "local:";
/// The seed's mode; see [`crate::mode`].
pub const MODE: &str = "local:mode";
/// Id of the capsule imported last, and the number of its newest event.
pub const IMPORTED: &str = "local:imported";
pub const IMPORTED_EVENT: &str = "local:imported-event";

/// True if a setting belongs to this installation, not to the site.
pub fn is_local(key: &str) -> bool {
    key.starts_with(LOCAL) || key == MEDIUM
}
