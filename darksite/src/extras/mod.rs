//! Extras: files, OCI images, Helm charts and packages of other repositories, each pinned by its sha256. They are fetched on
//! the connected side, searched for secrets, and published as one immutable, signed set named by its content.
//!
//! ```text
//! extras/<id>/extras.json                      Sealed<ExtrasManifest>
//! extras/<id>/tree/{files,charts,apt}/…        served below /darksite/extras/
//! extras/<id>/oci/sha256/<digest>              blobs of images, served through the registry API
//! ```
//! Every file is a link to its blob, so a set needs no space of its own.

pub mod bundle;
mod chart_index;
pub mod charts;
pub mod control;
pub mod debs;
mod error;
mod get;
mod locate;
pub mod oci;
mod oci_choice;
mod oci_document;
pub mod offers;
mod pull;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::extras::{ExtrasManifest, ExtrasSpec, FILE, ImageTag, OCI, OciManifest, Origin, SignatureSpec, TREE, VERSION};
use cluster_seed::ids::Digest;
use cluster_seed::manifest::BootFile;
use cluster_seed::progress::Progress;
use cluster_seed::seal::{Sealed, SigningKey};
use host::blobs::blob_path;
use host::files::{self, FileError, failed};

pub use error::ExtrasError;
pub use get::{MAX_EXTRA, MAX_SIGNED};

use crate::audit::lint;
use crate::paths::Paths;
use crate::publish::release_key::ReleaseKey;
use crate::upstream::fetch::{Fetch, published};
use crate::upstream::keyring::{Keyring, MAX_KEYRING};
use crate::upstream::trust::Clock;
use get::Getter;

/// What to fetch and publish.
pub struct Job<'a> {
    pub spec: &'a ExtrasSpec,
    pub paths: &'a Paths,
    /// The folder of all sets.
    pub sets: &'a Utf8Path,
    pub fetch: &'a dyn Fetch,
    pub clock: Clock,
    pub release_key: &'a ReleaseKey,
    pub site_key: &'a SigningKey,
    /// The set in use: its content need not be fetched and searched again.
    pub previous: Option<&'a ExtrasManifest>,
    pub progress: &'a dyn Progress,
}

/// A fetched file.
struct Got {
    origin: Origin,
    blob: Utf8PathBuf,
}

/// An unfinished set.
struct Set {
    dir: Utf8PathBuf,
    files: BTreeMap<String, BootFile>,
}

impl Set {
    fn note(&mut self, name: String, size: u64, sha256: Digest) {
        self.files.insert(name.clone(), BootFile { name, size, sha256 });
    }

    fn link(&mut self, blob: &Utf8Path, name: String, size: u64, sha256: Digest) -> Result<(), FileError> {
        files::link_creating(blob, &self.dir.join(&name))?;
        self.note(name, size, sha256);
        Ok(())
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        files::write_synced(&self.dir.join(name), bytes)?;
        self.note(name.to_owned(), bytes.len() as u64, Digest::of(bytes));
        Ok(())
    }
}

/// Fetches what is missing and publishes the set; false if the set existed before.
pub fn build(job: &Job<'_>) -> Result<(ExtrasManifest, bool), ExtrasError> {
    let tmp = job.paths.tmp.join(format!("extras-{}", std::process::id()));
    let built = build_in(job, &tmp);
    if built.is_err() {
        // The build's error is the one to report.
        let _ = fs::remove_dir_all(&tmp);
    }
    built
}

