//! Which outputs were verified, and with what result.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use host::clock::now;
use site::outputs::Held;
use web::api::CheckView;

/// Results of verifications since the process was started, by name of the output.
#[derive(Default)]
pub struct Checked(Mutex<BTreeMap<String, CheckView>>);

impl Checked {
    pub fn of(&self, name: &str) -> Option<CheckView> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub fn note(&self, name: &str, wrong: Option<String>) {
        let check = CheckView { at: now(), wrong };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), check);
    }

    /// Forgets outputs that are gone.
    pub fn keep(&self, held: &[Held]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|name, _| held.iter().any(|h| h.output.dir.file_name() == Some(name)));
    }
}
