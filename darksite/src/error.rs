//! Errors while a snapshot is planned or built.

use camino::Utf8PathBuf;
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use cluster_seed::seal::SealError;
use host::files::FileError;
use jiff::Timestamp;

use crate::format::index::IndexError;
use crate::format::lock::LockError;
use crate::format::sum::Sum;
use crate::plan::resolve::ResolveError;
use crate::publish::release_key::ReleaseKeyError;
use crate::upstream::fetch::FetchError;
use crate::upstream::listed::ListedError;
use crate::upstream::pool::PoolError;
use crate::upstream::trust::TrustError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("invalid request: {0}")]
    Request(String),
    #[error("verifying {url}")]
    Trust {
        url: String,
        #[source]
        source: TrustError,
    },
    #[error("{url} is the Release file of suite {found}, not of {asked}")]
    WrongSuite { url: String, asked: String, found: String },
    #[error("{url} is dated {found}, but a newer one of {seen} was accepted before (suite {suite})")]
    Downgrade { url: String, suite: String, found: Timestamp, seen: Timestamp },
    #[error("suite {suite} has no index of component {component} for {arch}")]
    NoIndex { suite: String, component: String, arch: String },
    #[error("{url} has {found} bytes, but the signed Release file says {expected}")]
    Size { url: String, found: u64, expected: u64 },
    #[error("{url} has {} {found}, but the signed Release file says {expected}", .found.name())]
    Digest { url: String, found: Box<Sum>, expected: Box<Sum> },
    #[error("unpacking {url}")]
    Unpack {
        url: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{url} is not UTF-8 text")]
    NotUtf8 { url: String },
    #[error("parsing the index of {index}")]
    Index {
        index: String,
        #[source]
        source: IndexError,
    },
    #[error(
        "the Release file of suite {suite} that the lock pins ({expected}) is neither in the lock's folder nor on the mirror"
    )]
    UpstreamMoved { suite: String, expected: Digest },
    #[error("package {name} is in the index, but cannot be used: {why}")]
    LeftOut {
        name: String,
        why: String,
        #[source]
        source: Box<ResolveError>,
    },
    #[error("the mirror does not have the required installer package {name}")]
    NoUdeb { name: String },
    #[error("the mirror's indexes no longer list {}{}", .missing.join(", "), more(.count, .missing))]
    Gone { count: usize, missing: Vec<String> },
    #[error("index {path} made from this mirror has sha256 {found}, but the lock says {expected}")]
    IndexDiffers { path: String, found: Digest, expected: Digest },
    #[error("{file} does not match the lock")]
    Companion { file: Utf8PathBuf },
    #[error("parsing the lock file {path}")]
    Lock {
        path: Utf8PathBuf,
        #[source]
        source: LockError,
    },
    #[error("two different packages have the file name {filename}")]
    SameFile { filename: String },
    #[error("packing {what}")]
    Pack {
        what: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{dir} was signed with other keys")]
    ForeignSnapshot { dir: Utf8PathBuf },
    #[error("signing the snapshot's manifest")]
    Seal(#[source] SealError),
    #[error("stopped on request")]
    Cancelled,
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    ReleaseKey(#[from] ReleaseKeyError),
}

impl From<ListedError> for Error {
    fn from(e: ListedError) -> Self {
        match e {
            ListedError::Size { url, found, expected } => Error::Size { url, found, expected },
            ListedError::Digest { url, found, expected } => Error::Digest { url, found, expected },
            ListedError::Unpack { url, source } => Error::Unpack { url, source },
            ListedError::Fetch(e) => Error::Fetch(e),
        }
    }
}

/// An error if the work was cancelled.
pub(crate) fn check_cancelled(progress: &dyn Progress) -> Result<(), Error> {
    if progress.cancelled() { Err(Error::Cancelled) } else { Ok(()) }
}

fn more(count: &usize, shown: &[String]) -> String {
    let rest = count - shown.len().min(*count);
    if rest == 0 { String::new() } else { format!(" and {rest} more") }
}

impl Error {
    /// What a person can do about it, if known.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Error::Trust { source: TrustError::Signature(_), .. } => {
                "for a Debian mirror: install a newer debian-archive-keyring, or use another mirror; for others: --keyring"
            }
            Error::Trust { source, .. } => source.hint(),
            Error::LeftOut { .. } => {
                "apt cannot use it either, or its place cannot be served; ask the publisher of the repository"
            }
            Error::WrongSuite { .. } => "check the suite's name; the mirror may redirect to another release",
            Error::NoIndex { .. } => "check the component and the architecture against the suite's Release file",
            Error::Size { .. } | Error::Digest { .. } | Error::Unpack { .. } => {
                "the mirror is being updated, or changed the file; try again later or use another mirror"
            }
            Error::Downgrade { .. } => {
                "the mirror is out of date, or an attacker is replaying an old state to withhold fixes; use another mirror, or --allow-downgrade"
            }
            Error::UpstreamMoved { .. } | Error::Gone { .. } | Error::IndexDiffers { .. } => {
                "the mirror has changed since the lock was written; keep the folder FILE.d next to the lock, use a mirror with the state of that day (--mirror), or write a new lock"
            }
            Error::NoUdeb { .. } => "use a mirror with the complete installer, or do not require it",
            Error::Companion { .. } => "copy the lock and its folder again, or remove the folder to use the mirror only",
            Error::Lock { .. } => "write it again with `seedd darksite plan`; do not edit lock files by hand",
            Error::ForeignSnapshot { .. } => {
                "this data directory belongs to another site; move the snapshot away, or use another directory"
            }
            Error::Cancelled => "run it again to resume",
            Error::Fetch(e) => e.hint(),
            Error::Resolve(ResolveError::Conflict { .. }) => "remove one of the two, or put them into different roles",
            Error::Resolve(ResolveError::NoRoot { .. } | ResolveError::Unsatisfied { .. }) => {
                "check the spelling, or add the suite or component with the package"
            }
            Error::Pool(e) => e.hint(),
            Error::File(e) => e.hint(),
            _ => return None,
        })
    }
}
