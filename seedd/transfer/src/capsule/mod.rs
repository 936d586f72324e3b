//! A whole site as one file for another site: export, verify, import. The format is `cluster_seed::capsule`.

pub mod collect;
pub mod export;
pub mod import;
pub(crate) mod intake;
pub mod parts;
pub mod pieces;
pub mod promote;
pub mod read;
pub mod records;
pub mod shelf;
pub(crate) mod stage;

/// Largest record of an earlier capsule read back, in bytes.
pub const MAX_RECORD: u64 = cluster_seed::capsule::MAX_MANIFEST as u64;

/// Where a site keeps the manifests of the capsules it made, for `--since`.
pub const RECORDS: &str = "capsules";

/// Said when the operator stopped the work.
pub const STOPPED: &str = "stopped; the same command goes on where it was";
