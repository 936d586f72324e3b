//! A signed Debian snapshot: resolved from a real mirror, fetched, published and verified.
//!
//! ```text
//! roots -plan-> InRelease -> trust -> index -> resolve -> SnapshotLock -build-> blobs -> pool, dists -> sign -> verify
//! ```
//! Parsers and decisions are pure; bytes come in through [`fetch::Fetch`] and go out through [`disk`].

pub mod deb822;
pub mod version;
pub mod relation;
pub mod index;
pub mod keyring;
pub mod trust;
pub mod release_key;
pub mod fetch;
pub mod mirror;
pub mod resolve;
pub mod lock;
pub mod disk;
pub mod pool;
pub mod plan;
pub mod publish;
pub mod error;

pub use error::Error;
pub use fetch::{AnyFetch, Fetch, HttpLimits};
pub use keyring::Keyring;
pub use lock::SnapshotLock;
pub use mirror::{mirror_from_apt, security_mirror_from_apt};
pub use plan::{Paths, Plan, PlanRequest, PlannedPackage, Source, plan};
pub use publish::{Snapshot, build};
pub use release_key::ReleaseKey;
pub use trust::Clock;
