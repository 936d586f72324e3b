//! Keys of planes that this node made itself, to replace those of its identity ([`cluster_seed::rotation`]). The private halves stay on
//! this node. The signed peer list says which key is in force.

use std::collections::BTreeMap;

use camino::Utf8Path;
use cluster_seed::held::NextKey;
use cluster_seed::identity::NodeIdentity;
use cluster_seed::peers::PeersFile;
use cluster_seed::wireguard::{KeyError, WgPrivateKey, WgPublicKey};
use host::files::{FileError, PRIVATE, read_limited, write_atomic};
use host::random::RandomError;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

const FILE: &str = "plane-keys.json";
/// Largest file read, in bytes: two keys for each of 99 planes.
const MAX_FILE: u64 = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum NodeKeyError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{FILE} is damaged")]
    Json(#[from] serde_json::Error),
    #[error("{FILE} has an invalid key")]
    Key(#[from] KeyError),
    #[error("making a key")]
    Random(#[from] RandomError),
}

/// A key and the number of the request that it answers.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Made {
    serial: u64,
    key: String,
}

impl Drop for Made {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Made {
    fn private(&self) -> Result<WgPrivateKey, KeyError> {
        WgPrivateKey::from_text(&self.key)
    }

    fn is(&self, public: &WgPublicKey) -> bool {
        self.private().is_ok_and(|key| key.public() == *public)
    }
}

/// By plane: the key in force, if this node made it, and the next one.
type Keys = BTreeMap<String, Vec<Made>>;

fn read(dir: &Utf8Path) -> Result<Keys, NodeKeyError> {
    let path = dir.join(FILE);
    if !path.exists() {
        return Ok(Keys::new());
    }
    let bytes = Zeroizing::new(read_limited(&path, MAX_FILE)?);
    Ok(serde_json::from_slice(&bytes)?)
}

fn write(dir: &Utf8Path, keys: &Keys) -> Result<(), NodeKeyError> {
    let bytes = Zeroizing::new(serde_json::to_vec(keys)?);
    Ok(write_atomic(&dir.join(FILE), &bytes, PRIVATE)?)
}

/// True if this node ever made a key.
pub(crate) fn any(dir: &Utf8Path) -> bool {
    dir.join(FILE).exists()
}

/// Replaces the keys of the identity by those that the list names. A key that this node does not have changes nothing.
pub(crate) fn in_force(dir: &Utf8Path, identity: &mut NodeIdentity, list: &PeersFile) -> Result<(), NodeKeyError> {
    let Some(own) = list.nodes.get(&identity.info.hostname) else { return Ok(()) };
    for (plane, made) in &read(dir)? {
        let (Some(listed), Some(key)) = (own.keys.get(plane), identity.keys.get_mut(plane)) else { continue };
        if let Some(new) = made.iter().find(|made| made.is(listed)) {
            *key = new.private()?;
        }
    }
    Ok(())
}

/// The public keys that the list asks this node for: made now, or the ones of an earlier answer. On the disk before anybody knows them.
pub(crate) fn answer(
    dir: &Utf8Path,
    identity: &NodeIdentity,
    list: &PeersFile,
) -> Result<BTreeMap<String, NextKey>, NodeKeyError> {
    let host = &identity.info.hostname;
    let wanted: BTreeMap<&String, u64> = list
        .rotating
        .get(host)
        .into_iter()
        .flatten()
        .filter(|(plane, rotating)| rotating.other.is_none() && identity.keys.contains_key(*plane))
        .map(|(plane, rotating)| (plane, rotating.serial))
        .collect();
    let mut answers = BTreeMap::new();
    if wanted.is_empty() {
        return Ok(answers);
    }
    let (mut keys, mut changed) = (read(dir)?, false);
    for (plane, serial) in wanted {
        let made = keys.entry(plane.clone()).or_default();
        if !made.iter().any(|m| m.serial == serial) {
            // Only the key in force and the next one are ever needed.
            let listed = list.nodes.get(host).and_then(|own| own.keys.get(plane));
            made.retain(|m| listed.is_some_and(|key| m.is(key)));
            let key = WgPrivateKey::from_random(host::random::bytes::<32>()?);
            made.push(Made { serial, key: key.expose().to_string() });
            changed = true;
        }
        if let Some(next) = made.iter().find(|m| m.serial == serial) {
            answers.insert(plane.clone(), NextKey { serial, key: next.private()?.public() });
        }
    }
    if changed {
        write(dir, &keys)?;
    }
    Ok(answers)
}
