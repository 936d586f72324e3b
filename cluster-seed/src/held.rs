//! A node's report of the peer list that it has acted on, and the answer: how a revocation reaches nodes, and how the seed learns
//! that it did.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{Digest, EnrollmentId, Hostname};
use crate::peers::PeersFile;
use crate::seal::{Sealable, Sealed};
use crate::wireguard::WgPublicKey;

/// Seconds between two of these messages of a running node (`kubedos-peers.timer`).
pub const PERIOD: u64 = 30;
/// Seconds after a change of the list until a node that did not report it is shown as late: one period and some slack.
pub const LATE: u64 = 45;
/// Seconds without a message after which a running node counts as silent: four periods, and some slack for a slow round.
pub const SILENT: u64 = 4 * PERIOD + 30;
/// Largest request body with a list, in bytes: a list of [`crate::seal::MAX_PAYLOAD`], escaped.
pub const MAX_LIST: usize = 32 << 20;
/// Most names in one message, and most characters of a reason.
pub const MAX_REFUSED: usize = 16;
pub const MAX_WHY: usize = 300;

/// `POST /api/v1/agent/<enrollment>/held`, sealed by the node key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    pub enrollment: EnrollmentId,
    /// Increases with every message of this kind, also across a restart: old messages are refused.
    pub seq: u64,
    /// Of the list that the node's interfaces and firewall have, which may be older than the stored one. Epoch and version 0: they have
    /// none yet. Agents of earlier versions say what they stored.
    pub epoch: u64,
    pub version: u64,
    /// [`Sealed::digest`] of that list: detects two lists with the same version.
    pub digest: Digest,
    /// New keys of planes for which the list asks ([`crate::rotation`]). Only a seed that asked gets the field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub next: BTreeMap<String, NextKey>,
    /// What the node refused because the offline key did not sign it. Left out if there is nothing: earlier seeds know no such key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

/// The key that will replace a node's key of a plane; the private half stays on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NextKey {
    /// As in the request.
    pub serial: u64,
    pub key: WgPublicKey,
}

/// See [`Held::refused`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// Why the seed's list was refused as a whole; empty if only entries of it were.
    pub why: String,
    /// The first [`MAX_REFUSED`] nodes whose entries were refused, and how many more.
    pub names: Vec<Hostname>,
    pub more: u64,
}

impl Refused {
    pub fn entries(names: &[Hostname]) -> Option<Self> {
        let more = names.len().saturating_sub(MAX_REFUSED) as u64;
        let names: Vec<Hostname> = names.iter().take(MAX_REFUSED).cloned().collect();
        (!names.is_empty()).then_some(Refused { why: String::new(), names, more })
    }

    pub fn list(why: &str) -> Self {
        Refused { why: why.chars().take(MAX_WHY).collect(), names: Vec::new(), more: 0 }
    }
}

impl Sealable for Held {
    const PURPOSE: &'static str = "held";
}

/// The answer to [`Held`], and to `POST /api/v1/agent/<enrollment>/list`, whose body is the node's list as the site signed
/// it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HeldReply {
    /// The seed's list, unless the node holds the same one.
    pub peers: Option<Sealed<PeersFile>>,
    /// The seed does not know the node's list and asks for it.
    #[serde(default)]
    pub send: bool,
    /// The certificates that the site's packages are signed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apt: Option<Sealed<AptKeys>>,
}

/// The certificates with which nodes verify packages from the seed. Nodes store the newest statement; it replaces the keyring
/// of their identity, so that a changed release key reaches them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AptKeys {
    pub epoch: u64,
    /// Increases with every change.
    pub serial: u64,
    /// OpenPGP certificates, binary, in base64.
    pub keyring: String,
}

impl AptKeys {
    /// Later ones replace earlier ones; a seed that was replaced by another signs with a lower epoch.
    pub fn is_newer(&self, than: &AptKeys) -> bool {
        (self.epoch, self.serial) > (than.epoch, than.serial)
    }
}

impl Sealable for AptKeys {
    const PURPOSE: &'static str = "apt-keys";
}
