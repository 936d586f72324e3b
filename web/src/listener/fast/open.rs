//! Files of snapshots and chunks that are not in the cache, opened without the router: the name is checked as usual, and
//! one system call opens it below its snapshot's directory or not at all.
//!
//! Anything that is not an ordinary file, is missing, or is reached by a symbolic link is left to the router, which knows
//! listings, redirects and error messages.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::Uri;
use camino::Utf8PathBuf;
use cluster_seed::ids::Digest;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use crate::api::MachineApi;
use crate::files;
use crate::files::etag::Answer;
use crate::files::handover::Sendable;
use crate::files::safe_path::SafePath;

use super::cache::Entry;
use super::head::write;

/// How often the daemon is asked for a snapshot's directory, in milliseconds.
const LOOK: u64 = 1_000;
/// Snapshots whose directories are kept open; one more closes all of them.
const MAX_ROOTS: usize = 8;
/// In every answer, as the router has it.
pub(crate) const NOSNIFF: &[u8] = b"X-Content-Type-Options: nosniff\r\n";

/// The directory of a snapshot.
pub(crate) struct Root {
    /// As the daemon named it.
    pub(crate) named: Utf8PathBuf,
    /// Without symbolic links.
    real: Utf8PathBuf,
    directory: OwnedFd,
}

/// The directory, if there was one, and when that was looked up.
type Known = (u64, Option<Arc<Root>>);

/// Where the files are.
pub(crate) struct Places {
    api: Arc<dyn MachineApi>,
    roots: Mutex<HashMap<Option<Digest>, Known>>,
}

impl Places {
    pub(crate) fn new(api: Arc<dyn MachineApi>) -> Self {
        Places { api, roots: Mutex::default() }
    }

    /// The directory of a snapshot, at most a second old.
    pub(crate) async fn root(&self, id: Option<Digest>, now: u64) -> Option<Arc<Root>> {
        if let Some((at, root)) = self.roots.lock().unwrap_or_else(PoisonError::into_inner).get(&id)
            && now.saturating_sub(*at) < LOOK
        {
            return root.clone();
        }
        let api = self.api.clone();
        let ask = move || Some(Arc::new(open_root(api.snapshot_dir(id)?)?));
        let root = tokio::task::spawn_blocking(ask).await.ok().flatten();
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        if roots.len() >= MAX_ROOTS && !roots.contains_key(&id) {
            roots.clear();
        }
        roots.insert(id, (now, root.clone()));
        root
    }

    /// The file at `path`, as the router would find it, with the head of its complete answer. `None` is not a refusal: ask
    /// the router.
    pub(crate) async fn open(&self, path: &str, now: u64) -> Option<Entry> {
        // The router must read the same path: nothing in it may have another meaning there.
        if path.parse::<Uri>().ok()?.path() != path {
            return None;
        }
        if let Some(name) = path.strip_prefix("/chunks/") {
            let digest: Digest = name.parse().ok()?;
            let path = self.api.chunk_path(digest)?;
            return entry(files::of_digest(&path, digest)?, None, now);
        }
        let (first, rest) = path.strip_prefix("/darksite/")?.split_once('/')?;
        let id = if first == "current" { None } else { Some(first.parse().ok()?) };
        let safe = SafePath::parse(rest).filter(|p| !p.directory)?;
        let root = self.root(id, now).await?;
        let found = below(&root, &safe)?;
        entry(found, id.is_none().then(|| root.named.clone()), now)
    }
}

fn open_root(named: Utf8PathBuf) -> Option<Root> {
    let real = named.canonicalize_utf8().ok()?;
    let directory = File::open(&real).ok()?.into();
    Some(Root { named, real, directory })
}

/// `RESOLVE_BENEATH` and the rest: openat2(2).
fn below(root: &Root, path: &SafePath) -> Option<Sendable> {
    let relative = path.names.join("/");
    // O_NONBLOCK: opening a FIFO would hang.
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let fd = openat2(&root.directory, relative.as_str(), OpenHow::new().flags(flags).resolve(resolve)).ok()?;
    files::of_snapshot(fd.into(), &root.real.join(relative), path.names.last()?)
}

fn entry(found: Sendable, root: Option<Utf8PathBuf>, now: u64) -> Option<Entry> {
    let mut head = write(&files::head(&found.of, Answer::Whole).ok()?);
    head.extend(NOSNIFF);
    Entry::new(&found, head, root, now)
}
