//! Upstream's suites: their signed Release files and the indexes that these list.
//!
//! Unpacked indexes are cached under their digest in `<cache>/index`. The digest is checked on every read, so the folder may
//! be removed at any time.

use std::fs;
use std::io::Read;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use host::files;
use jiff::Timestamp;

use crate::error::Error;
use crate::format::date::format_date;
use crate::format::index::MAX_INDEX;
use crate::format::layout::{by_hash, flat, upstream_name};
use crate::paths::Paths;
use crate::upstream::fetch::{self, Fetch, FetchError};
use crate::upstream::keyring::Keyring;
use crate::upstream::trust::{self, Clock, Listed, MAX_INRELEASE, Release};

/// One suite of one mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// `http://host/path`, `https://…` or `file:///path`; `dists/` is below it.
    pub mirror: String,
    pub suite: String,
}

/// An upstream InRelease file as fetched; a snapshot contains it beside ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamFile {
    pub suite: String,
    pub bytes: Vec<u8>,
}

/// Reads suites.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    pub fetch: &'a dyn Fetch,
    pub keyring: &'a Keyring,
    pub clock: Clock,
    pub paths: Option<&'a Paths>,
    /// Accept a Release file that is older than one accepted before.
    pub allow_downgrade: bool,
}

/// A suite with a verified Release file.
pub struct Suite {
    pub source: Source,
    pub release: Release,
    pub file: UpstreamFile,
    pub digest: Digest,
}

impl Reader<'_> {
    /// Fetches and verifies the Release file of a suite.
    pub fn open(&self, source: &Source, progress: &dyn Progress) -> Result<Suite, Error> {
        let url = fetch::join(&source.mirror, &format!("dists/{}/InRelease", source.suite));
        let bytes = fetch::get_all(self.fetch, &url, MAX_INRELEASE as u64)?;
        self.accept(source, bytes, &url, progress)
    }

    /// Verifies a Release file that was fetched from `url`.
    pub fn accept(&self, source: &Source, bytes: Vec<u8>, url: &str, progress: &dyn Progress) -> Result<Suite, Error> {
        let failed = |source| Error::Trust { url: url.to_owned(), source };
        let release = trust::verify_inrelease(&bytes, self.keyring, self.clock).map_err(failed)?;
        let date = format_date(release.date);
        progress.say(&format!("suite {}, dated {date}, signed by {}", source.suite, release.signed_by.join(" ")));
        if release.suite != source.suite && release.codename != source.suite {
            let (asked, found) = (source.suite.clone(), release.codename);
            return Err(Error::WrongSuite { url: url.to_owned(), asked, found });
        }
        if let Some(seen) = self.paths.and_then(|p| newest_seen(p, &source.suite))
            && release.date < seen
            && !self.allow_downgrade
        {
            return Err(Error::Downgrade { url: url.to_owned(), suite: source.suite.clone(), found: release.date, seen });
        }
        let digest = Digest::of(&bytes);
        let file = UpstreamFile { suite: source.suite.clone(), bytes };
        Ok(Suite { source: source.clone(), release, file, digest })
    }

    /// The plain text of an index, for example `main/binary-amd64/Packages`; None if the suite does not have it.
    pub fn text(&self, suite: &Suite, plain: &str) -> Result<Option<Arc<String>>, Error> {
        let Some(unpacked) = suite.release.files.get(plain) else { return Ok(None) };
        if unpacked.size > MAX_INDEX {
            let url = format!("{}/{plain}", suite.source.suite);
            return Err(Error::Size { url, found: unpacked.size, expected: MAX_INDEX });
        }
        let kept = self.paths.map(|p| p.cache.join("index").join(unpacked.sha256.to_string()));
        if let Some(text) = kept.as_deref().and_then(|path| read_kept(path, unpacked)) {
            return Ok(Some(text));
        }
        let Some((bytes, url)) = self.packed(suite, plain, unpacked.size + 1)? else { return Ok(None) };
        matches_listed(&bytes, unpacked, &url)?;
        if let Some(path) = kept {
            // An index that cannot be cached is fetched again next time.
            let _ = files::replace_unsynced(&path, &bytes);
        }
        let text = String::from_utf8(bytes).map_err(|_| Error::NotUtf8 { url })?;
        Ok(Some(Arc::new(text)))
    }

    /// Fetches the first form that the Release file lists, and unpacks it.
    fn packed(&self, suite: &Suite, plain: &str, limit: u64) -> Result<Option<(Vec<u8>, String)>, Error> {
        let forms = [".xz", ".gz", ""].map(|ending| format!("{plain}{ending}"));
        let Some((name, listed)) = forms.iter().find_map(|n| Some((n, suite.release.files.get(n)?))) else { return Ok(None) };
        let (bytes, url) = self.file(suite, name, listed)?;
        let mut out = Vec::new();
        let read = match name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("xz") => liblzma::read::XzDecoder::new_multi_decoder(&bytes[..]).take(limit).read_to_end(&mut out),
            Some("gz") => flate2::read::MultiGzDecoder::new(&bytes[..]).take(limit).read_to_end(&mut out),
            _ => return Ok(Some((bytes, url))),
        };
        read.map_err(|source| Error::Unpack { url: url.clone(), source })?;
        Ok(Some((out, url)))
    }

    /// Fetches and checks a file that the Release file lists. By-hash names stay valid while a mirror is being updated, but
    /// not every mirror has them.
    pub fn file(&self, suite: &Suite, name: &str, listed: &Listed) -> Result<(Vec<u8>, String), Error> {
        let base = format!("dists/{}", suite.source.suite);
        let limit = listed.size.min(MAX_INDEX);
        let mut url = fetch::join(&suite.source.mirror, &format!("{base}/{}", by_hash(name, &listed.sha256)));
        let bytes = match fetch::get_all(self.fetch, &url, limit) {
            Err(FetchError::NotFound { .. }) => {
                url = fetch::join(&suite.source.mirror, &format!("{base}/{name}"));
                fetch::get_all(self.fetch, &url, limit)?
            }
            other => other?,
        };
        matches_listed(&bytes, listed, &url)?;
        Ok((bytes, url))
    }
}

