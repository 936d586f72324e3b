//! Files that go to the offline machine and back.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::list::{Countersignature, KeyChange};
use super::statement::NodeStatement;
use crate::ids::Hostname;
use crate::seal::{SealError, Sealed, SigningKey, key_text};

/// Largest request or answer read, in bytes.
pub const MAX_FILE: usize = 64 << 20;
/// Most nodes of one request.
pub const MAX_NODES: usize = 65_536;
/// Number of this format.
pub const FORMAT: u32 = 1;

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("this is format {0} of a request, and this program reads {FORMAT}")]
    Format(u32),
    #[error("the request has more than {MAX_NODES} nodes")]
    TooMany,
    #[error("the request has {0} twice")]
    Twice(Hostname),
    #[error("the statement about {0} is of another site than the request")]
    OtherSite(Hostname),
    #[error("the request asks key {wanted}, and this is key {found}")]
    OtherKey { wanted: String, found: String },
    #[error("signing")]
    Seal(#[from] SealError),
}

/// What the seed asks the offline key to sign: `seedd countersign export`. Nothing in it is secret, and nothing of it is believed:
/// a person reads it on the offline machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    pub format: u32,
    /// Name of the site.
    pub name: Hostname,
    /// Its public key, 64 hex digits.
    pub site: String,
    /// The key that is asked.
    pub key: String,
    /// How often the key in force was changed.
    pub serial: u64,
    pub nodes: Vec<NodeStatement>,
}

/// What the offline key signed: `seedd countersign import`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Answer {
    pub format: u32,
    pub site: String,
    pub key: String,
    #[serde(default)]
    pub nodes: Vec<SignedNode>,
    /// The next key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Sealed<KeyChange>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedNode {
    pub statement: NodeStatement,
    pub signature: Countersignature,
}

impl Request {
    /// # Errors
    /// If it contradicts itself, or asks for another key.
    pub fn check(&self, key: &SigningKey) -> Result<(), FileError> {
        if self.format != FORMAT {
            return Err(FileError::Format(self.format));
        }
        if self.nodes.len() > MAX_NODES {
            return Err(FileError::TooMany);
        }
        let mut names = BTreeSet::new();
        for node in &self.nodes {
            if node.site != self.site {
                return Err(FileError::OtherSite(node.name.clone()));
            }
            if !names.insert(&node.name) {
                return Err(FileError::Twice(node.name.clone()));
            }
        }
        let found = key_text(&key.verifying_key());
        if found == self.key { Ok(()) } else { Err(FileError::OtherKey { wanted: self.key.clone(), found }) }
    }

    /// Signs the statements about these names.
    ///
    /// # Errors
    /// As [`Request::check`].
    pub fn sign(&self, key: &SigningKey, chosen: impl Fn(&Hostname) -> bool) -> Result<Answer, FileError> {
        self.check(key)?;
        let signed = |statement: &NodeStatement| {
            Ok::<_, FileError>(SignedNode { statement: statement.clone(), signature: statement.sign(key)? })
        };
        let nodes = self.nodes.iter().filter(|node| chosen(&node.name)).map(signed).collect::<Result<_, _>>()?;
        Ok(Answer { format: FORMAT, site: self.site.clone(), key: self.key.clone(), nodes, change: None })
    }

    /// Names the key that follows; `None` ends countersigning.
    ///
    /// # Errors
    /// As [`Request::check`].
    pub fn hand_over(&self, key: &SigningKey, to: Option<String>) -> Result<Answer, FileError> {
        self.check(key)?;
        let serial = self.serial.saturating_add(1);
        let change = KeyChange { site: self.site.clone(), from: self.key.clone(), to, serial };
        let change = Some(Sealed::sign(&change, key)?);
        Ok(Answer { format: FORMAT, site: self.site.clone(), key: self.key.clone(), nodes: Vec::new(), change })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::wireguard::WgPublicKey;

    fn key(n: u8) -> SigningKey {
        SigningKey::from_bytes(&[n; 32])
    }

    fn request() -> Request {
        let site = key_text(&key(1).verifying_key());
        let node = |host: u8| NodeStatement {
            site: site.clone(),
            name: format!("n{host}.lan").parse().unwrap(),
            role: "base".into(),
            keys: [("wg1".to_owned(), WgPublicKey([host; 32]))].into(),
            addresses: [("wg1".to_owned(), Ipv4Addr::new(10, 78, 0, host))].into(),
            epoch: 1,
            sequence: 4,
        };
        let nodes = vec![node(2), node(3)];
        let name = "site-a".parse().unwrap();
        Request { format: FORMAT, name, key: key_text(&key(5).verifying_key()), site, serial: 0, nodes }
    }

    #[test]
    fn several_nodes_are_signed_at_once_and_some_may_be_left_out() {
        let all = request().sign(&key(5), |_| true).unwrap();
        assert_eq!(all.nodes.len(), 2);
        for signed in &all.nodes {
            signed.statement.check(&signed.signature, &key(5).verifying_key()).unwrap();
        }
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Answer>(&text).unwrap(), all);
        let one = request().sign(&key(5), |name| name.as_str() == "n3.lan").unwrap();
        assert_eq!(one.nodes, all.nodes[1..]);
    }

    #[test]
    fn a_request_that_contradicts_itself_is_refused() {
        let refused = |request: Request, n: u8| request.sign(&key(n), |_| true).unwrap_err().to_string();
        assert!(refused(request(), 6).contains("asks key"));
        assert!(refused(Request { format: 2, ..request() }, 5).contains("format 2"));
        let mut twice = request();
        twice.nodes[1].name = twice.nodes[0].name.clone();
        assert!(refused(twice, 5).contains("n2.lan twice"));
        let mut elsewhere = request();
        elsewhere.nodes[1].site = "00".repeat(32);
        assert!(refused(elsewhere, 5).contains("another site"));
    }

    #[test]
    fn a_change_names_the_key_that_it_replaces() {
        let to = key_text(&key(6).verifying_key());
        let answer = request().hand_over(&key(5), Some(to.clone())).unwrap();
        let change = answer.change.unwrap().open(&key(5).verifying_key()).unwrap();
        assert_eq!((change.from, change.to, change.serial), (request().key, Some(to), 1));
        assert!(request().hand_over(&key(6), None).is_err());
    }
}
