//! Snapshots and extras for the web interface, the API and container runtimes.

use std::sync::{Arc, PoisonError};

use cluster_seed::extras::Origin;
use cluster_seed::ids::Digest;
use cluster_seed::proof::{ProofState, RoleProof};
use cluster_seed::seal::key_text;
use site::extras::{self, Registry};
use site::snapshots;
use web::api::{ApiError, DamagedView, ExtraView, PackagesView, ProvenRole, SnapshotView};

use super::{App, unexpected};

impl App {
    pub fn view_packages(&self) -> Result<PackagesView, ApiError> {
        let (mut held, damaged) = snapshots::all(&self.site, &self.store).map_err(unexpected)?;
        held.sort_by_key(|one| !one.in_use);
        for one in &damaged {
            tracing::warn!(snapshot = %one.id, why = %one.why, "a snapshot is damaged");
        }
        let extras = extras::current(&self.site, &self.store).unwrap_or_else(|error| {
            tracing::error!(error = format!("{error:#}"), "the extras in use cannot be read");
            None
        });
        let extra = |o: Origin| ExtraView {
            kind: o.kind,
            name: o.name,
            version: o.version,
            bytes: o.size,
            sha256: o.sha256,
            signed_by: o.signed_by,
        };
        Ok(PackagesView {
            snapshots: held.into_iter().map(view).collect(),
            damaged: damaged.into_iter().map(|d| DamagedView { id: d.id, why: d.why }).collect(),
            extras: extras.map(|m| m.origins.into_iter().map(extra).collect()).unwrap_or_default(),
        })
    }

    /// True if the snapshot's manifest is signed by its maker. A manifest that passed once is not read again.
    pub(super) fn may_serve(&self, id: Digest) -> bool {
        let served = || self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if served().contains(&id) {
            return true;
        }
        let checked = snapshots::one(&self.site, &self.store, id).map(|_| served().insert(id));
        if let Err(error) = &checked {
            tracing::error!(error = format!("{error:#}"), snapshot = %id, "a damaged snapshot is not served");
        }
        checked.is_ok()
    }

    /// The proof of a snapshot; a proof that cannot be read counts as none.
    pub(super) fn proof_of(&self, snapshot: Digest) -> ProofState {
        snapshots::one(&self.site, &self.store, snapshot).map_or(ProofState::Unproven, |held| held.state)
    }

    /// The extras in use, cached until others are put in use.
    pub(super) fn registry(&self) -> Option<Arc<Registry>> {
        let id = self.store.extras().ok()??;
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

fn view(one: snapshots::Held) -> SnapshotView {
    let role = |(role, outcome): (String, RoleProof)| match outcome {
        RoleProof::Installed { packages, .. } => ProvenRole { role, packages: Some(packages), why: None },
        RoleProof::Failed { why } => ProvenRole { role, packages: None, why: Some(why) },
    };
    SnapshotView {
        id: one.manifest.id,
        suite: one.manifest.suite,
        packages: one.manifest.packages,
        bytes: one.manifest.bytes,
        in_use: one.in_use,
        maker: one.maker.map(|k| key_text(&k)),
        proof: one.state,
        proven_at: one.proof.as_ref().map(|p| p.made),
        roles: one.proof.map(|p| p.roles.into_iter().map(role).collect()).unwrap_or_default(),
    }
}
