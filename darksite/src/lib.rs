//! A signed Debian snapshot: resolved from a real mirror, fetched, published and verified.
//!
//! ```text
//! roots -plan-> InRelease -> trust -> index -> resolve -> SnapshotLock -build-> blobs -> pool, dists -> sign -> verify
//! ```
//! Parsers and decisions are pure; bytes come in through [`fetch::Fetch`] and go out through [`disk`].

pub mod deb822;
pub mod disk;
pub mod error;
pub mod extras;
pub mod fetch;
pub mod index;
pub mod keyring;
pub mod lint;
pub mod lock;
pub mod mirror;
pub mod plan;
pub mod pool;
pub mod publish;
pub mod relation;
pub mod release_key;
pub mod resolve;
pub mod sbom;
pub mod trust;
pub mod verify;
pub mod version;

pub use error::Error;
pub use fetch::{AnyFetch, DirFetch, Fetch, HttpLimits};
pub use keyring::Keyring;
pub use lock::SnapshotLock;
pub use mirror::{mirror_from_apt, security_mirror_from_apt};
pub use plan::{Paths, Plan, PlanRequest, PlannedPackage, Source, plan};
pub use publish::{Snapshot, build};
pub use release_key::ReleaseKey;
pub use trust::Clock;
pub use verify::{Report, VerifyError, verify};
