//! How the receivers do.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// What is known of the receivers since the daemon started, by URL.
#[derive(Default)]
pub struct Hooks(Mutex<HashMap<String, Standing>>);

/// The attempts of the event that is sent now.
#[derive(Clone, Default)]
pub struct Standing {
    pub attempts: u32,
    pub why: Option<String>,
}

impl Hooks {
    pub fn set(&self, url: &str, standing: Standing) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(url.to_owned(), standing);
    }

    pub fn of(&self, url: &str) -> Standing {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(url).cloned().unwrap_or_default()
    }
}