/// An index cached by an earlier run, if it is intact.
fn read_kept(path: &Utf8Path, listed: &Listed) -> Option<Arc<String>> {
    let bytes = files::read_limited(path, listed.size).ok()?;
    let intact = bytes.len() as u64 == listed.size && Digest::of(&bytes) == listed.sha256;
    intact.then(|| String::from_utf8(bytes).ok()).flatten().map(Arc::new)
}

fn matches_listed(bytes: &[u8], listed: &Listed, url: &str) -> Result<(), Error> {
    if bytes.len() as u64 != listed.size {
        return Err(Error::Size { url: url.to_owned(), found: bytes.len() as u64, expected: listed.size });
    }
    let found = Digest::of(bytes);
    if found == listed.sha256 { Ok(()) } else { Err(Error::Digest { url: url.to_owned(), found, expected: listed.sha256 }) }
}

fn accepted_path(paths: &Paths, suite: &str) -> Utf8PathBuf {
    paths.cache.join("accepted").join(flat(suite))
}

/// The Release files of a suite in the snapshots.
fn in_snapshots(paths: &Paths, suite: &str) -> impl Iterator<Item = Utf8PathBuf> + use<> {
    let name = upstream_name(suite);
    paths.snapshots.read_dir_utf8().into_iter().flatten().flatten().map(move |e| e.path().join(&name))
}

/// A Release file of a suite that a snapshot contains, by its digest.
pub fn in_a_snapshot(paths: &Paths, suite: &str, digest: &Digest) -> Option<Vec<u8>> {
    let mut all = in_snapshots(paths, suite).filter_map(|path| files::read_limited(&path, MAX_INRELEASE as u64).ok());
    all.find(|bytes| Digest::of(bytes) == *digest)
}

/// Date of the newest Release file of a suite that was accepted before: by the last plan, or in a snapshot.
pub fn newest_seen(paths: &Paths, suite: &str) -> Option<Timestamp> {
    let all = std::iter::once(accepted_path(paths, suite)).chain(in_snapshots(paths, suite));
    all.filter_map(|path| {
        let bytes = files::read_limited(&path, MAX_INRELEASE as u64).ok()?;
        let message = trust::read_message(&bytes).ok()?;
        trust::read_release(&message.signed_text().replace("\r\n", "\n")).ok().map(|r| r.date)
    })
    .max()
}

/// Records which Release files were accepted, and removes cached indexes that none of them lists.
pub fn remember(paths: &Paths, suites: &[Suite]) -> Result<(), Error> {
    for suite in suites {
        files::replace_unsynced(&accepted_path(paths, &suite.source.suite), &suite.file.bytes)?;
    }
    let listed: std::collections::BTreeSet<String> =
        suites.iter().flat_map(|s| s.release.files.values().map(|f| f.sha256.to_string())).collect();
    for entry in paths.cache.join("index").read_dir_utf8().into_iter().flatten().flatten() {
        if !listed.contains(entry.file_name()) {
            // Another run may have removed it.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}
