//! The identity of a node: its data and private keys, sealed to the machine that enrolled.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::grub::GrubHash;
use crate::held::AptKeys;
use crate::ids::{Digest, EnrollmentId, Hostname, NodeId};
use crate::peers::PeersFile;
use crate::repo::{RepoMode, UpstreamSource};
use crate::seal::{Sealable, Sealed};
use crate::secret::{AgeKey, Secret, SecretError, seal_to};
use crate::wireguard::{KeyError, WgPrivateKey};

/// Largest identity accepted, in bytes of plaintext.
pub const MAX_IDENTITY: usize = 4 << 20;

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("opening the sealed identity")]
    Secret(#[from] SecretError),
    #[error("reading the identity")]
    Json(#[from] serde_json::Error),
    #[error("the identity contains an invalid key")]
    Key(#[from] KeyError),
    #[error("the identity is too large")]
    TooLarge,
    #[error("the sealed identity is not base64")]
    Encoding,
}

/// A node's address on one plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaneAddress {
    pub cidr: Ipv4Net,
    pub address: Ipv4Addr,
    pub port: u16,
}

/// Package sources of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DarksiteSource {
    pub url: String,
    pub suite: String,
    pub components: Vec<String>,
    /// Which sources the node's apt uses: the seed, upstream, or both.
    #[serde(default)]
    pub mode: RepoMode,
    /// Upstream's sources, for the modes that use them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<UpstreamSource>,
    /// The release key's OpenPGP certificate, binary, in base64.
    pub keyring: String,
}

/// The part of an identity that is not secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityInfo {
    pub node: NodeId,
    pub enrollment: EnrollmentId,
    pub site: String,
    pub epoch: u64,
    /// The site's public key in hex; every later document is verified with it.
    pub site_key: String,
    pub hostname: Hostname,
    pub role: String,
    /// Base URL of the seed on the underlay, `http://10.44.0.1`.
    pub seed_url: String,
    /// The seed's host name among the peers.
    pub seed_hostname: Hostname,
    pub planes: BTreeMap<String, PlaneAddress>,
    pub authorized_keys: Vec<String>,
    pub darksite: DarksiteSource,
    pub peers: Sealed<PeersFile>,
    /// Hash of the password of GRUB's editor, as `grub-mkpasswd-pbkdf2` prints it. Seeds before 0.2.0 have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grub: Option<GrubHash>,
    /// The same certificates as in `darksite`, as the site signed them: a node takes only later ones. Seeds before 0.2.0 have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apt: Option<Sealed<AptKeys>>,
    /// The operator's age recipient: support bundles are encrypted to it. Seeds before 0.2.0 have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
}

/// The identity with its WireGuard private keys. Not `Serialize`: [`NodeIdentity::to_secret`] is the only way to export it.
#[derive(Debug)]
pub struct NodeIdentity {
    pub info: IdentityInfo,
    pub keys: BTreeMap<String, WgPrivateKey>,
}

/// The form inside the ciphertext and, mode 0600, on the node's state partition.
#[derive(Serialize, Deserialize)]
struct Wire {
    info: IdentityInfo,
    keys: BTreeMap<String, String>,
}

impl NodeIdentity {
    pub fn to_secret(&self) -> Result<Secret, IdentityError> {
        let keys = self.keys.iter().map(|(plane, key)| (plane.clone(), key.expose().to_string())).collect();
        let mut wire = Wire { info: self.info.clone(), keys };
        let bytes = serde_json::to_vec(&wire);
        for text in wire.keys.values_mut() {
            zeroize::Zeroize::zeroize(text);
        }
        Ok(Secret::new(bytes?))
    }

    pub fn from_secret(secret: &Secret) -> Result<Self, IdentityError> {
        if secret.expose().len() > MAX_IDENTITY {
            return Err(IdentityError::TooLarge);
        }
        let mut wire: Wire = serde_json::from_slice(secret.expose())?;
        let keys: Result<_, KeyError> =
            wire.keys.iter().map(|(plane, text)| Ok((plane.clone(), WgPrivateKey::from_text(text)?))).collect();
        for text in wire.keys.values_mut() {
            zeroize::Zeroize::zeroize(text);
        }
        Ok(NodeIdentity { info: wire.info, keys: keys? })
    }

