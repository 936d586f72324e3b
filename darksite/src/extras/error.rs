//! What can go wrong while extras are fetched or published.

use cluster_seed::ids::Digest;
use cluster_seed::seal::SealError;

use crate::disk::DiskError;
use crate::fetch::FetchError;
use crate::index::IndexError;
use crate::keyring::KeyringError;
use crate::lint::{Finding, LintError};
use crate::release_key::ReleaseKeyError;
use crate::trust::TrustError;

#[derive(Debug, thiserror::Error)]
pub enum ExtrasError {
    #[error("{url} has sha256 {found}, cluster.yaml says {expected}")]
    Mismatch { url: String, found: Digest, expected: Digest },
    #[error("the signature of {url}: {why}")]
    Signature { url: String, why: String },
    #[error("reading key {name}")]
    Key {
        name: String,
        #[source]
        source: KeyringError,
    },
    #[error("checking {url}")]
    Trust {
        url: String,
        #[source]
        source: TrustError,
    },
    #[error("repository {repository}: {why}")]
    Repository { repository: String, why: String },
    #[error("reading the index of repository {repository}")]
    Index {
        repository: String,
        #[source]
        source: IndexError,
    },
    #[error("{name}: {why}")]
    Content { name: String, why: String },
    #[error("extras hold what must not be published: {}", told(.0))]
    Secrets(Vec<Finding>),
    #[error("packing the index of the extras")]
    Pack(#[source] std::io::Error),
    #[error("signing the extras")]
    Seal(#[from] SealError),
    #[error(transparent)]
    Lint(#[from] LintError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    ReleaseKey(#[from] ReleaseKeyError),
}

fn told(findings: &[Finding]) -> String {
    findings.iter().map(|f| format!("{} ({})", f.place, f.what)).collect::<Vec<_>>().join(", ")
}

impl ExtrasError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            ExtrasError::Mismatch { .. } => {
                "upstream changed the file, or the digest is of another one; nothing of it was kept. Look before you pin it anew"
            }
            ExtrasError::Signature { .. } => "the file or its signature was changed, or another key signed it; it was not taken",
            ExtrasError::Key { .. } => "extras.keys wants an OpenPGP certificate, armored or binary",
            ExtrasError::Trust { source, .. } => source.hint(),
            ExtrasError::Repository { .. } | ExtrasError::Index { .. } => {
                "check url, suite and component against the repository's sources.list line, and package and version"
            }
            ExtrasError::Content { .. } => "check that the file is what cluster.yaml calls it",
            ExtrasError::Secrets(_) => {
                "take the secret out; where it is known and harmless (a test key), list the file's sha256 in extras.lintAllow"
            }
            ExtrasError::Fetch(e) => e.hint(),
            ExtrasError::Disk(e) => e.hint(),
            _ => return None,
        })
    }

    pub(crate) fn content(name: &str, why: impl std::fmt::Display) -> Self {
        ExtrasError::Content { name: name.to_owned(), why: why.to_string() }
    }
}
