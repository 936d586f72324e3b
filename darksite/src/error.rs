//! What can go wrong while a snapshot is planned or built.

use camino::Utf8PathBuf;
use cluster_seed::ids::Digest;
use cluster_seed::seal::SealError;
use jiff::Timestamp;

use crate::disk::DiskError;
use crate::fetch::FetchError;
use crate::index::IndexError;
use crate::lock::LockError;
use crate::pool::PoolError;
use crate::release_key::ReleaseKeyError;
use crate::resolve::ResolveError;
use crate::trust::TrustError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the request cannot be planned: {0}")]
    Request(String),
    #[error("checking {url}")]
    Trust {
        url: String,
        #[source]
        source: TrustError,
    },
    #[error("{url} is the Release file of {found}, not of {asked}")]
    WrongSuite { url: String, asked: String, found: String },
    #[error("{url} is of {found}, older than the one of {seen} that was accepted here before (suite {suite})")]
    Downgrade { url: String, suite: String, found: Timestamp, seen: Timestamp },
    #[error("suite {suite} has no index of component {component} for {arch}")]
    NoIndex { suite: String, component: String, arch: String },
    #[error("{url} is {found} bytes, the signed Release file says {expected}")]
    Size { url: String, found: u64, expected: u64 },
    #[error("{url} has sha256 {found}, the signed Release file says {expected}")]
    Digest { url: String, found: Digest, expected: Digest },
    #[error("unpacking {url}")]
    Unpack {
        url: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{url} is not UTF-8 text")]
    NotUtf8 { url: String },
    #[error("reading the index of {index}")]
    Index {
        index: String,
        #[source]
        source: IndexError,
    },
    #[error("the Release file of suite {suite} that the lock names ({expected}) is neither beside the lock nor on the mirror")]
    UpstreamMoved { suite: String, expected: Digest },
    #[error("the mirror does not have installer package {name}, which is required")]
    NoUdeb { name: String },
    #[error("the mirror's indexes no longer list {}{}", .missing.join(", "), more(.count, .missing))]
    Gone { count: usize, missing: Vec<String> },
    #[error("index {path} made from this mirror has sha256 {found}, the lock says {expected}")]
    IndexDiffers { path: String, found: Digest, expected: Digest },
    #[error("{file} is not what the lock says")]
    Companion { file: Utf8PathBuf },
    #[error("reading the lock file {path}")]
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
    #[error("{dir} was signed by other keys")]
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
    Disk(#[from] DiskError),
    #[error(transparent)]
    ReleaseKey(#[from] ReleaseKeyError),
}

fn more(count: &usize, shown: &[String]) -> String {
    let rest = count - shown.len().min(*count);
    if rest == 0 { String::new() } else { format!(" and {rest} more") }
}

impl Error {
    /// What a person can do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Error::Trust { source, .. } => source.hint(),
            Error::WrongSuite { .. } => "check the suite's name; the mirror may redirect it to another release",
            Error::NoIndex { .. } => "check the component and the architecture; the suite's Release file lists those it has",
            Error::Size { .. } | Error::Digest { .. } | Error::Unpack { .. } => {
                "the mirror is being updated or changed the file; try again later, or use another mirror"
            }
            Error::Downgrade { .. } => {
                "the mirror is behind, or somebody replays an old state to keep fixes away; use another mirror, or --allow-downgrade"
            }
            Error::UpstreamMoved { .. } | Error::Gone { .. } | Error::IndexDiffers { .. } => {
                "the mirror has moved on since the lock was written; keep the folder FILE.d beside the lock, name a mirror of that day with --mirror, or write a new lock"
            }
            Error::NoUdeb { .. } => "use a mirror that has the whole installer, or do not require it",
            Error::Companion { .. } => "copy lock and folder again, or remove the folder to take everything from the mirror",
            Error::Lock { .. } => "write it again with `seedd darksite plan`; a lock file is not edited by hand",
            Error::ForeignSnapshot { .. } => {
                "this data directory belongs to another site; move the snapshot away or use another directory"
            }
            Error::Cancelled => "run it again to go on from here",
            Error::Fetch(e) => e.hint(),
            Error::Resolve(ResolveError::Conflict { .. }) => "ask for one of the two, or put them into different roles",
            Error::Resolve(ResolveError::NoRoot { .. } | ResolveError::Unsatisfied { .. }) => {
                "check the spelling, or add the suite or component that has the package"
            }
            Error::Pool(e) => e.hint(),
            Error::Disk(e) => e.hint(),
            _ => return None,
        })
    }
}
