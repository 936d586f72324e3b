//! Verifies a published snapshot byte for byte, and reports every file that differs from what was signed.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::manifest::SnapshotManifest;
use cluster_seed::progress::Progress;
use cluster_seed::seal::{Sealed, VerifyingKey};
use host::files::{self, FileError};
use host::parallel::{cores, try_each};
use pgp::composed::{ArmorOptions, DetachedSignature};

use crate::format::index::{self, MAX_INDEX};
use crate::format::layout::{MAX_MANIFEST, by_hash, upstream_name};
use crate::format::lock::{self, MAX_LOCK, SnapshotLock};
use crate::format::sum::Sum;
use crate::publish::shelf::Shelves;
use crate::upstream::keyring::Keyring;
use crate::upstream::trust::{self, Clock, MAX_INRELEASE, Release};

/// Problems named in an error; the rest are counted.
pub const MAX_PROBLEMS: usize = 100;

/// A file that differs from what was signed. `path` is below the snapshot's directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub path: Utf8PathBuf,
    pub what: String,
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("{count} files of the snapshot differ from what was signed: {}", list(.problems))]
    Damaged { count: usize, problems: Vec<Problem> },
    #[error("the snapshot was made by another version of this program: its lock does not begin with \"{}\"", lock::HEADER)]
    OtherVersion,
    #[error("stopped on request")]
    Cancelled,
}

impl VerifyError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            VerifyError::Damaged { .. } => {
                "do not serve this snapshot; remove it and every blob with a wrong digest, then build or import it again"
            }
            VerifyError::OtherVersion => "build it again with this program; the packages need not be downloaded",
            VerifyError::Cancelled => "run it again",
        }
    }
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(|p| format!("{} ({})", p.path, p.what)).collect::<Vec<_>>().join(", ")
}

/// A verified snapshot.
#[derive(Debug, Clone)]
pub struct Report {
    pub manifest: SnapshotManifest,
    /// Files read.
    pub files: usize,
    /// Bytes of packages read.
    pub bytes: u64,
}

struct Check<'a> {
    dir: &'a Utf8Path,
    problems: Vec<Problem>,
    /// Every path that belongs to the snapshot.
    known: BTreeSet<Utf8PathBuf>,
    /// Files whose size and digest are signed.
    signed: BTreeMap<Utf8PathBuf, (u64, Digest)>,
    /// Folders that may be links, and their targets.
    shelves: BTreeMap<Utf8PathBuf, String>,
    /// The lock is intact, but of an unsupported version.
    other_version: bool,
}

/// Verifies a snapshot: manifest, lock, signatures, every index, every package, and that there is nothing else.
pub fn verify(dir: &Utf8Path, keyring: &Keyring, site: &VerifyingKey, progress: &dyn Progress) -> Result<Report, VerifyError> {
    let (known, signed, shelves) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
    let mut check = Check { dir, problems: Vec::new(), known, signed, shelves, other_version: false };
    let manifest = check.manifest(site);
    let complete = manifest.as_ref().and_then(|m| check.lock_and_indexes(m, keyring)).is_some();
    if check.other_version {
        return Err(VerifyError::OtherVersion);
    }
    let total = check.signed.values().map(|(size, _)| size).sum();
    progress.begin("verifying", Some(total));
    let found = check_signed(dir, &check.signed, progress)?;
    progress.end();
    check.problems.extend(found);
    // Without Release file and lock, it is unknown what belongs here.
    if complete {
        check.strangers(dir);
    }
    let mut problems = check.problems;
    problems.sort();
    problems.dedup();
    let count = problems.len();
    problems.truncate(MAX_PROBLEMS);
    match manifest {
        Some(manifest) if problems.is_empty() => Ok(Report { manifest, files: check.known.len(), bytes: total }),
        _ => Err(VerifyError::Damaged { count, problems }),
    }
}

