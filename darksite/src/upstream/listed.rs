//! Fetches files that a Release file lists, each checked against its digest there.

use cluster_seed::progress::Progress;

use crate::format::index::MAX_INDEX;
use crate::format::layout::by_sum;
use crate::format::sum::Sum;
use crate::upstream::fetch::{self, Fetch, FetchError};
use crate::upstream::trust::{Listed, Release};
use crate::upstream::unpack::{FORMS, unpack};

#[derive(Debug, thiserror::Error)]
pub enum ListedError {
    #[error("{url} has {found} bytes, but the signed Release file says {expected}")]
    Size { url: String, found: u64, expected: u64 },
    #[error("{url} has {} {found}, but the signed Release file says {expected}", .found.name())]
    Digest { url: String, found: Box<Sum>, expected: Box<Sum> },
    #[error("unpacking {url}")]
    Unpack {
        url: String,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

impl ListedError {
    /// True if another form or address of the file may still be good: this one is missing or has other bytes.
    fn is_passable(&self) -> bool {
        match self {
            ListedError::Fetch(e) => e.is_missing() || matches!(e, FetchError::TooLarge { .. }),
            _ => true,
        }
    }

    fn is_missing(&self) -> bool {
        matches!(self, ListedError::Fetch(e) if e.is_missing())
    }
}

/// A folder with a Release file.
#[derive(Clone, Copy)]
pub struct Folder<'a> {
    pub fetch: &'a dyn Fetch,
    /// Its address, without a slash at the end.
    pub url: &'a str,
    pub release: &'a Release,
}

impl Folder<'_> {
    /// Fetches one file under its name or its digest, whichever the server has. By-hash names stay valid while a mirror is
    /// being updated, but not every mirror has them.
    pub fn file(&self, name: &str, listed: &Listed) -> Result<(Vec<u8>, String), ListedError> {
        let plain = fetch::join(self.url, name);
        let hashed = fetch::join(self.url, &by_sum(name, &listed.sum));
        let limit = listed.size.min(MAX_INDEX);
        let get = |url: &str| {
            let bytes = fetch::get_all(self.fetch, url, limit)?;
            matches_listed(&bytes, listed, url).map(|()| bytes)
        };
        let (first, second) = if self.release.by_hash { (&hashed, &plain) } else { (&plain, &hashed) };
        let error = match get(first) {
            Ok(bytes) => return Ok((bytes, first.clone())),
            Err(e) if e.is_passable() => e,
            Err(e) => return Err(e),
        };
        match get(second) {
            Ok(bytes) => Ok((bytes, second.clone())),
            // The address that a person knows is the better one to name.
            Err(e) => Err(if self.release.by_hash || !e.is_passable() { e } else { error }),
        }
    }

    /// Fetches an index in the first form that is listed, there and intact, and unpacks it. None if no form is listed.
    pub fn index(&self, plain: &str, limit: u64, progress: &dyn Progress) -> Result<Option<(Vec<u8>, String)>, ListedError> {
        let unpacked = self.release.files.get(plain);
        let limit = unpacked.map_or(limit, |l| l.size.saturating_add(1));
        let mut failed: Option<ListedError> = None;
        for ending in FORMS {
            let name = format!("{plain}{ending}");
            let Some(listed) = self.release.files.get(&name) else { continue };
            let found = self.file(&name, listed).and_then(|(bytes, url)| match unpack(ending, bytes, limit) {
                Ok(bytes) => unpacked.map_or(Ok(()), |l| matches_listed(&bytes, l, &url)).map(|()| (bytes, url)),
                Err(source) => Err(ListedError::Unpack { url, source }),
            });
            match found {
                Ok((bytes, url)) => {
                    if let Some(e) = failed.filter(|e| !e.is_missing()) {
                        progress.say(&format!("{e}; {url} is used instead"));
                    }
                    return Ok(Some((bytes, url)));
                }
                Err(e) if e.is_passable() => failed = failed.filter(|f| !f.is_missing()).or(Some(e)),
                Err(e) => return Err(e),
            }
        }
        failed.map_or(Ok(None), Err)
    }
}

/// Checks size and digest.
pub fn matches_listed(bytes: &[u8], listed: &Listed, url: &str) -> Result<(), ListedError> {
    if bytes.len() as u64 != listed.size {
        return Err(ListedError::Size { url: url.to_owned(), found: bytes.len() as u64, expected: listed.size });
    }
    if listed.sum.fits(bytes) {
        return Ok(());
    }
    let (found, expected) = (Box::new(listed.sum.again(bytes)), Box::new(listed.sum));
    Err(ListedError::Digest { url: url.to_owned(), found, expected })
}
