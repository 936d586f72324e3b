//! A node's judgement of a peer list: which key it believes, and which entries that key has signed.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::list::{Countersigned, KeyChange, MAX_CHANGES};
use super::statement::NodeStatement;
use crate::addressing::{SEED_HOST, address};
use crate::identity::IdentityInfo;
use crate::ids::Hostname;
use crate::peers::{PeerNode, PeersFile};
use crate::seal::{Sealed, VerifyingKey, key_from_text, key_text};

/// Why a list is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CountersignError {
    #[error("the peer list has no countersignatures, but this site has a countersigning key")]
    Missing,
    #[error("the countersigning key of the peer list does not follow from the one that this node knows ({0})")]
    OtherKey(String),
}

/// What a node has seen of countersigning. It keeps this for good: whoever has the seed cannot end it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// 64 hex digits; `None` after the key's own statement ended countersigning.
    pub key: Option<String>,
    pub serial: u64,
    /// The number of the last statement about each name that was taken off: an entry needs a higher one.
    pub floors: BTreeMap<Hostname, (u64, u64)>,
}

/// What a node knows from its identity.
pub struct Known<'a> {
    pub site: &'a VerifyingKey,
    pub seed: &'a Hostname,
    /// The addresses that the seed may have: host 1 of each plane of the node.
    pub seed_addresses: BTreeMap<String, Ipv4Addr>,
    /// The networks of these planes.
    pub planes: Vec<Ipv4Net>,
}

impl<'a> Known<'a> {
    pub fn of(info: &'a IdentityInfo, site: &'a VerifyingKey) -> Self {
        let own = |(name, plane): (&String, &crate::identity::PlaneAddress)| {
            Some((name.clone(), address(name, plane.cidr, SEED_HOST).ok()?))
        };
        Known {
            site,
            seed: &info.seed_hostname,
            seed_addresses: info.planes.iter().filter_map(own).collect(),
            planes: info.planes.values().map(|plane| plane.cidr).collect(),
        }
    }
}

/// The pin after this list; `None` as long as no key was ever seen.
///
/// # Errors
/// If a key is known, and the list has none, or one that no chain of its predecessors' statements leads to.
pub fn follow(pin: Option<&Pin>, site: &VerifyingKey, list: &PeersFile) -> Result<Option<Pin>, CountersignError> {
    let found = list.countersign.as_ref();
    let Some((held, key)) = pin.and_then(|pin| Some((pin, pin.key.clone()?))) else {
        let first = found.filter(|c| c.key.is_some());
        let floors = pin.map(|pin| pin.floors.clone()).unwrap_or_default();
        return Ok(match first {
            Some(c) => Some(Pin { key: c.key.clone(), serial: c.serial, floors }),
            None => pin.cloned(),
        });
    };
    let found = found.ok_or(CountersignError::Missing)?;
    let other = || CountersignError::OtherKey(key.clone());
    let (key, serial) = last_key(&key, held.serial, site, found).ok_or_else(other)?;
    let floors = held.floors.clone();
    // The key's own statement ended countersigning; a later key may be in force since.
    if key.is_none() && found.serial >= serial {
        return Ok(Some(Pin { key: found.key.clone(), serial: found.serial, floors }));
    }
    if key != found.key || serial != found.serial {
        return Err(other());
    }
    Ok(Some(Pin { key, serial, floors }))
}

/// Follows the changes of a list from a key that is believed. `None` if one is not signed as it has to be.
fn last_key(from: &str, serial: u64, site: &VerifyingKey, found: &Countersigned) -> Option<(Option<String>, u64)> {
    let (mut key, mut serial) = (Some(from.to_owned()), serial);
    for change in found.changes.iter().take(MAX_CHANGES) {
        let Some(signer) = key.as_deref().and_then(|k| key_from_text(k).ok()) else { break };
        // One of an earlier key, or for a later one.
        let Some(KeyChange { to, serial: next, .. }) = opened(change, &signer, site, serial) else { continue };
        (key, serial) = (to, next);
    }
    Some((key, serial)).filter(|(key, _)| key.as_deref().is_none_or(|k| key_from_text(k).is_ok()))
}

