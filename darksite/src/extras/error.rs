//! Errors while extras are fetched or published.

use cluster_seed::ids::Digest;
use cluster_seed::seal::SealError;
use host::deb::DebError;
use host::files::FileError;

use crate::audit::lint::{Finding, LintError};
use crate::publish::release_key::ReleaseKeyError;
use crate::upstream::fetch::FetchError;
use crate::upstream::keyring::KeyringError;
use crate::upstream::listed::ListedError;
use crate::upstream::trust::TrustError;

#[derive(Debug, thiserror::Error)]
pub enum ExtrasError {
    #[error("{url} has sha256 {found}, but cluster.yaml says {expected}")]
    Mismatch { url: String, found: Digest, expected: Digest },
    #[error("the signature of {url} {why}")]
    Signature { url: String, why: String },
    #[error("reading key {name}")]
    Key {
        name: String,
        #[source]
        source: KeyringError,
    },
    #[error("verifying {url}")]
    Trust {
        url: String,
        #[source]
        source: TrustError,
    },
    #[error("repository {repository}: {why}")]
    Repository { repository: String, why: String },
    #[error("reading the index of repository {repository}")]
    Listed {
        repository: String,
        #[source]
        source: ListedError,
    },
    #[error("{name}: {why}")]
    Content { name: String, why: String },
    #[error("reading the Debian package {name}")]
    Deb {
        name: String,
        #[source]
        source: DebError,
    },
    #[error("extras contain what must not be published: {}", list(.0))]
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
    File(#[from] FileError),
    #[error(transparent)]
    ReleaseKey(#[from] ReleaseKeyError),
}

fn list(findings: &[Finding]) -> String {
    findings.iter().map(|f| format!("{} ({})", f.place, f.what)).collect::<Vec<_>>().join(", ")
}

impl ExtrasError {
    /// What a person can do about it, if known.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            ExtrasError::Mismatch { .. } => {
                "upstream changed the file, or the digest belongs to another file; nothing was kept. Inspect the file before you change the digest"
            }
            ExtrasError::Signature { .. } => {
                "the file or its signature was modified, or another key signed it; the file was not accepted"
            }
            ExtrasError::Key { .. } => "extras.keys needs an OpenPGP certificate, armored or binary",
            ExtrasError::Trust { source: TrustError::Signature(_), .. } => {
                "extras.keys must have the key that signs this repository now; compare fingerprints before you replace it"
            }
            ExtrasError::Trust { source, .. } => source.hint(),
            ExtrasError::Listed { source: ListedError::Fetch(e), .. } => e.hint(),
            ExtrasError::Listed { .. } => {
                "the repository is being updated, or its server changed the file; nothing was taken. Try again later"
            }
            ExtrasError::Repository { .. } => {
                "check url, suite and component against the repository's sources.list line, and package and version"
            }
            ExtrasError::Content { .. } | ExtrasError::Deb { .. } => "check that the file is what cluster.yaml says",
            ExtrasError::Secrets(_) => {
                "remove the secret; if it is harmless (a test key), list the file's sha256 in extras.lintAllow"
            }
            ExtrasError::Fetch(e) => e.hint(),
            ExtrasError::File(e) => e.hint(),
            _ => return None,
        })
    }

    pub(crate) fn content(name: &str, why: impl std::fmt::Display) -> Self {
        ExtrasError::Content { name: name.to_owned(), why: why.to_string() }
    }
}
