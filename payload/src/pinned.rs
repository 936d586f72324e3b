//! What a node keeps of countersigning: the offline key that it has seen, for good, and which entries of its lists do not count.

use camino::Utf8Path;
use cluster_seed::countersign::judge::{CountersignError, Known, Pin, follow, raise, refused, without};
use cluster_seed::countersign::statement::fingerprint;
use cluster_seed::identity::NodeIdentity;
use cluster_seed::ids::{Digest, Hostname};
use cluster_seed::peers::PeersFile;
use cluster_seed::seal::{Sealed, VerifyingKey};
use host::files::{FileError, PRIVATE, read_limited, write_atomic};
use serde::{Deserialize, Serialize};

/// Below the node's directory. Only root's hand removes it.
const FILE: &str = "countersign.json";
/// Largest file read, in bytes.
const MAX_FILE: u64 = 32 << 20;

/// Why the file cannot be used. Nothing is trusted then.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("countersign.json cannot be read")]
    Json(#[from] serde_json::Error),
    #[error("the list was refused")]
    Refused(#[from] CountersignError),
}

/// The file. Empty on a node whose site has no countersigning key.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    pin: Option<Pin>,
    /// Of the list before and of the newest one, so that either is there after a power cut between two files.
    judged: Vec<Judged>,
}

/// The verdict about one list: verifying thousands of signatures at every start of a program would take seconds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Judged {
    list: Digest,
    refused: Vec<Hostname>,
}

/// A list, opened, and as the site signed it.
pub type Listed<'a> = (&'a PeersFile, &'a Sealed<PeersFile>);

impl Kept {
    /// # Errors
    /// If there is a file that cannot be read: its key is not given up for that.
    pub fn read(dir: &Utf8Path) -> Result<Self, PinError> {
        let path = dir.join(FILE);
        if !path.exists() {
            return Ok(Kept::default());
        }
        Ok(serde_json::from_slice(&read_limited(&path, MAX_FILE)?)?)
    }

    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, dir: &Utf8Path) -> Result<(), PinError> {
        if self.pin.is_none() {
            return Ok(());
        }
        Ok(write_atomic(&dir.join(FILE), &serde_json::to_vec(self)?, PRIVATE)?)
    }

    /// The key, from the file or, on a node that has stored no list yet, from the list of its identity.
    fn pin(&self, site: &VerifyingKey, first: &PeersFile) -> Option<Pin> {
        self.pin.clone().or_else(|| follow(None, site, first).ok().flatten())
    }

    /// The names of a stored list whose entries do not count.
    pub fn refused(
        &self,
        identity: &NodeIdentity,
        site: &VerifyingKey,
        first: &PeersFile,
        (list, sealed): Listed<'_>,
    ) -> Vec<Hostname> {
        let digest = sealed.digest();
        if let Some(known) = self.judged.iter().find(|j| j.list == digest) {
            return known.refused.clone();
        }
        refused(self.pin(site, first).as_ref(), &Known::of(&identity.info, site), list)
    }

    /// The file after `offered` takes the place of `held`, and the names of `offered` whose entries do not count.
    ///
    /// # Errors
    /// If the list is refused as a whole.
    pub fn then(
        &self,
        identity: &NodeIdentity,
        site: &VerifyingKey,
        first: &PeersFile,
        held: Listed<'_>,
        offered: Listed<'_>,
    ) -> Result<(Kept, Vec<Hostname>), PinError> {
        let Some(mut pin) = follow(self.pin(site, first).as_ref(), site, offered.0)? else {
            return Ok((Kept::default(), Vec::new()));
        };
        let before = self.refused(identity, site, first, held);
        let names = refused(Some(&pin), &Known::of(&identity.info, site), offered.0);
        raise(&mut pin, &without(held.0.clone(), &before), offered.0, &names);
        let judged =
            vec![Judged { list: held.1.digest(), refused: before }, Judged { list: offered.1.digest(), refused: names.clone() }];
        Ok((Kept { pin: Some(pin), judged }, names))
    }
}

/// The fingerprint of this node, while it waits for its countersignature: the list is countersigned and does not have it.
pub fn waiting(identity: &NodeIdentity, peers: &PeersFile) -> Option<String> {
    let info = &identity.info;
    let needed = peers.countersign.as_ref().is_some_and(|c| c.key.is_some());
    let keys = identity.keys.iter().map(|(plane, key)| (plane.clone(), key.public())).collect();
    let waits = needed && !peers.nodes.contains_key(&info.hostname);
    waits.then(|| fingerprint(&info.site_key, &info.hostname, &info.role, &keys))
}

#[cfg(test)]
#[path = "pinned_tests.rs"]
mod tests;
