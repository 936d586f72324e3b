//! Changing the seed's own keys: those of planes, vault and release. The site key and the passphrase stay.
//!
//! The new files are staged in `keys/rotate/`. One transaction of the database takes over what belongs to them; that is the
//! moment of the change. Then the files are moved into place. Whoever opens the site after an interruption moves them, or
//! removes what was staged without a transaction. In between nobody uses the keys: the caller has them closed.

mod place;
mod stage;

pub use place::settle;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, anyhow};
use cluster_seed::events::EventKind;
use cluster_seed::ids::Digest;
use cluster_seed::secret::{AgeKey, seal_to};
use cluster_seed::wireguard::WgPublicKey;
use host::random;

use crate::hint::Hint as _;
use crate::mode::Mode;
use crate::store::events::NewEvent;
use crate::store::vault::Resealed;
use crate::store::{Store, Tx};
use crate::{Site, setting};
use stage::{Staged, stage};

/// Which keys to replace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Names of planes.
    pub planes: BTreeSet<String>,
    pub vault: bool,
    pub release: bool,
}

/// The same thing before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed<T> {
    pub old: T,
    pub new: T,
}

/// What was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Public keys per plane.
    pub planes: BTreeMap<String, Changed<WgPublicKey>>,
    /// The vault's recipient, and how much was encrypted again.
    pub vault: Option<(Changed<String>, Resealed)>,
    /// The fingerprint of the release key, and the snapshots that stay signed with an earlier one.
    pub release: Option<(Changed<String>, Vec<Digest>)>,
}

/// One change of keys.
pub struct Rotation<'a> {
    pub site: &'a Site,
    pub store: &'a Store,
    pub operator: &'a AgeKey,
    pub choice: &'a Choice,
    /// Unix milliseconds; dates the release key and the event.
    pub now_ms: u64,
    /// For the event log.
    pub actor: &'a str,
}

/// Called after every step that changes something on the disk, with its name. An error ends the work right there, as a power
/// cut would.
pub type AfterStep<'a> = &'a mut dyn FnMut(&str) -> Result<()>;

impl Rotation<'_> {
    /// Replaces the keys. The caller makes sure that no other thread of this process uses the private keys meanwhile.
    ///
    /// # Errors
    /// If nothing was chosen, a plane does not exist, the seed is not active, another job runs on the site, or something
    /// cannot be read or written. If [`committed`] differs from before, the new keys are in force all the same.
    pub fn run(&self, after: AfterStep<'_>) -> Result<Rotated> {
        // Exports read keys and rows; builds hold the release key in memory.
        let _alone = self.site.alone_with_blobs()?;
        let _lock = place::lock(self.site)?;
        place::finish(self.site, self.store)?;
        self.store.read(|tx| self.allowed(tx))?;
        let id = hex::encode(random::bytes::<16>()?);
        let staged = stage(self, &id, after)?;
        let rotated = self.store.write(|tx| self.commit(tx, &id, &staged)).context("changing the keys")?;
        after("transaction")?;
        let placed = place::put_in_place(self.site, after);
        placed.hint(
            "the new keys are in force; the next command that opens the site, such as `seedd node list`, finishes the change",
        )?;
        if let Err(error) = self.store.checkpoint() {
            tracing::warn!(%error, "emptying the journal of the database");
        }
        Ok(rotated)
    }

    fn allowed(&self, tx: &Tx<'_>) -> Result<()> {
        let Choice { planes, vault, release } = self.choice;
        if planes.is_empty() && !vault && !release {
            return Err(anyhow!("no key was chosen"));
        }
        if Mode::of(tx)? != Mode::Active {
            return Err(anyhow!("only the active seed of a site changes its keys"))
                .hint("run it there, then export a new capsule");
        }
        Ok(())
    }

    /// The transaction: what belongs to the new keys, the event, and which files count from now on.
    fn commit(&self, tx: &Tx<'_>, id: &str, staged: &Staged) -> Result<Rotated> {
        let mut rotated = staged.rotated.clone();
        if let Some((recipients, count)) = &mut rotated.vault {
            *count = tx.reseal_vault(|what, sealed| {
                let plain = staged.old_vault.open(sealed).with_context(|| format!("opening {what}"))?;
                seal_to(&recipients.new, plain.expose()).with_context(|| format!("encrypting {what}"))
            })?;
        }
        for text in rotated.sentences() {
            tx.event(self.now_ms, &NewEvent { actor: Some(self.actor), ..NewEvent::new(EventKind::KeysRotated, &text) })?;
        }
        tx.set(setting::ROTATED, id)?;
        Ok(rotated)
    }
}

impl Rotated {
    /// One sentence for each kind of key.
    pub fn sentences(&self) -> Vec<String> {
        let planes = self.planes.iter().map(|(plane, keys)| format!("the key of plane {plane} was changed to {}", keys.new));
        let vault = self.vault.iter().map(|(keys, count)| {
            let Resealed { identities, passwords } = count;
            format!(
                "the vault key was changed to {}: {identities} identities and {passwords} passwords encrypted again",
                keys.new
            )
        });
        let release = self.release.iter().map(|(keys, earlier)| {
            format!("the release key was changed from {} to {}: {} snapshots keep the old one", keys.old, keys.new, earlier.len())
        });
        planes.chain(vault).chain(release).collect()
    }
}

/// Id of the change that was committed last.
pub fn committed(store: &Store) -> Result<Option<String>> {
    Ok(store.setting(setting::ROTATED)?)
}

#[cfg(test)]
mod tests;
