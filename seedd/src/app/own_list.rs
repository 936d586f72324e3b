//! The peer list that the seed has signed. It grows with the nodes, and each of them asks for it every few seconds: it is opened
//! once, not for each message.

use std::sync::{Arc, Mutex, PoisonError};

use cluster_seed::ids::Digest;
use cluster_seed::peers::PeersFile;
use cluster_seed::seal::{SealError, Sealed, VerifyingKey};
use site::setting;
use site::store::{Generation, Store, Tx};
use web::api::ApiError;

/// The newest list.
pub(super) struct OwnList {
    pub list: Sealed<PeersFile>,
    /// Epoch and version.
    pub numbers: (u64, u64),
    /// See [`Sealed::digest`].
    pub digest: Digest,
    text: String,
}

/// The list that was opened last, and when it was compared with the database.
#[derive(Default)]
pub(super) struct Opened(Mutex<Option<(Generation, Option<Arc<OwnList>>)>>);

impl Opened {
    /// `None` until the seed was unsealed once.
    ///
    /// # Errors
    /// If the list cannot be read, or is not signed by `site`.
    pub(super) fn newest(&self, store: &Store, tx: &Tx<'_>, site: &VerifyingKey) -> Result<Option<Arc<OwnList>>, ApiError> {
        let generation = store.generation(tx)?;
        let mut opened = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, own)) = opened.as_ref().filter(|(same, _)| *same == generation) {
            return Ok(own.clone());
        }
        let before = opened.take().and_then(|(_, own)| own);
        let own = match tx.setting(setting::PEERS)? {
            Some(text) => Some(match before.filter(|own| own.text == text) {
                Some(own) => own,
                None => Arc::new(OwnList::open(text, site)?),
            }),
            None => None,
        };
        *opened = Some((generation, own.clone()));
        Ok(own)
    }
}

impl OwnList {
    fn open(text: String, site: &VerifyingKey) -> Result<Self, ApiError> {
        let bad = |e: SealError| ApiError::Internal(format!("opening the signed peer list: {e}"));
        let list: Sealed<PeersFile> = serde_json::from_str(&text).map_err(|e| bad(e.into()))?;
        let peers = list.open(site).map_err(bad)?;
        Ok(OwnList { numbers: (peers.epoch, peers.version), digest: list.digest(), list, text })
    }
}
