//! One change of keys, from the first key to the last file.

use anyhow::{Context as _, Result, anyhow};
use cluster_seed::events::EventKind;
use cluster_seed::secret::seal_to;
use host::random;

use super::place;
use super::stage::{Staged, stage};
use super::what::{AfterStep, Choice, Rotated, Rotation};
use crate::hint::Hint as _;
use crate::mode::Mode;
use crate::setting;
use crate::store::events::NewEvent;
use crate::store::{Store, Tx};

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
            "the new keys are in force; the next command that opens the site, such as `seedd token list`, finishes the change",
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

/// Id of the change that was committed last.
pub fn committed(store: &Store) -> Result<Option<String>> {
    Ok(store.setting(setting::ROTATED)?)
}
