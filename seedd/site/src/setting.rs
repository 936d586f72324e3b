//! Names of settings in the database.

pub const SNAPSHOT: &str = "snapshot";
pub const NETBOOT: &str = "netboot";
/// Id of the extras in use.
pub const EXTRAS: &str = "extras";
/// Followed by the role's name.
pub const ARTIFACT: &str = "artifact:";
pub const PEERS: &str = "peers";
/// When the list was signed, and which one took a node off last. Of this installation.
pub const PEERS_SIGNED: &str = "local:peers-signed";
/// A newer list than this seed's own was found with a node. Of this installation.
pub const OVERTAKEN: &str = "local:peers-overtaken";
/// A node holds another list under the same number. Of this installation.
pub const FORKED: &str = "local:peers-forked";
/// The key that is kept off the seed, and its signatures; see [`cluster_seed::countersign::state::State`].
pub const COUNTERSIGN: &str = "countersign";
/// The release certificates that nodes verify packages with, signed.
pub const APT_KEYS: &str = "apt-keys";
pub const EPOCH: &str = "epoch";
/// The site's signature of the epoch.
pub const EPOCH_PROOF: &str = "epoch-proof";
/// The public number that an enrollment was given last.
pub const NUMBER: &str = "enrollment.number";
/// Followed by the id of a snapshot or of extras that another site made: that site's key.
pub const MAKER: &str = "maker:";
/// Followed by a machine's MAC address: its power controller, with the password as ciphertext to the vault.
pub const CONTROLLER: &str = "bmc:";
/// The password of GRUB's editor as ciphertext to the vault, and its hash; see [`crate::grub`].
pub const GRUB_PASSWORD: &str = "grub.password";
/// Followed by the number of an event in 19 digits: the signed checkpoint of the log there.
pub const CHECKPOINT: &str = "log.checkpoint.";
/// The event of the checkpoint up to which rows of the log were deleted. A trigger of the database reads it by this name.
pub const LOG_FLOOR: &str = "log.floor";
/// Followed by its id: a join token; see [`crate::tokens`].
pub const TOKEN: &str = "token:";
/// The plan of enrollment, as JSON; and its digest, by which a change is seen. See [`crate::plan`].
pub const PLAN: &str = "enrollment.plan";
pub const PLAN_DIGEST: &str = "enrollment.plan-digest";
/// Until when unknown machines may ask to enroll; see [`crate::window`].
pub const WINDOW: &str = "enrollment.window";
/// Followed by a machine's MAC address: that it was denied, or set aside; see [`crate::verdicts`].
pub const VERDICT: &str = "verdict:";
/// Id of the payload that nodes run.
pub const PAYLOAD: &str = "payload";
/// Followed by the word of an authority: its certificate, and its key as ciphertext to the vault.
pub const PKI: &str = "pki:";
/// What an operator has stopped; see [`cluster_seed::converge::stage::Paused`].
pub const CONVERGE_PAUSED: &str = "converge.paused";
/// Followed by a role: how often an operator asked for another run.
pub const CONVERGE_ATTEMPT: &str = "converge.attempt:";
/// Followed by a role: when a check run was asked for last, in Unix seconds; it numbers the run.
pub const CONVERGE_CHECK: &str = "converge.check:";
/// The newest report of `seedd accept`, signed.
pub const ACCEPT_REPORT: &str = "accept.report";
/// Followed by the enrollment of a node: when its replacement began, in Unix seconds. Of this installation.
pub const REPLACING: &str = "local:replacing:";
/// Id of the medium adopted last.
pub const MEDIUM: &str = "medium";
/// Prefix of settings of this installation only; they are not part of a capsule.
pub const LOCAL: &str = "local:";
/// The seed's mode; see [`crate::mode`].
pub const MODE: &str = "local:mode";
/// Present where this is the copy of a site in a drill.
pub const DRILL: &str = "local:drill";
/// Id of the capsule imported last, and the number of its newest event.
pub const IMPORTED: &str = "local:imported";
pub const IMPORTED_EVENT: &str = "local:imported-event";

/// Followed by the digest of its URL: the number of the last event that a webhook was told.
pub const WEBHOOK: &str = "local:webhook:";
/// The events that webhooks did not take in the end, newest first.
pub const WEBHOOKS_DEAD: &str = "local:webhooks-dead";

/// Id of the change of keys that was committed last; see [`crate::rotate`].
pub const ROTATED: &str = "local:keys-rotated";

/// Settings whose JSON has a `password` that is ciphertext to the vault: names, or beginnings of names that end in a colon.
pub const VAULTED: [&str; 4] = [GRUB_PASSWORD, CONTROLLER, TOKEN, PKI];

/// True if a setting belongs to this installation, not to the site.
pub fn is_local(key: &str) -> bool {
    key.starts_with(LOCAL) || key == MEDIUM
}