fn build_in(job: &Job<'_>, tmp: &Utf8Path) -> Result<(ExtrasManifest, bool), ExtrasError> {
    let get = Getter { fetch: job.fetch, blobs: &job.paths.blobs, tmp: &job.paths.tmp, progress: job.progress, clock: job.clock };
    job.progress.begin("fetching extras", None);
    let keys = keys(job, &get)?;
    remove(tmp)?;
    let mut set = Set { dir: tmp.to_owned(), files: BTreeMap::new() };
    files::create_dirs(&set.dir)?;
    let mut origins = Vec::new();
    files(job, &get, &keys, &mut set, &mut origins)?;
    charts(job, &get, &keys, &mut set, &mut origins)?;
    let (images, manifests) = images(job, &get, &keys, &mut set, &mut origins)?;
    let serial = packages(job, &get, &keys, &mut set, &mut origins)?;
    job.progress.end();
    origins.sort_by(|a, b| (&a.kind, &a.name, &a.version).cmp(&(&b.kind, &b.name, &b.version)));
    let files = std::mem::take(&mut set.files).into_values().collect();
    let mut manifest = ExtrasManifest { version: VERSION, id: Digest([0; 32]), serial, origins, images, manifests, files };
    manifest.id = Digest::of(manifest.naming().as_bytes());
    manifest.check().map_err(|why| ExtrasError::content("the set", why))?;
    let place = job.sets.join(manifest.id.to_string());
    let fresh = !place.is_dir();
    if fresh {
        files::write_synced(
            &tmp.join(FILE),
            &serde_json::to_vec(&Sealed::sign(&manifest, job.site_key)?).map_err(|e| ExtrasError::Seal(e.into()))?,
        )?;
        files::sync_file_system(tmp)?;
        files::create_dirs(job.sets)?;
        fs::rename(tmp, &place).map_err(failed("naming", &place))?;
        files::sync_dir(job.sets)?;
    } else {
        remove(tmp)?;
    }
    Ok((manifest, fresh))
}

fn remove(dir: &Utf8Path) -> Result<(), FileError> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed("removing", dir)(e)),
        _ => Ok(()),
    }
}

/// The certificates of `extras.keys`.
fn keys(job: &Job<'_>, get: &Getter<'_>) -> Result<BTreeMap<String, Keyring>, ExtrasError> {
    let mut keys = BTreeMap::new();
    for (name, key) in &job.spec.keys {
        let (blob, _) = get.blob(&key.url, key.sha256)?;
        let bytes = files::read_limited(&blob, MAX_KEYRING as u64)?;
        let keyring = Keyring::from_bytes(&bytes).map_err(|source| ExtrasError::Key { name: name.clone(), source })?;
        keys.insert(name.clone(), keyring);
    }
    Ok(keys)
}

impl Job<'_> {
    /// Fetches a file, verifies its signature and searches it for secrets.
    fn take(
        &self,
        get: &Getter<'_>,
        keys: &BTreeMap<String, Keyring>,
        what: (&str, &str, &str),
        (url, sha256): (&str, Digest),
        signature: Option<&SignatureSpec>,
    ) -> Result<Got, ExtrasError> {
        let (kind, name, version) = what;
        let (blob, size) = get.blob(url, sha256)?;
        let same = |o: &&Origin| o.kind == kind && o.name == name && o.version == version && o.sha256 == sha256;
        let before = self.previous.and_then(|p| p.origins.iter().find(same));
        if let Some(origin) = before.filter(|o| signature.is_none() || o.signed_by.is_some()) {
            // Verified when it was published.
            return Ok(Got { origin: Origin { url: published(url), ..origin.clone() }, blob });
        }
        let signed_by = match signature {
            None => None,
            Some(spec) => {
                let keyring = keys.get(&spec.key).ok_or_else(|| ExtrasError::content(name, "its key is not in extras.keys"))?;
                Some(get.signature(url, &blob, spec, keyring)?)
            }
        };
        let label = format!("{kind} {name}");
        self.look(&label, &blob, sha256)?;
        let origin = Origin {
            kind: kind.to_owned(),
            name: name.to_owned(),
            version: version.to_owned(),
            url: published(url),
            sha256,
            size,
            signed_by,
        };
        Ok(Got { origin, blob })
    }

    /// Rejects secrets. Files of the set in use were searched when they were published.
    fn look(&self, label: &str, blob: &Utf8Path, sha256: Digest) -> Result<(), ExtrasError> {
        let known = self.previous.is_some_and(|p| p.origins.iter().any(|o| o.sha256 == sha256));
        let allowed = self.spec.lint_allow.iter().any(|a| a.sha256 == sha256);
        if known || allowed {
            return Ok(());
        }
        let found = lint::file(blob, label)?;
        if found.is_empty() { Ok(()) } else { Err(ExtrasError::Secrets(found)) }
    }
}

type Keys = BTreeMap<String, Keyring>;

