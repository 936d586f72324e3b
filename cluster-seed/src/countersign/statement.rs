//! What the offline key signs about a node.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::list::Countersignature;
use crate::ids::{Digest, Hostname};
use crate::peers::PeerNode;
use crate::seal::{SealError, Sealable, SigningKey, VerifyingKey, check_detached, detached, key_text};
use crate::wireguard::WgPublicKey;

/// Hex digits of a fingerprint: 80 bits, since whoever makes the keys can try many.
const FINGERPRINT: usize = 20;

/// "This node may be a peer." Everything of its entry that nodes act on, but the endpoint, which changes as the node moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeStatement {
    /// The site's public key, 64 hex digits.
    pub site: String,
    pub name: Hostname,
    pub role: String,
    /// Per plane.
    pub keys: BTreeMap<String, WgPublicKey>,
    pub addresses: BTreeMap<String, Ipv4Addr>,
    /// Epoch of the seed, and version of its peer list when the signature was asked for. A name that was removed comes back only
    /// with higher numbers.
    pub epoch: u64,
    pub sequence: u64,
}

impl Sealable for NodeStatement {
    const PURPOSE: &'static str = "countersigned-node";
}

impl NodeStatement {
    pub fn of(site: &VerifyingKey, name: &Hostname, node: &PeerNode, (epoch, sequence): (u64, u64)) -> Self {
        NodeStatement {
            site: key_text(site),
            name: name.clone(),
            role: node.role.clone(),
            keys: node.keys.clone(),
            addresses: node.addresses.clone(),
            epoch,
            sequence,
        }
    }

    /// # Errors
    /// If the statement cannot be written as JSON.
    pub fn sign(&self, key: &SigningKey) -> Result<Countersignature, SealError> {
        Ok(Countersignature { epoch: self.epoch, sequence: self.sequence, signature: detached(self, key)? })
    }

    /// # Errors
    /// If the signature is not one of this statement by this key.
    pub fn check(&self, signature: &Countersignature, key: &VerifyingKey) -> Result<(), SealError> {
        if signature.number() != (self.epoch, self.sequence) {
            return Err(SealError::Signature);
        }
        check_detached(self, &signature.signature, key)
    }

    /// Identifies name, role and keys for people: the machine's console shows it while it waits, and the offline machine before it
    /// signs.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.site, &self.name, &self.role, &self.keys)
    }
}

/// See [`NodeStatement::fingerprint`]. `site` is the site's public key in hex. Groups of four hex digits.
pub fn fingerprint(site: &str, name: &Hostname, role: &str, keys: &BTreeMap<String, WgPublicKey>) -> String {
    let text = serde_json::json!(["kubedos:countersign-fingerprint:v1", site, name, role, keys]).to_string();
    let hex = Digest::of(text.as_bytes()).to_string();
    let short: Vec<char> = hex.chars().take(FINGERPRINT).collect();
    short.chunks(4).map(String::from_iter).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> NodeStatement {
        NodeStatement {
            site: key_text(&SigningKey::from_bytes(&[1; 32]).verifying_key()),
            name: "n1.lan".parse().unwrap(),
            role: "base".into(),
            keys: [("wg1".to_owned(), WgPublicKey([3; 32]))].into(),
            addresses: [("wg1".to_owned(), Ipv4Addr::new(10, 78, 0, 2))].into(),
            epoch: 1,
            sequence: 4,
        }
    }

    #[test]
    fn a_signature_counts_for_every_value_of_its_statement_and_no_other() {
        let (key, other) = (SigningKey::from_bytes(&[5; 32]), SigningKey::from_bytes(&[6; 32]));
        let signature = statement().sign(&key).unwrap();
        assert!(statement().check(&signature, &key.verifying_key()).is_ok());
        assert!(statement().check(&signature, &other.verifying_key()).is_err());
        type Alter = fn(&mut NodeStatement);
        let all: [Alter; 7] = [
            |s| s.site = "00".repeat(32),
            |s| s.name = "n2.lan".parse().unwrap(),
            |s| s.role = "control".into(),
            |s| *s.keys.get_mut("wg1").unwrap() = WgPublicKey([4; 32]),
            |s| *s.addresses.get_mut("wg1").unwrap() = Ipv4Addr::new(10, 78, 0, 3),
            |s| s.epoch = 2,
            |s| s.sequence = 5,
        ];
        for (n, alter) in all.into_iter().enumerate() {
            let mut altered = statement();
            alter(&mut altered);
            let numbered = Countersignature { epoch: altered.epoch, sequence: altered.sequence, ..signature.clone() };
            assert!(altered.check(&numbered, &key.verifying_key()).is_err(), "value {n}");
            assert!(altered.check(&signature, &key.verifying_key()).is_err(), "value {n}");
        }
    }

    #[test]
    fn a_fingerprint_names_site_name_role_and_keys() {
        let print = statement().fingerprint();
        assert_eq!((print.len(), print.matches('-').count()), (24, 4), "{print}");
        let later = NodeStatement { sequence: 9, ..statement() };
        assert_eq!(later.fingerprint(), print, "the number is of no interest to a person");
        let keys = [("wg1".to_owned(), WgPublicKey([4; 32]))].into();
        for other in [
            NodeStatement { keys, ..statement() },
            NodeStatement { name: "n2.lan".parse().unwrap(), ..statement() },
            NodeStatement { role: "control".into(), ..statement() },
            NodeStatement { site: "00".repeat(32), ..statement() },
        ] {
            assert_ne!(other.fingerprint(), print);
        }
    }
}
