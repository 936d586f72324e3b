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

/// Maximum size of the record of an earlier capsule, in bytes.
pub const MAX_RECORD: u64 = cluster_seed::capsule::MAX_MANIFEST as u64;

/// Folder with the manifests of the capsules that a site exported, for `--since`.
pub const RECORDS: &str = "capsules";

/// The error when the operator stopped the job.
pub const STOPPED: &str = "stopped; run the same command again to resume";
