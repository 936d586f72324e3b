//! A signed Debian snapshot: resolved from a real mirror, fetched, published and verified.
//!
//! ```text
//! roots -plan-> InRelease -> trust -> index -> resolve -> SnapshotLock -build-> blobs -> pool, dists -> sign -> verify
//! ```
//! Parsers and decisions are pure; bytes come in through [`fetch::Fetch`] and go out through [`disk`].
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod choose;
pub mod companion;
mod contents;
pub mod deb822;
pub mod diff;
pub mod disk;
pub mod error;
pub mod explain;
pub mod extras;
pub mod fetch;
pub mod index;
pub mod installer;
pub mod keyring;
pub mod lint;
pub mod lock;
mod locked;
pub mod mirror;
pub mod pack;
pub mod plan;
pub mod pool;
pub mod publish;
pub mod relation;
pub mod release_key;
pub mod resolve;
pub mod sbom;
pub mod shelf;
mod stub;
mod texts;
mod translation;
pub mod trust;
pub mod upstream;
pub mod verify;
pub mod version;

pub use companion::{read_lock, write_lock};
pub use diff::{Difference, diff};
pub use error::Error;
pub use explain::{Explained, explain, read_snapshot};
pub use fetch::{AnyFetch, DirFetch, Fetch, HttpLimits};
pub use keyring::Keyring;
pub use lock::SnapshotLock;
pub use locked::from_lock;
pub use mirror::{has_pockets, mirror_from_apt, security_beside, security_mirror_from_apt};
pub use plan::{Paths, Plan, PlanRequest, Source, plan};
pub use publish::{Snapshot, build};
pub use release_key::ReleaseKey;
pub use trust::Clock;
pub use verify::{Report, VerifyError, verify};
