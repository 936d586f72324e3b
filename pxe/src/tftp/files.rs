//! The files served by TFTP: a name is a key in a table and never reaches a file system.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Names and contents, held in memory and shared by all transfers.
#[derive(Debug, Default)]
pub struct FileTable(RwLock<HashMap<String, Arc<[u8]>>>);

impl FileTable {
    pub fn new(files: impl IntoIterator<Item = (String, Arc<[u8]>)>) -> Self {
        FileTable(RwLock::new(files.into_iter().collect()))
    }

    /// Replaces all files at once. Running transfers keep the file they started with.
    pub fn replace(&self, files: impl IntoIterator<Item = (String, Arc<[u8]>)>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = files.into_iter().collect();
    }

    /// The file with this name; a leading `/`, which some firmware adds, is ignored.
    pub fn get(&self, name: &str) -> Option<Arc<[u8]>> {
        let files = self.0.read().unwrap_or_else(PoisonError::into_inner);
        files.get(name).or_else(|| files.get(name.strip_prefix('/')?)).cloned()
    }

    /// Whether a file with this name is served.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}