fn files(job: &Job<'_>, get: &Getter<'_>, keys: &Keys, set: &mut Set, origins: &mut Vec<Origin>) -> Result<(), ExtrasError> {
    for file in &job.spec.files {
        let got = job.take(get, keys, ("file", &file.path, ""), (&file.url, file.sha256), file.signature.as_ref())?;
        set.link(&got.blob, format!("{TREE}/files/{}", file.path), got.origin.size, file.sha256)?;
        origins.push(got.origin);
    }
    Ok(())
}

fn charts(job: &Job<'_>, get: &Getter<'_>, keys: &Keys, set: &mut Set, origins: &mut Vec<Origin>) -> Result<(), ExtrasError> {
    let mut list = Vec::new();
    for chart in &job.spec.charts {
        let what = ("chart", chart.name.as_str(), chart.version.as_str());
        let got = job.take(get, keys, what, (&chart.url, chart.sha256), chart.signature.as_ref())?;
        let file = format!("{}-{}.tgz", chart.name, chart.version);
        set.link(&got.blob, format!("{TREE}/charts/{file}"), got.origin.size, chart.sha256)?;
        let (yaml, odd) = charts::read(&got.blob, &chart.name, &chart.version)?;
        odd.iter().for_each(|odd| job.progress.say(&format!("chart {} {}: {odd}", chart.name, chart.version)));
        list.push(charts::Chart { yaml, digest: chart.sha256, file });
        origins.push(got.origin);
    }
    if list.is_empty() {
        return Ok(());
    }
    list.sort_by(|a, b| a.file.cmp(&b.file));
    let index = charts::index(&list).map_err(|e| ExtrasError::content("index.yaml", e))?;
    Ok(set.write(&format!("{TREE}/charts/index.yaml"), index.as_bytes())?)
}

type Images = (Vec<ImageTag>, Vec<OciManifest>);

fn images(job: &Job<'_>, get: &Getter<'_>, keys: &Keys, set: &mut Set, origins: &mut Vec<Origin>) -> Result<Images, ExtrasError> {
    let store = oci::Store { blobs: get.blobs, tmp: get.tmp, progress: job.progress };
    let (mut tags, mut manifests, mut taken) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
    for spec in &job.spec.images {
        let label = format!("image {}:{}", spec.name, spec.tag);
        let image = match held(job, &store, spec) {
            Some((origin, image)) => {
                origins.push(origin);
                image
            }
            None => {
                let what = ("image", spec.name.as_str(), spec.tag.as_str());
                let got = job.take(get, keys, what, (&spec.url, spec.sha256), spec.signature.as_ref())?;
                let image = oci::Layout::open(&got.blob, &label)?.take_named(&spec.name, &spec.tag, &store)?;
                origins.push(got.origin);
                image
            }
        };
        for (digest, size) in &image.blobs {
            if taken.insert(*digest) {
                set.link(&blob_path(get.blobs, digest), format!("{OCI}/sha256/{digest}"), *size, *digest)?;
            }
        }
        manifests.extend(image.manifests.into_iter().map(|m| (m.digest, m)));
        tags.push(ImageTag { name: spec.name.clone(), tag: spec.tag.clone(), digest: image.digest });
    }
    tags.sort_by(|a, b| (&a.name, &a.tag).cmp(&(&b.name, &b.tag)));
    Ok((tags, manifests.into_values().collect()))
}

/// An image of the set in use, from the same archive: its blobs are in the store, so the archive is not needed.
fn held(job: &Job<'_>, store: &oci::Store<'_>, spec: &cluster_seed::extras::ImageSpec) -> Option<(Origin, oci::Image)> {
    let previous = job.previous?;
    let same = |o: &&Origin| o.kind == "image" && o.name == spec.name && o.version == spec.tag && o.sha256 == spec.sha256;
    let origin = previous.origins.iter().find(same)?;
    let tag = previous.images.iter().find(|t| t.name == spec.name && t.tag == spec.tag)?;
    let top = previous.manifests.iter().find(|m| m.digest == tag.digest)?;
    let wanted = spec.signature.is_none() || origin.signed_by.is_some();
    let image = store.again(top, &spec.name).ok()?;
    wanted.then(|| (Origin { url: published(&spec.url), ..origin.clone() }, image))
}