impl Check<'_> {
    fn problem(&mut self, path: &str, what: impl Into<String>) {
        self.problems.push(Problem { path: path.into(), what: what.into() });
    }

    fn read(&mut self, path: &str, limit: u64) -> Option<Vec<u8>> {
        self.known.insert(path.into());
        match files::read_limited(&self.dir.join(path), limit) {
            Ok(bytes) => Some(bytes),
            Err(e) => {
                self.problem(path, reason(&e));
                None
            }
        }
    }

    fn manifest(&mut self, site: &VerifyingKey) -> Option<SnapshotManifest> {
        let bytes = self.read("snapshot.json", MAX_MANIFEST)?;
        let opened = serde_json::from_slice::<Sealed<SnapshotManifest>>(&bytes)
            .map_err(|e| e.to_string())
            .and_then(|sealed| sealed.open(site).map_err(|e| e.to_string()));
        opened.map_err(|e| self.problem("snapshot.json", e)).ok()
    }

    /// None if the lock or the Release file could not be read.
    fn lock_and_indexes(&mut self, manifest: &SnapshotManifest, keyring: &Keyring) -> Option<()> {
        if self.read("keyring.gpg", MAX_MANIFEST).is_some_and(|k| k != keyring.bytes()) {
            self.problem("keyring.gpg", "not the release key of this site");
        }
        let lock = self.lock(manifest);
        let release = self.release(manifest, keyring);
        let lock = lock?;
        for upstream in &lock.upstream {
            let name = upstream_name(&upstream.suite);
            if self.read(&name, MAX_INRELEASE as u64).is_some_and(|b| Digest::of(&b) != upstream.sha256) {
                self.problem(&name, "not the file named in the lock");
            }
        }
        for package in &lock.packages {
            self.expect(package.filename.as_str().into(), package.size, package.sha256);
        }
        self.shelves = Shelves::of(&lock).shelves.iter().map(|s| (s.folder.into(), s.target())).collect();
        let release = release?;
        let dists = format!("dists/{}", lock.suite);
        for (name, listed) in &release.files {
            let Sum::Sha256(sha256) = listed.sum else {
                self.problem(&format!("{dists}/{name}"), "listed without its SHA256");
                continue;
            };
            self.expect(format!("{dists}/{name}").into(), listed.size, sha256);
            // Files of upstream have no by-hash names.
            if !lock.files.iter().any(|f| f.path == *name) {
                self.expect(format!("{dists}/{}", by_hash(name, &sha256)).into(), listed.size, sha256);
            }
        }
        self.compare_indexes(&lock, &dists, &release);
        Some(())
    }

    fn expect(&mut self, path: Utf8PathBuf, size: u64, digest: Digest) {
        self.known.insert(path.clone());
        self.signed.insert(path, (size, digest));
    }

    fn lock(&mut self, manifest: &SnapshotManifest) -> Option<SnapshotLock> {
        let bytes = self.read("snapshot.lock", MAX_LOCK as u64)?;
        if Digest::of(&bytes) != manifest.id {
            self.problem("snapshot.lock", "its digest is not the snapshot's id");
            return None;
        }
        let text = String::from_utf8(bytes).map_err(|e| self.problem("snapshot.lock", e.to_string())).ok()?;
        let first = text.lines().next().unwrap_or_default();
        match SnapshotLock::parse(&text) {
            Ok(lock) => Some(lock),
            Err(_) if first != lock::HEADER && first.starts_with(lock::NAME) => {
                self.other_version = true;
                None
            }
            Err(e) => {
                self.problem("snapshot.lock", e.to_string());
                None
            }
        }
    }

    /// The Release file and both its signatures.
    fn release(&mut self, manifest: &SnapshotManifest, keyring: &Keyring) -> Option<Release> {
        let dists = format!("dists/{}", manifest.suite);
        let name = format!("{dists}/Release");
        let plain = self.read(&name, MAX_INRELEASE as u64);
        if let Some(plain) = &plain
            && Digest::of(plain) != manifest.release
        {
            self.problem(&name, "its digest is not the one in the manifest");
        }
        let signed_name = format!("{dists}/InRelease");
        let bytes = self.read(&signed_name, MAX_INRELEASE as u64)?;
        let release = match trust::verify_inrelease(&bytes, keyring, Clock::OfFile) {
            Ok(release) => release,
            Err(e) => {
                self.problem(&signed_name, e.to_string());
                return None;
            }
        };
        if !is_canonical(&bytes) {
            self.problem(&signed_name, "not in the form in which it was signed");
        }
        let text = format!("{}\n", release.text.trim_end_matches('\n'));
        if plain.as_ref().is_some_and(|p| *p != text.as_bytes()) {
            self.problem(&name, "not the text that InRelease signs");
        }
        let detached = format!("{dists}/Release.gpg");
        if let Some(armor) = self.read(&detached, MAX_INRELEASE as u64)
            && let Err(what) = check_detached(&armor, text.as_bytes(), keyring, &release)
        {
            self.problem(&detached, what);
        }
        Some(release)
    }

    /// Checks that indexes and files are those of the lock, and that each index lists exactly the lock's packages with the same
    /// version, size, digest and file name.
    fn compare_indexes(&mut self, lock: &SnapshotLock, dists: &str, release: &Release) {
        for file in lock.indexes.iter().chain(&lock.files) {
            if release.files.get(&file.path).is_none_or(|l| l.sum != Sum::Sha256(file.sha256) || l.size != file.size) {
                self.problem(&format!("{dists}/{}", file.path), "not the one named in the lock");
            }
        }
        for index in lock.indexes.iter().filter(|f| f.path.ends_with("/Packages")) {
            let name = format!("{dists}/{}", index.path);
            let Some((component, arch)) = index.path.trim_end_matches("/Packages").rsplit_once("/binary-") else { continue };
            let Some(bytes) = self.read(&name, MAX_INDEX) else { continue };
            let text = String::from_utf8_lossy(&bytes);
            let entries = match index::parse(&text, arch, 0) {
                Ok(entries) => entries,
                Err(e) => {
                    self.problem(&name, e.to_string());
                    continue;
                }
            };
            let listed: BTreeSet<_> = entries.iter().map(|e| (e.name, e.arch, e.version, e.size, e.sha256, e.filename)).collect();
            let locked: BTreeSet<_> = lock
                .packages
                .iter()
                .filter(|p| p.component == component && (p.arch == arch || p.arch == "all"))
                .map(|p| (&*p.name, &*p.arch, &*p.version, p.size, p.sha256, &*p.filename))
                .collect();
            if let Some((package, ..)) = listed.symmetric_difference(&locked).next() {
                self.problem(&name, format!("index and lock differ at package {package}"));
            }
        }
    }

    /// True for a link to the shelf that belongs there; its content is checked like that of a folder.
    fn is_shelf(&self, path: &Utf8Path) -> bool {
        self.shelves.get(path).is_some_and(|target| self.dir.join(path).read_link_utf8().is_ok_and(|to| to == *target))
    }

    /// Reports files that do not belong to the snapshot.
    fn strangers(&mut self, dir: &Utf8Path) {
        let entries = match dir.read_dir_utf8() {
            Ok(entries) => entries,
            Err(e) => return self.problem(dir.strip_prefix(self.dir).unwrap_or(dir).as_str(), e.to_string()),
        };
        for entry in entries.flatten() {
            let path = entry.path().strip_prefix(self.dir).unwrap_or(entry.path()).to_owned();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.strangers(entry.path()),
                Ok(kind) if kind.is_symlink() && self.is_shelf(&path) => self.strangers(entry.path()),
                Ok(kind) if kind.is_file() && self.known.contains(&path) => {}
                _ => self.problem(path.as_str(), "does not belong to the snapshot"),
            }
        }
    }
}