/// The change, if `signer`, the key number `serial` of this site, signed it for itself.
pub fn opened(change: &Sealed<KeyChange>, signer: &VerifyingKey, site: &VerifyingKey, serial: u64) -> Option<KeyChange> {
    let read = change.open(signer).ok()?;
    let fits = read.site == key_text(site) && read.from == key_text(signer) && serial.checked_add(1) == Some(read.serial);
    fits.then_some(read)
}

/// The names whose entries do not count. Empty without a key.
pub fn refused(pin: Option<&Pin>, known: &Known<'_>, list: &PeersFile) -> Vec<Hostname> {
    let Some((pin, text)) = pin.and_then(|pin| Some((pin, pin.key.as_deref()?))) else { return Vec::new() };
    let key = key_from_text(text).ok();
    let good = |name: &Hostname, node: &PeerNode| match name == known.seed {
        true => is_seed(known, node, list),
        false => fits_pods(known, list, name) && key.as_ref().is_some_and(|key| is_signed(pin, key, known, list, (name, node))),
    };
    list.nodes.iter().filter(|(name, node)| !good(name, node)).map(|(name, _)| name.clone()).collect()
}

/// The seed has no countersignature: its keys change without the offline key. So it may have no address but its own, and no pods.
fn is_seed(known: &Known<'_>, node: &PeerNode, list: &PeersFile) -> bool {
    let own = |(plane, ip): (&String, &Ipv4Addr)| known.seed_addresses.get(plane).is_none_or(|own| own == ip);
    node.addresses.iter().all(own) && list.pods.as_ref().is_none_or(|pods| !pods.nodes.contains_key(known.seed))
}

/// A range of pods is not signed, since it follows from cluster.yaml. So it may have no address of a plane.
fn fits_pods(known: &Known<'_>, list: &PeersFile, name: &Hostname) -> bool {
    let Some((pods, range)) = list.pods.as_ref().and_then(|pods| Some((pods, pods.nodes.get(name)?))) else { return true };
    pods.cidr.contains(range) && !known.planes.iter().any(|plane| plane.contains(&pods.cidr) || pods.cidr.contains(plane))
}

fn is_signed(pin: &Pin, key: &VerifyingKey, known: &Known<'_>, list: &PeersFile, (name, node): (&Hostname, &PeerNode)) -> bool {
    let Some(signature) = list.countersign.as_ref().and_then(|c| c.nodes.get(name)) else { return false };
    let above = pin.floors.get(name).is_none_or(|floor| signature.number() > *floor);
    above && NodeStatement::of(known.site, name, node, signature.number()).check(signature, key).is_ok()
}

/// Raises the floors: what `before` had and `next` has not, or with other keys that count, does not come back by its old signature.
/// `before` is without entries that do not count; those of `next` are in `refused`, and end nothing.
pub fn raise(pin: &mut Pin, before: &PeersFile, next: &PeersFile, refused: &[Hostname]) {
    // Not `lacks`: what a list says about replaced keys is not countersigned.
    let kept = |name: &Hostname, node: &PeerNode| next.nodes.get(name).is_some_and(|now| now.keys == node.keys);
    let gone = before.nodes.iter().filter(|(name, node)| !kept(name, node) && !refused.contains(name));
    for (name, _) in gone {
        let Some(gone) = before.countersign.as_ref().and_then(|c| c.nodes.get(name)) else { continue };
        let floor = pin.floors.entry(name.clone()).or_default();
        *floor = gone.number().max(*floor);
    }
}

/// The list without these entries and, where it is countersigned, without second keys of nodes: nobody signed those.
pub fn without(mut list: PeersFile, names: &[Hostname]) -> PeersFile {
    if list.countersign.as_ref().is_some_and(|part| part.key.is_some()) {
        list.rotating.clear();
    }
    for name in names {
        list.nodes.remove(name);
        if let Some(pods) = &mut list.pods {
            pods.nodes.remove(name);
        }
    }
    list
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
