//! A signed Debian snapshot: resolved from a real mirror, fetched, published and verified.
//!
//! ```text
//! roots -plan-> InRelease -> trust -> index -> resolve -> SnapshotLock -build-> blobs -> pool, dists -> sign -> verify
//! ```
//! In reading order. [`mod@format`] is pure, and [`mod@plan`] decides without touching a file: it gets its bytes from [`upstream`].
//! Files are read and written in [`upstream`], [`publish`], [`audit`] and [`extras`]; the network is used in `upstream::http`
//! alone.

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

// Directories of the seed.
pub mod paths;

// What can go wrong, and what to do about it.
pub mod error;

// Text formats: control data, versions, relations, indexes, lock files.
pub mod format;

// Mirrors: fetching, signatures, suites, and downloads into the blob store.
pub mod upstream;

// From roots or a lock to a plan: which packages, and why.
pub mod plan;

// From a plan to a signed tree on disk.
pub mod publish;

// Verification, search for secrets, bill of materials.
pub mod audit;

// Files, images, charts and packages from elsewhere.
pub mod extras;

// What Kubernetes needs of them, and what is missing.
pub mod kubernetes;

pub use audit::verify::{Report, VerifyError, verify};
pub use audit::{lint, sbom};
pub use error::Error;
pub use format::layout::MAX_MANIFEST;
pub use format::lock::SnapshotLock;
pub use format::{deb822, index, lock, relation, version};
pub use paths::Paths;
pub use plan::diff::{self, Difference, diff};
pub use plan::draft::Plan;
pub use plan::explain::{Explained, explain};
pub use plan::from_lock::from_lock;
pub use plan::from_roots::plan;
pub use plan::request::PlanRequest;
pub use publish::build::{Snapshot, build};
pub use publish::release_key::ReleaseKey;
pub use publish::saved::{read_lock, read_snapshot, write_lock};
pub use publish::shelf;
pub use upstream::fetch::{DirFetch, Fetch};
pub use upstream::http::{AnyFetch, HttpLimits};
pub use upstream::keyring::Keyring;
pub use upstream::mirror::{has_pockets, mirror_from_apt, security_beside, security_mirror_from_apt};
pub use upstream::suite::Source;
pub use upstream::trust::{self, Clock};
