//! What is kept beside a lock: upstream's Release files and the indexes to publish.
//!
//! With them, the snapshot can be built on any day, as long as the packages can be fetched.

use std::collections::BTreeMap;

use crate::format::texts::{IndexText, Texts};
use crate::upstream::suite::UpstreamFile;

/// Files beside a lock, each checked against it.
#[derive(Debug, Default)]
pub struct Companion {
    /// By suite.
    pub(crate) releases: BTreeMap<String, UpstreamFile>,
    /// All of the lock's indexes, or none.
    pub(crate) indexes: Option<(Vec<IndexText>, Texts)>,
}
