//! The highest epoch of its site that a machine has seen, with the site's signature. A seed of an older epoch is refused and
//! sent this proof, so that it stops issuing.

use camino::Utf8Path;
use cluster_seed::epoch::{EpochProof, EpochReply};
use cluster_seed::seal::{SealError, Sealed, VerifyingKey};
use host::files::{FileError, PRIVATE, read_limited, write_atomic};

use crate::http::{Http, chain};

/// Why the proof of an epoch could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum EpochError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the epoch is not signed by this site")]
    Seal(#[from] SealError),
    #[error("the proof of the epoch cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

const FILE: &str = "epoch.json";
const PATH: &str = "/api/v1/epoch";
/// Largest proof read, in bytes.
const MAX_PROOF: u64 = 4096;

/// Reads the stored epoch of the site with this key.
pub fn seen(dir: &Utf8Path, site: &VerifyingKey) -> Option<Offered> {
    let sealed: Sealed<EpochProof> = serde_json::from_slice(&read_limited(&dir.join(FILE), MAX_PROOF).ok()?).ok()?;
    Some((sealed.open(site).ok()?.epoch, sealed))
}

/// Stores a proof if this site signed it and it is newer than the stored one.
pub fn keep(dir: &Utf8Path, site: &VerifyingKey, sealed: &Sealed<EpochProof>) -> Result<(), EpochError> {
    let epoch = sealed.open(site)?.epoch;
    if seen(dir, site).is_some_and(|(held, _)| held >= epoch) {
        return Ok(());
    }
    Ok(write_atomic(&dir.join(FILE), &serde_json::to_vec(sealed)?, PRIVATE)?)
}

/// An epoch, and its proof.
pub type Offered = (u64, Sealed<EpochProof>);

/// The epoch that the seed can prove; `None` if it cannot, such as a seed that was never unsealed.
pub fn of_seed(http: &Http, site: &VerifyingKey) -> Option<Offered> {
    let sealed: Sealed<EpochProof> = http.get_json(PATH, MAX_PROOF).ok()?;
    Some((sealed.open(site).ok()?.epoch, sealed))
}

/// Sends a seed of an older epoch the proof that another was promoted. The seed trusts only its site's signature.
pub fn tell(http: &Http, proof: &Sealed<EpochProof>) {
    match http.post_json::<EpochReply>(PATH, proof) {
        Ok(reply) => tracing::warn!(epoch = reply.epoch, fenced = reply.fenced, "sent the proof to a seed of an older epoch"),
        Err(e) => tracing::debug!(error = %chain(&e), "proof not sent to a seed of an older epoch"),
    }
}