/// The file at the first of the addresses that has it; the error is about the first.
fn take_first(urls: &[String], take: impl Fn(&String) -> Result<Got, ExtrasError>) -> Result<Got, ExtrasError> {
    let mut first = None;
    for url in urls {
        match take(url) {
            Err(ExtrasError::Fetch(e)) if e.is_missing() => _ = first.get_or_insert(e),
            got => return got,
        }
    }
    Err(first.map_or_else(|| ExtrasError::content("the package", "it has no address"), ExtrasError::from))
}

/// Gives the set's serial.
fn packages(job: &Job<'_>, get: &Getter<'_>, keys: &Keys, set: &mut Set, origins: &mut Vec<Origin>) -> Result<u64, ExtrasError> {
    let mut debs = Vec::new();
    for (name, repository) in &job.spec.repositories {
        let wanted: Vec<_> = job.spec.packages.iter().filter(|p| p.repository == *name).collect();
        // If every package is in the store, the repository is not needed.
        let absent = wanted.iter().any(|p| !blob_path(get.blobs, &p.sha256).is_file());
        let known = |p: &&cluster_seed::extras::PackageSpec| {
            job.previous.and_then(|m| m.origins.iter().find(|o| o.sha256 == p.sha256 && o.kind == "package").cloned())
        };
        let before: Option<Vec<Origin>> = wanted.iter().map(known).collect();
        if let (false, Some(before)) = (absent, before) {
            for (spec, origin) in wanted.iter().zip(before) {
                debs.push(debs::read(&blob_path(get.blobs, &spec.sha256), origin.size, spec.sha256, &spec.package)?);
                // Sets of earlier versions may have a password in it.
                origins.push(Origin { url: published(&origin.url), ..origin });
            }
            continue;
        }
        let keyring = keys.get(&repository.key).ok_or_else(|| ExtrasError::content(name, "its key is not in extras.keys"))?;
        let located = locate::locate(get, name, repository, keyring, &wanted)?;
        for (spec, found) in wanted.iter().zip(located) {
            let what = ("package", spec.package.as_str(), spec.version.as_str());
            let take = |url: &String| job.take(get, keys, what, (url, spec.sha256), None);
            let mut got = take_first(&found.urls, take)?;
            found.check(&got.blob, &spec.package)?;
            got.origin.signed_by = Some(found.signed_by);
            debs.push(debs::read(&got.blob, got.origin.size, spec.sha256, &spec.package)?);
            origins.push(got.origin);
        }
    }
    for spec in &job.spec.debs {
        let (blob, size) = get.blob(&spec.url, spec.sha256)?;
        let deb = debs::read(&blob, size, spec.sha256, &spec.url)?;
        let what = ("deb", deb.name.as_str(), deb.version.as_str());
        origins.push(job.take(get, keys, what, (&spec.url, spec.sha256), spec.signature.as_ref())?.origin);
        debs.push(deb);
    }
    if debs.is_empty() {
        return Ok(job.previous.map_or(0, |p| p.serial));
    }
    debs.sort_by(|a, b| (&a.name, &a.version, &a.arch).cmp(&(&b.name, &b.version, &b.arch)));
    if let Some(twice) = debs.windows(2).find(|pair| pair[0].filename == pair[1].filename) {
        return Err(ExtrasError::content(&twice[0].name, "two packages have this name, version and architecture"));
    }
    for deb in &debs {
        set.link(&blob_path(get.blobs, &deb.sha256), format!("{TREE}/apt/{}", deb.filename), deb.size, deb.sha256)?;
    }
    let apt = set.dir.join(TREE).join("apt");
    let serial = debs::publish(&apt, &debs, job.release_key, job.previous)?;
    files::write_synced(&apt.join("keyring.gpg"), &job.release_key.public_keyring()?)?;
    note_tree(set, &apt)?;
    Ok(serial)
}

/// Adds the files of the suite's indexes to the list.
fn note_tree(set: &mut Set, dir: &Utf8Path) -> Result<(), ExtrasError> {
    for entry in dir.read_dir_utf8().map_err(failed("listing", dir))? {
        let path = entry.map_err(failed("listing", dir))?.into_path();
        if path.is_dir() {
            note_tree(set, &path)?;
            continue;
        }
        let name = path.strip_prefix(&set.dir).unwrap_or(&path).to_string();
        if !set.files.contains_key(&name) {
            let (size, digest) = files::digest_file(&path, &cluster_seed::progress::Quiet)?;
            set.note(name, size, digest);
        }
    }
    Ok(())
}