    /// Encrypts to an age recipient: the machine's, or the vault's.
    pub fn seal_to(&self, recipient: &str) -> Result<Vec<u8>, IdentityError> {
        Ok(seal_to(recipient, self.to_secret()?.expose())?)
    }
}

/// The artifact to write and the disk. Public, but signed by the site key inside the [`IssuedIdentity`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstallOrder {
    pub artifact: Digest,
    /// Name of the disk that the operator approved for erasure, with the text that identifies it
    /// ([`Disk::mark`](crate::machine::Disk::mark), usually its serial number) and its size: the agent refuses if any of the
    /// three differs.
    pub disk: String,
    pub disk_serial: String,
    pub disk_size: u64,
}

/// The issued document, signed by the site key and issued exactly once: see [`SealedIdentity`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuedIdentity {
    pub enrollment: EnrollmentId,
    pub epoch: u64,
    pub order: InstallOrder,
    /// age ciphertext of a [`NodeIdentity`] in base64.
    ciphertext: String,
}

impl Sealable for IssuedIdentity {
    const PURPOSE: &'static str = "identity";
}

pub type SealedIdentity = Sealed<IssuedIdentity>;

impl IssuedIdentity {
    pub fn new(enrollment: EnrollmentId, epoch: u64, order: InstallOrder, ciphertext: &[u8]) -> Self {
        IssuedIdentity { enrollment, epoch, order, ciphertext: B64.encode(ciphertext) }
    }

    /// Decrypts with the machine's key from RAM.
    pub fn open(&self, key: &AgeKey) -> Result<NodeIdentity, IdentityError> {
        let ciphertext = B64.decode(&self.ciphertext).map_err(|_| IdentityError::Encoding)?;
        NodeIdentity::from_secret(&key.open(&ciphertext)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{SigningKey, key_text};

    fn identity() -> NodeIdentity {
        let site = SigningKey::from_bytes(&[1; 32]);
        let peers =
            PeersFile { epoch: 1, version: 1, planes: BTreeMap::new(), nodes: BTreeMap::new(), pods: None, countersign: None };
        NodeIdentity {
            info: IdentityInfo {
                node: NodeId([1; 16]),
                enrollment: EnrollmentId([2; 16]),
                site: "a".into(),
                epoch: 1,
                site_key: key_text(&site.verifying_key()),
                hostname: "n1.lan".parse().unwrap(),
                role: "base".into(),
                seed_url: "http://10.44.0.1".into(),
                seed_hostname: "seed.lan".parse().unwrap(),
                planes: BTreeMap::new(),
                authorized_keys: vec![],
                darksite: DarksiteSource {
                    url: String::new(),
                    suite: "trixie".into(),
                    components: vec![],
                    mode: RepoMode::Darksite,
                    upstream: Vec::new(),
                    keyring: String::new(),
                },
                peers: Sealed::sign(&peers, &site).unwrap(),
                grub: None,
                apt: None,
                operator: None,
            },
            keys: BTreeMap::from([("wg1".to_owned(), WgPrivateKey::from_random([9; 32]))]),
        }
    }

    #[test]
    fn only_the_machine_that_enrolled_can_open_it() {
        let (machine, other) = (AgeKey::generate(), AgeKey::generate());
        let ciphertext = identity().seal_to(&machine.recipient()).unwrap();
        let order = InstallOrder { artifact: Digest([0; 32]), disk: "sda".into(), disk_serial: String::new(), disk_size: 1 };
        let issued = IssuedIdentity::new(EnrollmentId([2; 16]), 1, order, &ciphertext);
        let opened = issued.open(&machine).unwrap();
        assert_eq!(opened.info, identity().info);
        assert_eq!(opened.keys["wg1"].public(), identity().keys["wg1"].public());
        assert!(issued.open(&other).is_err());
    }

    #[test]
    fn no_private_key_in_debug_text() {
        let text = format!("{:?}", identity());
        assert!(!text.contains(identity().keys["wg1"].expose().as_str()));
    }
}
