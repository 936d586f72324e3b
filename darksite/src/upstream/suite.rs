//! Upstream's suites: their signed Release files and the indexes that these list.
//!
//! Unpacked indexes are cached under their digest in `<cache>/index`. The digest is checked on every read, so the folder may
//! be removed at any time.

use std::fs;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use host::files;
use jiff::Timestamp;

use crate::error::Error;
use crate::format::date::format_date;
use crate::format::index::MAX_INDEX;
use crate::format::layout::{flat, upstream_name};
use crate::paths::Paths;
use crate::upstream::fetch::{self, Fetch};
use crate::upstream::keyring::Keyring;
use crate::upstream::listed::Folder;
use crate::upstream::release;
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
    /// Told what is odd about a mirror.
    pub progress: &'a dyn Progress,
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
    pub fn open(&self, source: &Source) -> Result<Suite, Error> {
        let (bytes, url) = release::fetch(self.fetch, &source.folder())?;
        self.accept(source, bytes, &url)
    }

    /// Verifies a Release file that was fetched from `url`.
    pub fn accept(&self, source: &Source, bytes: Vec<u8>, url: &str) -> Result<Suite, Error> {
        let failed = |source| Error::Trust { url: url.to_owned(), source };
        let release = trust::verify_inrelease(&bytes, self.keyring, self.clock).map_err(failed)?;
        let date = format_date(release.date);
        self.progress.say(&format!("suite {}, dated {date}, signed by {}", source.suite, release.signed_by.join(" ")));
        for warning in &release.warnings {
            self.progress.say(&format!("suite {}: {warning}", source.suite));
        }
        let nameless = release.suite.is_empty() && release.codename.is_empty();
        if !nameless && release.suite != source.suite && release.codename != source.suite {
            let found = if release.codename.is_empty() { release.suite } else { release.codename };
            let asked = source.suite.clone();
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

    /// The plain text of an index, for example `main/binary-amd64/Packages`; None if the suite does not have it. Bytes that are
    /// not UTF-8 are replaced.
    pub fn text(&self, suite: &Suite, plain: &str) -> Result<Option<Arc<String>>, Error> {
        let unpacked = suite.release.files.get(plain);
        if let Some(large) = unpacked.filter(|l| l.size > MAX_INDEX) {
            let url = format!("{}/{plain}", suite.source.suite);
            return Err(Error::Size { url, found: large.size, expected: MAX_INDEX });
        }
        let kept = self.paths.zip(unpacked).map(|(p, listed)| (p.cache.join("index").join(listed.sum.to_string()), listed));
        if let Some(text) = kept.as_ref().and_then(|(path, listed)| read_kept(path, listed)) {
            return Ok(Some(text));
        }
        let url = suite.source.folder();
        let folder = Folder { fetch: self.fetch, url: &url, release: &suite.release };
        let Some((bytes, _)) = folder.index(plain, MAX_INDEX, self.progress)? else { return Ok(None) };
        if let Some((path, _)) = kept {
            // An index that cannot be cached is fetched again next time.
            let _ = files::replace_unsynced(&path, &bytes);
        }
        Ok(Some(Arc::new(lossy(bytes))))
    }

    /// Fetches and checks a file that the Release file lists.
    pub fn file(&self, suite: &Suite, name: &str, listed: &Listed) -> Result<(Vec<u8>, String), Error> {
        let url = suite.source.folder();
        Ok(Folder { fetch: self.fetch, url: &url, release: &suite.release }.file(name, listed)?)
    }
}

impl Source {
    /// The address of the folder with the suite's Release file.
    pub fn folder(&self) -> String {
        fetch::join(&self.mirror, &format!("dists/{}", self.suite))
    }
}

/// The text of an index, whose descriptions and maintainers need not be UTF-8.
pub fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// An index cached by an earlier run, if it is intact.
fn read_kept(path: &Utf8Path, listed: &Listed) -> Option<Arc<String>> {
    let bytes = files::read_limited(path, listed.size).ok()?;
    let intact = bytes.len() as u64 == listed.size && listed.sum.fits(&bytes);
    intact.then(|| Arc::new(lossy(bytes)))
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
        let signed = trust::open(&bytes).ok()?;
        // Without a date nothing says which of two is newer: the signature's time is not verified here.
        trust::read_release(&signed.text).ok().filter(|r| r.dated).map(|r| r.date)
    })
    .max()
}

/// Records which Release files were accepted, and removes cached indexes that none of them lists.
pub fn remember(paths: &Paths, suites: &[Suite]) -> Result<(), Error> {
    for suite in suites {
        files::replace_unsynced(&accepted_path(paths, &suite.source.suite), &suite.file.bytes)?;
    }
    let listed: std::collections::BTreeSet<String> =
        suites.iter().flat_map(|s| s.release.files.values().map(|f| f.sum.to_string())).collect();
    for entry in paths.cache.join("index").read_dir_utf8().into_iter().flatten().flatten() {
        if !listed.contains(entry.file_name()) {
            // Another run may have removed it.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}
