//! Names of files in a Debian archive and in a snapshot.

use cluster_seed::ids::Digest;

use crate::format::sum::Sum;

/// `Origin` and `Label` of the Release files we publish.
pub const ORIGIN: &str = "Kubedos";
/// Bytes of a `snapshot.json`.
pub const MAX_MANIFEST: u64 = 1 << 20;

/// `main/binary-amd64/Packages` to `main/binary-amd64/by-hash/SHA256/<hex>`.
pub fn by_hash(name: &str, digest: &Digest) -> String {
    by_sum(name, &Sum::Sha256(*digest))
}

/// The same for either digest.
pub fn by_sum(name: &str, sum: &Sum) -> String {
    let dir = name.rsplit_once('/').map(|(dir, _)| format!("{dir}/")).unwrap_or_default();
    format!("{dir}by-hash/{}/{sum}", sum.field())
}

/// Where a snapshot keeps an upstream InRelease file.
pub fn upstream_name(suite: &str) -> String {
    format!("upstream/{}.InRelease", flat(suite))
}

/// A name with slashes as a file name.
pub fn flat(name: &str) -> String {
    name.replace('/', "_")
}