/// No signature covers the armor and the unhashed part of a signature, so only the form that we write is accepted.
fn is_canonical(bytes: &[u8]) -> bool {
    trust::read_message(bytes).is_ok_and(|message| {
        let plain = message.signatures().iter().all(only_issuer_unhashed);
        plain && message.to_armored_bytes(ArmorOptions::default()).is_ok_and(|again| again == bytes)
    })
}

fn only_issuer_unhashed(signature: &pgp::packet::Signature) -> bool {
    use pgp::packet::SubpacketData::{IssuerFingerprint, IssuerKeyId};
    signature.config().is_some_and(|config| {
        let print = config.hashed_subpackets.iter().find_map(|s| if let IssuerFingerprint(f) = &s.data { Some(f) } else { None });
        let unhashed = &config.unhashed_subpackets;
        // A version 4 key id is the last eight bytes of the fingerprint (RFC 9580 section 5.5.4.2).
        let fits = |id: &pgp::types::KeyId| print.is_some_and(|f| f.as_bytes().ends_with(id.as_ref()));
        unhashed.len() == 1 && unhashed.iter().all(|s| !s.is_critical && matches!(&s.data, IssuerKeyId(id) if fits(id)))
    })
}

fn check_detached(armor: &[u8], text: &[u8], keyring: &Keyring, release: &Release) -> Result<(), String> {
    use pgp::composed::Deserializable as _;
    let (detached, _) = DetachedSignature::from_armor_single(armor).map_err(|_| "not an armored signature".to_owned())?;
    keyring
        .check(&detached.signature, text, trust::moment_of(&detached.signature, release.date))
        .map_err(|why| format!("the signature {why}"))?;
    let again = detached.to_armored_bytes(ArmorOptions::default()).map_err(|e| e.to_string())?;
    let plain = only_issuer_unhashed(&detached.signature);
    if plain && again == armor { Ok(()) } else { Err("not in the form in which it was signed".to_owned()) }
}

/// Without the path, which the problem names.
fn reason(e: &FileError) -> String {
    match e {
        FileError::Io { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

/// Reads every signed file, on all cores.
fn check_signed(
    dir: &Utf8Path,
    signed: &BTreeMap<Utf8PathBuf, (u64, Digest)>,
    progress: &dyn Progress,
) -> Result<Vec<Problem>, VerifyError> {
    let all: Vec<_> = signed.iter().collect();
    let problems = try_each(cores(), &all, |_, (path, (size, digest))| {
        let what = match files::digest_file(&dir.join(path), progress) {
            Ok((_, found)) if found == *digest => return Ok(None),
            Ok((found, _)) if found != *size => format!("{found} bytes instead of {size}"),
            Ok(_) => "its digest is not the signed one".to_owned(),
            Err(FileError::Cancelled) => return Err(VerifyError::Cancelled),
            Err(e) => reason(&e),
        };
        Ok(Some(Problem { path: (*path).clone(), what }))
    })?;
    if progress.cancelled() {
        return Err(VerifyError::Cancelled);
    }
    Ok(problems.into_iter().flatten().collect())
}
