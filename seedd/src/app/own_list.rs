//! The peer list that the seed has signed. It grows with the nodes, and each of them asks for it every few seconds: it is opened
//! once, not for each message.

use std::sync::{Arc, Mutex, PoisonError};

use cluster_seed::ids::Digest;
use cluster_seed::peers::PeersFile;
use cluster_seed::seal::Sealed;
use site::setting;
use site::store::{Generation, Tx};
use web::api::ApiError;

use super::{App, unexpected};

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

impl App {
    /// `None` until the seed was unsealed once.
    pub(super) fn own_list(&self, tx: &Tx<'_>) -> Result<Option<Arc<OwnList>>, ApiError> {
        let generation = self.store.generation(tx)?;
        let mut opened = self.own_list.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, own)) = opened.as_ref().filter(|(same, _)| *same == generation) {
            return Ok(own.clone());
        }
        let before = opened.take().and_then(|(_, own)| own);
        let own = match tx.setting(setting::PEERS)? {
            Some(text) => Some(match before.filter(|own| own.text == text) {
                Some(own) => own,
                None => Arc::new(self.open_list(text)?),
            }),
            None => None,
        };
        *opened = Some((generation, own.clone()));
        Ok(own)
    }

    fn open_list(&self, text: String) -> Result<OwnList, ApiError> {
        let list: Sealed<PeersFile> = serde_json::from_str(&text).map_err(unexpected)?;
        let peers = list.open(&self.site_key).map_err(unexpected)?;
        Ok(OwnList { numbers: (peers.epoch, peers.version), digest: list.digest(), list, text })
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::super::testing::{PASSPHRASE, app};
    use super::*;

    #[test]
    fn the_list_is_opened_once_and_what_was_undone_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let app = app(Utf8Path::from_path(dir.path()).unwrap());
        let read = || app.store.read(|tx| app.own_list(tx)).unwrap();
        assert!(read().is_none());
        app.unseal_with(PASSPHRASE, "test").unwrap();
        let first = read().unwrap();
        app.store.set("another", "setting").unwrap();
        assert!(Arc::ptr_eq(&first, &read().unwrap()), "its text is the same");
        let undone: Result<(), ApiError> = app.store.write(|tx| {
            tx.unset(setting::PEERS)?;
            assert!(app.own_list(tx)?.is_none());
            Err(ApiError::NotFound { what: "node" })
        });
        assert!(undone.is_err());
        assert_eq!(read().unwrap().numbers, first.numbers);
    }
}
