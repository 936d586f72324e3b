//! The messages about convergence: what the seed allows a node to run, and how the node reports.
//!
//! `POST /api/v1/agent/<enrollment>/converge` on the control plane: an [`Ask`] sealed by the node key, answered by an [`Answer`].
//! `GET /payload/<digest>` on the control plane: the archive.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::platform::Authority;
use crate::agent::GateCheck;
use crate::ids::{Digest, EnrollmentId, Hostname};
use crate::seal::{Sealable, Sealed};
use crate::secret::{AgeKey, Secret, SecretError, seal_to};

/// Seconds between two messages of a node that has nothing to do, while it waits, and while it runs.
pub const POLL_IDLE: u64 = 30;
pub const POLL_WAITING: u64 = 5;
pub const POLL_RUNNING: u64 = 5;
/// Seconds without a message after which a node counts as silent.
pub const SILENT: u64 = 150;
/// Most checks in one message, and longest text of each field in characters.
pub const MAX_CHECKS: usize = 64;
pub const MAX_TEXT: usize = 2_000;
/// Most names of changes that a check run reports.
pub const MAX_WOULD: usize = 200;

/// A node as the plays see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    pub name: Hostname,
    /// Address per plane.
    pub planes: BTreeMap<String, Ipv4Addr>,
    /// Address on the boot network, as last seen.
    pub underlay: Option<Ipv4Addr>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunMode {
    #[default]
    Apply,
    /// Ansible's check mode: reports what would change.
    Check,
}

/// What a node has to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Run {
    /// Digest over everything below but `attempt` and `mode`.
    pub revision: Digest,
    /// Increases when an operator asks for another run of the same revision.
    pub attempt: u64,
    #[serde(default)]
    pub mode: RunMode,
    pub payload: Digest,
    /// Size of the archive in bytes.
    pub payload_size: u64,
    pub role: String,
    pub plays: Vec<String>,
    pub vars: BTreeMap<String, Value>,
    /// Live nodes by role, those that the role's plays may refer to; also by the names of platform plays.
    pub groups: BTreeMap<String, Vec<Member>>,
}

/// A condition for the next step, and whether it is met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Barrier {
    /// For example `etcd`, `count`, `paused`.
    pub name: String,
    pub open: bool,
    /// A phrase that needs no name before it, for example `etcd: 2 of 3 healthy`.
    pub detail: String,
}

/// What one node may do, signed by the site key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Orders {
    pub enrollment: EnrollmentId,
    pub epoch: u64,
    /// Increases with every change for this node within an epoch; nodes refuse older ones.
    pub serial: u64,
    /// What the node waits for; empty if it waits for nothing.
    pub barriers: Vec<Barrier>,
    /// `None` while the node has to wait and has never been allowed to run.
    pub run: Option<Run>,
}

impl Sealable for Orders {
    const PURPOSE: &'static str = "orders";
}

impl Orders {
    /// Whether these may replace `held` of the same node.
    pub fn supersedes(&self, held: &Orders) -> bool {
        self.enrollment == held.enrollment && (self.epoch, self.serial) > (held.epoch, held.serial)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunResult {
    Running,
    Ok,
    Failed,
}

/// The newest run of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunReport {
    pub revision: Digest,
    pub attempt: u64,
    #[serde(default)]
    pub mode: RunMode,
    pub result: RunResult,
    /// The play and the task that runs, or that failed.
    pub play: String,
    pub task: String,
    /// Tasks so far.
    pub ok: u32,
    pub changed: u32,
    /// Why it failed.
    pub why: String,
    pub seconds: u64,
    /// Bytes of payload that were fetched for it.
    pub fetched: u64,
    /// In check mode: the tasks that would change something.
    #[serde(default)]
    pub would: Vec<String>,
}

/// The certificates that a node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBundle {
    /// [`Bundle::id`].
    pub id: Digest,
    /// [`Bundle::issued`].
    pub issued: u64,
}

/// A node's SSH host key, and the certificate of it that the node holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshHost {
    /// ed25519, as in authorized_keys (sshd(8)), without a comment.
    pub key: String,
    #[serde(default)]
    pub held: Option<HeldBundle>,
}

/// A certificate of a node's SSH host key. Public, and worth nothing with another key or under another authority: it needs no
/// signature of the site besides its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshCertificate {
    pub held: HeldBundle,
    /// One line, as in `ssh_host_ed25519_key-cert.pub`.
    pub certificate: String,
}

/// A node's message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ask {
    pub enrollment: EnrollmentId,
    /// Increases with every message of this kind, also across a restart.
    pub seq: u64,
    /// Epoch and serial number of the orders that it holds; 0 if it has none.
    pub epoch: u64,
    pub serial: u64,
    pub run: Option<RunReport>,
    /// Checks of the services of its plays, after the first run.
    pub checks: Vec<GateCheck>,
    pub bundle: Option<HeldBundle>,
    /// age recipient to which certificates are to be encrypted. A fresh one per message.
    pub recipient: String,
    /// Absent if the node has no host key, runs an agent of an earlier version, or does not know yet whether the seed understands it
    /// ([`crate::agent::knows::ASK_SSH`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshHost>,
}

