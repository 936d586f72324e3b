//! Snapshots and extras as the pages, the API and container runtimes see them.

use std::sync::{Arc, PoisonError};

use cluster_seed::ids::Digest;
use cluster_seed::proof::ProofState;
use web::api::{ApiError, SnapshotView};

use super::{App, internal, unexpected};
use crate::extras::{self, Registry};
use crate::life::snapshots;
use crate::site::setting;

impl App {
    pub fn view_snapshots(&self) -> Result<Vec<SnapshotView>, ApiError> {
        let (held, damaged) = snapshots::all(&self.site, &self.store).map_err(unexpected)?;
        for one in damaged {
            tracing::warn!(snapshot = %one.id, why = %one.why, "a snapshot is damaged");
        }
        let view = |one: snapshots::Held| SnapshotView {
            id: one.manifest.id,
            suite: one.manifest.suite,
            packages: one.manifest.packages,
            bytes: one.manifest.bytes,
            in_use: one.in_use,
            proof: one.state,
            proven_at: one.proof.map(|p| p.made),
        };
        Ok(held.into_iter().map(view).collect())
    }

    /// What is proven of a snapshot; what cannot be read is not proven.
    pub(super) fn proof_of(&self, snapshot: Digest) -> ProofState {
        snapshots::one(&self.site, &self.store, snapshot).map_or(ProofState::Unproven, |held| held.state)
    }

    /// The extras in use, read again only when others come into use.
    pub(super) fn registry(&self) -> Option<Arc<Registry>> {
        let id: Digest = self.store.setting(setting::EXTRAS).map_err(internal).ok()??.parse().ok()?;
        let mut held = self.extras.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(registry) = held.as_ref().filter(|r| r.id == id) {
            return Some(registry.clone());
        }
        match extras::manifest(&self.site, &self.store, id) {
            Ok(manifest) => {
                let registry = Arc::new(Registry::new(&self.site, &manifest));
                *held = Some(registry.clone());
                Some(registry)
            }
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), extras = %id, "the extras in use cannot be served");
                None
            }
        }
    }
}
