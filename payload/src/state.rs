//! The node's files: identity, node key, peer list, report numbers. Mode 0600, each replaced atomically.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::countersign::judge::without;
use cluster_seed::held::{AptKeys, NextKey};
use cluster_seed::identity::{IdentityError, MAX_IDENTITY, NodeIdentity};
use cluster_seed::ids::Hostname;
use cluster_seed::peers::{Order, PeersFile};
use cluster_seed::seal::{SealError, Sealed, SigningKey, VerifyingKey, key_from_text};
use cluster_seed::secret::Secret;
use host::files::{FileError, PRIVATE, read_limited, write_atomic};
use zeroize::Zeroizing;

use crate::epoch;
use crate::layout::GRUB_USER;
use crate::node_keys::{self, NodeKeyError};
use crate::pinned::{Kept, PinError};

/// First report number of the installed system; those of the RAM agent are lower.
pub const DISK_SEQ: u64 = 1_000_000;

const IDENTITY: &str = "identity.json";
const NODE_KEY: &str = "node.key";
const PEERS: &str = "peers.json";
/// The site's newest statement of its release certificates; see [`AptKeys`].
const APT_KEYS: &str = "apt-keys.json";
const SEQ: &str = "report.seq";
/// Message numbers for the peer list, separate from report numbers: another process sends them.
const HELD_SEQ: &str = "held.seq";
/// The same for messages about convergence.
const CONVERGE_SEQ: &str = "converge.seq";
/// Largest peers.json read, in bytes.
const MAX_PEERS: u64 = 32 << 20;
/// Largest apt-keys.json read, in bytes.
const MAX_APT_KEYS: u64 = 256 << 10;
/// Report numbers reserved by one write, so that not every report needs a write.
const RESERVE: u64 = 256;

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the identity is invalid")]
    Identity(#[from] IdentityError),
    #[error("{0} is not a key of 64 hex digits")]
    Key(Utf8PathBuf),
    #[error("the node's own keys of planes")]
    NodeKeys(#[from] NodeKeyError),
    #[error("the peer list is not signed by this site")]
    Seal(#[from] SealError),
    #[error("the seed's APT keys are {0}")]
    AptKeys(&'static str),
    #[error("peers.json cannot be read")]
    Json(#[from] serde_json::Error),
    #[error("the offered peer list is of epoch {epoch}, but this site has reached epoch {seen}: another seed was promoted")]
    OldEpoch { epoch: u64, seen: u64 },
    #[error(
        "the offered peer list (epoch {epoch}, version {version}) is older than the stored one ({held_epoch}, {held_version})"
    )]
    OldPeers { epoch: u64, version: u64, held_epoch: u64, held_version: u64 },
    #[error(
        "the offered peer list differs from the stored one, but both are version {version} of epoch {epoch}: two seeds are signing for this site"
    )]
    Fork { epoch: u64, version: u64 },
    #[error("the peer list is not countersigned as it has to be")]
    Countersign(#[from] PinError),
}

/// A file to write to the state partition before the first boot.
pub struct StateFile {
    pub name: &'static str,
    pub bytes: Secret,
}

/// The files that a new node starts with.
pub fn state_files(identity: &NodeIdentity, node_key: &SigningKey) -> Result<Vec<StateFile>, StateError> {
    let key = hex::encode(node_key.to_bytes()).into_bytes();
    let grub =
        identity.info.grub.as_ref().map(|hash| StateFile { name: GRUB_USER, bytes: Secret::new(hash.config().into_bytes()) });
    let own = [StateFile { name: NODE_KEY, bytes: Secret::new(key) }, StateFile { name: IDENTITY, bytes: identity.to_secret()? }];
    Ok(own.into_iter().chain(grub).collect())
}

/// Writes the files into a directory, readable by root alone.
pub fn write_state_files(dir: &Utf8Path, files: &[StateFile]) -> Result<(), StateError> {
    files.iter().try_for_each(|file| write_atomic(&dir.join(file.name), file.bytes.expose(), PRIVATE).map_err(StateError::from))
}

/// The directory with the node's files.
#[derive(Debug, Clone)]
pub struct NodeDir {
    dir: Utf8PathBuf,
}

impl NodeDir {
    pub fn new(dir: &Utf8Path) -> Self {
        NodeDir { dir: dir.to_owned() }
    }

    /// The identity, with the site's newest release certificates, and the keys of planes that are in force.
    pub fn identity(&self) -> Result<NodeIdentity, StateError> {
        let bytes = read_limited(&self.dir.join(IDENTITY), MAX_IDENTITY as u64)?;
        let mut identity = NodeIdentity::from_secret(&Secret::new(bytes))?;
        let site = key_from_text(&identity.info.site_key)?;
        if let Some(keys) = self.apt_keys(&identity, &site) {
            identity.info.darksite.keyring = keys.keyring;
        }
        if node_keys::any(&self.dir) {
            let list = self.peers(&identity)?;
            node_keys::in_force(&self.dir, &mut identity, &list)?;
        }
        Ok(identity)
    }

    /// The new keys of planes that this list asks this node for.
    pub fn next_keys(&self, identity: &NodeIdentity, list: &PeersFile) -> Result<BTreeMap<String, NextKey>, StateError> {
        Ok(node_keys::answer(&self.dir, identity, list)?)
    }

    /// The newest statement of the site: the stored one, or the identity's own.
    fn apt_keys(&self, identity: &NodeIdentity, site: &VerifyingKey) -> Option<AptKeys> {
        let own = identity.info.apt.as_ref().and_then(|keys| keys.open(site).ok());
        let held = match read_limited(&self.dir.join(APT_KEYS), MAX_APT_KEYS) {
            Ok(bytes) => serde_json::from_slice::<Sealed<AptKeys>>(&bytes).ok().and_then(|keys| keys.open(site).ok()),
            Err(_) => None,
        };
        match (own, held) {
            (Some(own), Some(held)) => Some(if held.is_newer(&own) { held } else { own }),
            (own, held) => held.or(own),
        }
    }

    /// Verifies release certificates from the network and stores them, if they are newer than the stored ones. They are in force
    /// when the base role is applied next.
    pub fn accept_apt_keys(&self, identity: &NodeIdentity, sealed: &Sealed<AptKeys>) -> Result<bool, StateError> {
        let site = key_from_text(&identity.info.site_key)?;
        let offered = sealed.open(&site)?;
        if self.apt_keys(identity, &site).is_some_and(|held| !offered.is_newer(&held)) {
            return Ok(false);
        }
        // Checked here, because the base role refuses an identity whose keyring cannot be decoded.
        let good = STANDARD.decode(&offered.keyring).is_ok_and(|bytes| !bytes.is_empty());
        let text = serde_json::to_vec(sealed)?;
        if !good || text.len() as u64 > MAX_APT_KEYS {
            return Err(StateError::AptKeys("not certificates"));
        }
        let seen = epoch::seen(&self.dir, &site).map_or(0, |(epoch, _)| epoch);
        if offered.epoch < seen {
            return Err(StateError::AptKeys("of an earlier epoch"));
        }
        write_atomic(&self.dir.join(APT_KEYS), &text, PRIVATE)?;
        Ok(true)
    }

    pub fn node_key(&self) -> Result<SigningKey, StateError> {
        let path = self.dir.join(NODE_KEY);
        let text = Zeroizing::new(read_limited(&path, 256)?);
        let mut key = Zeroizing::new([0u8; 32]);
        hex::decode_to_slice(text.trim_ascii(), &mut *key).map_err(|_| StateError::Key(path))?;
        Ok(SigningKey::from_bytes(&key))
    }

    /// The newest peer list that was accepted, without entries that do not count: the stored one, or the identity's own.
    pub fn peers(&self, identity: &NodeIdentity) -> Result<PeersFile, StateError> {
        Ok(self.newest(identity)?.0)
    }

    /// The same, and the list with the site's signature.
    pub fn newest(&self, identity: &NodeIdentity) -> Result<(PeersFile, Sealed<PeersFile>), StateError> {
        let site = key_from_text(&identity.info.site_key)?;
        let first = identity.info.peers.open(&site)?;
        let (list, sealed) = self.stored(identity, &site, &first)?;
        let names = Kept::read(&self.dir)?.refused(identity, &site, &first, (&list, &sealed));
        Ok((without(list, &names), sealed))
    }

    /// The nodes of the newest list whose entries do not count, because the site's offline key did not sign them.
    pub fn refused(&self, identity: &NodeIdentity) -> Result<Vec<Hostname>, StateError> {
        let site = key_from_text(&identity.info.site_key)?;
        let first = identity.info.peers.open(&site)?;
        let (list, sealed) = self.stored(identity, &site, &first)?;
        Ok(Kept::read(&self.dir)?.refused(identity, &site, &first, (&list, &sealed)))
    }

    /// The newest list as the site signed it.
    fn stored(
        &self,
        identity: &NodeIdentity,
        site: &VerifyingKey,
        first: &PeersFile,
    ) -> Result<(PeersFile, Sealed<PeersFile>), StateError> {
        match self.held(site) {
            Ok(Some((held, sealed))) if held.order(first) != Order::Older => return Ok((held, sealed)),
            Ok(_) => {}
            Err(e) => tracing::warn!(error = %crate::http::chain(&e), "peers.json ignored"),
        }
        Ok((first.clone(), identity.info.peers.clone()))
    }

    fn held(&self, site: &VerifyingKey) -> Result<Option<(PeersFile, Sealed<PeersFile>)>, StateError> {
        let path = self.dir.join(PEERS);
        if !path.exists() {
            return Ok(None);
        }
        let sealed: Sealed<PeersFile> = serde_json::from_slice(&read_limited(&path, MAX_PEERS)?)?;
        Ok(Some((sealed.open(site)?, sealed)))
    }

    pub fn path(&self) -> &Utf8Path {
        &self.dir
    }

    /// Verifies a list from the network and stores it. True if it differs from the stored one; an older one is refused, and so is
    /// one without the countersigning key that this node has seen. Entries that this key did not sign do not count.
    pub fn accept_peers(&self, identity: &NodeIdentity, sealed: &Sealed<PeersFile>) -> Result<(PeersFile, bool), StateError> {
        let site = key_from_text(&identity.info.site_key)?;
        let offered = sealed.open(&site)?;
        let first = identity.info.peers.open(&site)?;
        let (held, held_sealed) = self.stored(identity, &site, &first)?;
        let seen = epoch::seen(&self.dir, &site).map_or(0, |(epoch, _)| epoch);
        if offered.epoch < seen {
            return Err(StateError::OldEpoch { epoch: offered.epoch, seen });
        }
        match offered.order(&held) {
            Order::Same => Ok((self.peers(identity)?, false)),
            Order::Newer => {
                let kept = Kept::read(&self.dir)?;
                let (next, names) = kept.then(identity, &site, &first, (&held, &held_sealed), (&offered, sealed))?;
                // First: a list that is stored is one that was judged.
                next.write(&self.dir)?;
                write_atomic(&self.dir.join(PEERS), &serde_json::to_vec(sealed)?, PRIVATE)?;
                Ok((without(offered, &names), true))
            }
            Order::Conflict => Err(StateError::Fork { epoch: offered.epoch, version: offered.version }),
            Order::Older => Err(StateError::OldPeers {
                epoch: offered.epoch,
                version: offered.version,
                held_epoch: held.epoch,
                held_version: held.version,
            }),
        }
    }

    /// A number for the next message about the list: higher than all earlier ones, including those of another process.
    pub fn held_number(&self) -> Result<u64, StateError> {
        Sequence { path: self.dir.join(HELD_SEQ), first: 1, next: 0, reserved: 0 }.take()
    }

    /// Numbers for the messages about convergence, which only one process sends.
    pub fn converge_numbers(&self) -> Sequence {
        Sequence { path: self.dir.join(CONVERGE_SEQ), first: 1, next: 0, reserved: 0 }
    }

    /// Report numbers that this directory has not used yet, from `first` upward.
    pub fn sequence(&self, first: u64) -> Sequence {
        Sequence { path: self.dir.join(SEQ), first, next: 0, reserved: 0 }
    }
}

/// Returns increasing numbers; each is recorded on disk as used before it is returned.
#[derive(Debug)]
pub struct Sequence {
    path: Utf8PathBuf,
    first: u64,
    next: u64,
    reserved: u64,
}

impl Sequence {
    pub fn take(&mut self) -> Result<u64, StateError> {
        if self.next == self.reserved {
            let stored = if self.path.exists() { read_limited(&self.path, 64)? } else { Vec::new() };
            let text = String::from_utf8_lossy(&stored);
            self.next = text.trim().parse().unwrap_or(0).max(self.first);
            let end = self.next.saturating_add(RESERVE);
            write_atomic(&self.path, format!("{end}\n").as_bytes(), PRIVATE)?;
            self.reserved = end;
        }
        self.next += 1;
        Ok(self.next - 1)
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