impl Sealable for Ask {
    const PURPOSE: &'static str = "converge";
}

/// The seed's answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// Unless the node holds the same.
    pub orders: Option<Sealed<Orders>>,
    /// Certificates, where the node has none, other ones or old ones.
    pub certificates: Option<Sealed<IssuedBundle>>,
    /// Seconds until the next message.
    pub poll: u64,
    /// A certificate of the SSH host key, where the node has none, another one or an old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshCertificate>,
    /// What this seed understands beyond 0.1; see [`crate::agent::knows`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub knows: Vec<String>,
}

/// One certificate with its key, in PEM. Not `Debug`: it is secret.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    pub authority: Authority,
    pub name: String,
    pub certificate: String,
    pub key: String,
}

impl Drop for Leaf {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.key);
    }
}

/// Certificates of one node.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// Names what the certificates say: authorities, names, addresses. Equal ids need no new bundle until they are old.
    pub id: Digest,
    /// Unix seconds by the seed's clock.
    pub issued: u64,
    /// The certificates of the authorities, in PEM.
    pub authorities: BTreeMap<Authority, String>,
    pub leaves: Vec<Leaf>,
}

impl Bundle {
    /// Encrypted to an age recipient.
    ///
    /// # Errors
    /// If the recipient is not one.
    pub fn seal_to(&self, recipient: &str) -> Result<Vec<u8>, SecretError> {
        let plain = Secret::new(serde_json::to_vec(self).unwrap_or_default());
        seal_to(recipient, plain.expose())
    }
}

/// A [`Bundle`] for one node, signed by the site key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuedBundle {
    pub enrollment: EnrollmentId,
    /// age ciphertext in base64.
    pub ciphertext: String,
}

impl Sealable for IssuedBundle {
    const PURPOSE: &'static str = "certificates";
}

/// Why certificates cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error("the certificates are not base64")]
    Encoding,
    #[error("opening the certificates")]
    Secret(#[from] SecretError),
    #[error("reading the certificates")]
    Json(#[from] serde_json::Error),
}

impl IssuedBundle {
    pub fn open(&self, key: &AgeKey) -> Result<Bundle, BundleError> {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD.decode(&self.ciphertext).map_err(|_| BundleError::Encoding)?;
        Ok(serde_json::from_slice(key.open(&bytes)?.expose())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ask_of_a_later_version_is_read_and_orders_of_a_later_version_are_not() {
        let held = r#"{"id":"HASH","issued":1,"later":1}"#.replace("HASH", &"00".repeat(32));
        let check = r#"{"name":"n","ok":true,"detail":"","later":1}"#;
        let ask = format!(
            r#"{{"enrollment":"{}","seq":1,"epoch":1,"serial":1,"run":null,"checks":[{check}],"bundle":{held},"recipient":"age1","later":{{}}}}"#,
            EnrollmentId([1; 16])
        );
        let ask: Ask = serde_json::from_str(&ask).unwrap();
        assert!(ask.ssh.is_none() && ask.checks.len() == 1 && ask.bundle.is_some());
        let mut text = serde_json::to_value(orders(1, 1)).unwrap();
        assert!(serde_json::from_value::<Orders>(text.clone()).is_ok());
        text["later"] = 1.into();
        assert!(serde_json::from_value::<Orders>(text).is_err());
    }

    fn orders(epoch: u64, serial: u64) -> Orders {
        Orders { enrollment: EnrollmentId([1; 16]), epoch, serial, barriers: Vec::new(), run: None }
    }

    #[test]
    fn only_later_orders_for_the_same_node_replace_earlier_ones() {
        assert!(orders(1, 2).supersedes(&orders(1, 1)) && orders(2, 1).supersedes(&orders(1, 9)));
        assert!(!orders(1, 1).supersedes(&orders(1, 1)) && !orders(1, 9).supersedes(&orders(2, 1)));
        let other = Orders { enrollment: EnrollmentId([2; 16]), ..orders(9, 9) };
        assert!(!other.supersedes(&orders(1, 1)));
    }

    #[test]
    fn certificates_open_only_with_the_key_of_the_message() {
        let (node, other) = (AgeKey::generate(), AgeKey::generate());
        let leaf = Leaf { authority: Authority::Etcd, name: "peer".into(), certificate: "c".into(), key: "k".into() };
        let bundle = Bundle { id: Digest([3; 32]), issued: 7, authorities: BTreeMap::new(), leaves: vec![leaf] };
        use base64::Engine as _;
        let ciphertext = base64::engine::general_purpose::STANDARD.encode(bundle.seal_to(&node.recipient()).unwrap());
        let issued = IssuedBundle { enrollment: EnrollmentId([1; 16]), ciphertext };
        let opened = issued.open(&node).unwrap();
        assert_eq!((opened.id, opened.issued, opened.leaves[0].key.as_str()), (bundle.id, 7, "k"));
        assert!(issued.open(&other).is_err());
        assert!(bundle.seal_to("age1nonsense").is_err());
    }
}
