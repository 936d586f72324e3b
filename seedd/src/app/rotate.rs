//! Changing the seed's own keys while it runs.

use std::sync::PoisonError;

use anyhow::Result;
use host::clock::now_ms;
use site::rotate::{AfterStep, Choice, Rotated, Rotation, committed};

use super::App;

impl App {
    /// Changes the keys and asks the daemon to reload the site, which unseals it. Then the peer list is signed again, and the
    /// interfaces get their new keys.
    ///
    /// # Errors
    /// If the passphrase is wrong, or the change is refused or fails. Before its transaction the old keys stay in force.
    pub fn rotate_keys(&self, who: &str, passphrase: &str, choice: &Choice, after: AfterStep<'_>) -> Result<Rotated> {
        let operator = self.site.keys().operator(passphrase)?;
        // Whoever uses the old keys finishes first; from here on, nobody encrypts to the old vault or signs with the old keys.
        let mut held = self.unsealed.write().unwrap_or_else(PoisonError::into_inner);
        let rotation =
            Rotation { site: &self.site, store: &self.store, operator: &operator, choice, now_ms: now_ms(), actor: who };
        let before = committed(&self.store)?;
        let done = rotation.run(after);
        // Even if moving the files failed, the new keys count after the transaction.
        if done.is_err() && committed(&self.store).is_ok_and(|last| last == before) {
            return done;
        }
        *held = None;
        drop(held);
        self.reload_with(Some(operator));
        done
    }
}
