//! Checking an output on any machine: its signed manifest, every byte of every file, its provenance, and that it is not older
//! than one that was seen here before.

use std::collections::BTreeMap;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::foundry::{Envelope, MANIFEST_ENDING, MAX_MANIFEST, OutputError, OutputManifest};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use cluster_seed::seal::{SealError, Sealed, VerifyingKey, key_from_text, key_text};
use host::files::{FileError, PUBLIC, digest_file, failed, read_limited, write_atomic};
use serde::{Deserialize, Serialize};

use super::PROVENANCE_ENDING;

/// Largest provenance, in bytes: it names each file of the output.
const MAX_PROVENANCE: u64 = 8 << 20;
/// Largest list of versions seen, in bytes.
const MAX_SEEN: u64 = 4 << 20;

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("no signed manifest (*{MANIFEST_ENDING}) lists {0}")]
    NoManifest(Utf8PathBuf),
    #[error("several signed manifests list {0}")]
    Several(Utf8PathBuf),
    #[error("{path} is not a signed manifest")]
    Json { path: Utf8PathBuf, source: serde_json::Error },
    #[error("the manifest is signed by another site")]
    OtherSite(#[source] SealError),
    #[error("the manifest's signature is invalid")]
    Signature(#[source] SealError),
    #[error("the manifest is inconsistent")]
    Manifest(#[from] OutputError),
    #[error("{0} is missing")]
    Missing(Utf8PathBuf),
    #[error("{path} has {found} bytes instead of {expected}")]
    Size { path: Utf8PathBuf, found: u64, expected: u64 },
    #[error("{0} was changed: its digest differs from the signed one")]
    Changed(Utf8PathBuf),
    #[error("the provenance is not signed by this site, or does not belong to this output")]
    Provenance,
    #[error("version {found} is older than version {seen}, which was seen here before")]
    Older { found: String, seen: String },
}

impl VerifyError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            VerifyError::File(e) => Some(e.hint()),
            VerifyError::NoManifest(_) => Some("copy the whole output: the manifest has to be in the same directory"),
            VerifyError::Several(_) => Some("keep each output in a directory of its own"),
            VerifyError::OtherSite(_) => {
                Some("--site-key takes the key of the site that built it; `seedd status` shows it there")
            }
            VerifyError::Missing(_) | VerifyError::Size { .. } | VerifyError::Changed(_) => {
                Some("do not use it; copy it again from the seed and repeat this command")
            }
            VerifyError::Older { .. } => Some("use the newer one, or --allow-older if you mean to go back"),
            VerifyError::Json { .. } | VerifyError::Signature(_) | VerifyError::Manifest(_) | VerifyError::Provenance => {
                Some("do not use it; it was damaged or forged")
            }
        }
    }
}

/// What was found to be intact.
#[derive(Debug)]
pub struct Verified {
    pub manifest: OutputManifest,
    /// The site key in hex.
    pub site_key: String,
    /// Bytes that were read.
    pub bytes: u64,
}

/// Reads the manifest that lists `file` (or is `file`, or is the only one in the directory `file`), and who claims to have signed
/// it.
fn find(file: &Utf8Path) -> Result<(Utf8PathBuf, Sealed<OutputManifest>), VerifyError> {
    let read = |path: &Utf8Path| {
        let bytes = read_limited(path, MAX_MANIFEST)?;
        serde_json::from_slice(&bytes).map_err(|source| VerifyError::Json { path: path.to_owned(), source })
    };
    if file.as_str().ends_with(MANIFEST_ENDING) {
        return Ok((file.to_owned(), read(file)?));
    }
    // Files of an output can be in a directory below it.
    let mut dir = if file.is_dir() { Some(file) } else { file.parent() };
    for _ in 0..4 {
        let Some(at) = dir else { break };
        let at = if at.as_str().is_empty() { Utf8Path::new(".") } else { at };
        match &manifests(at)?[..] {
            [] => dir = at.parent(),
            [one] => return Ok((one.clone(), read(one)?)),
            many => return of_name(file, many).map(|path| read(&path).map(|m| (path, m)))?,
        }
    }
    Err(VerifyError::NoManifest(file.to_owned()))
}

/// Among several manifests, the one whose name the file's begins with.
fn of_name(file: &Utf8Path, manifests: &[Utf8PathBuf]) -> Result<Utf8PathBuf, VerifyError> {
    let stem = |path: &Utf8Path| path.file_name().and_then(|n| n.strip_suffix(MANIFEST_ENDING)).unwrap_or_default().to_owned();
    let name = file.file_name().unwrap_or_default();
    let mut fitting = manifests.iter().filter(|m| name.strip_prefix(&stem(m)).is_some_and(|rest| rest.starts_with(['.', '-'])));
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one.clone()),
        _ => Err(VerifyError::Several(file.to_owned())),
    }
}

fn manifests(dir: &Utf8Path) -> Result<Vec<Utf8PathBuf>, VerifyError> {
    let reading = failed("reading directory", dir);
    let mut found = Vec::new();
    for entry in dir.read_dir_utf8().map_err(&reading)? {
        let path = entry.map_err(&reading)?.into_path();
        if path.as_str().ends_with(MANIFEST_ENDING) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Who claims to have signed the output of `file`, in hex: for a message, never to be trusted.
pub fn claimed_key(file: &Utf8Path) -> Result<String, VerifyError> {
    Ok(find(file)?.1.claimed_key().to_owned())
}

/// Checks the output that `file` belongs to, against the key of its site.
pub fn verify(file: &Utf8Path, key: &VerifyingKey, progress: &dyn Progress) -> Result<Verified, VerifyError> {
    let (path, sealed) = find(file)?;
    let manifest = sealed.open(key).map_err(|e| match e {
        SealError::WrongKey { .. } => VerifyError::OtherSite(e),
        other => VerifyError::Signature(other),
    })?;
    manifest.check()?;
    let dir = path.parent().filter(|p| !p.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
    // Sizes first: a truncated file is found at once.
    for listed in &manifest.files {
        let at = dir.join(&listed.name);
        match fs::metadata(&at) {
            Ok(m) if m.len() == listed.size => {}
            Ok(m) => return Err(VerifyError::Size { path: at, found: m.len(), expected: listed.size }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(VerifyError::Missing(at)),
            Err(e) => return Err(failed("reading", &at)(e).into()),
        }
    }
    let bytes = manifest.files.iter().map(|f| f.size).sum();
    progress.begin("verifying", Some(bytes));
    for listed in &manifest.files {
        let at = dir.join(&listed.name);
        if digest_file(&at, progress)? != (listed.size, listed.sha256) {
            return Err(VerifyError::Changed(at));
        }
    }
    progress.end();
    check_provenance(dir, &manifest, key)?;
    Ok(Verified { manifest, site_key: key_text(key), bytes })
}

/// The parts of a statement that are compared with the manifest.
#[derive(Deserialize)]
struct Statement {
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    name: String,
    digest: BTreeMap<String, Digest>,
}

fn check_provenance(dir: &Utf8Path, manifest: &OutputManifest, key: &VerifyingKey) -> Result<(), VerifyError> {
    let listed = manifest.files.iter().find(|f| f.name.ends_with(PROVENANCE_ENDING)).ok_or(VerifyError::Provenance)?;
    let bytes = read_limited(&dir.join(&listed.name), MAX_PROVENANCE)?;
    let envelope: Envelope = serde_json::from_slice(&bytes).map_err(|_| VerifyError::Provenance)?;
    let payload = envelope.open(key).ok_or(VerifyError::Provenance)?;
    let statement: Statement = serde_json::from_slice(&payload).map_err(|_| VerifyError::Provenance)?;
    let about: BTreeMap<&str, Option<&Digest>> =
        statement.subject.iter().map(|s| (s.name.as_str(), s.digest.get("sha256"))).collect();
    let named =
        manifest.files.iter().filter(|f| f.name != listed.name).all(|f| about.get(f.name.as_str()) == Some(&Some(&f.sha256)));
    if named { Ok(()) } else { Err(VerifyError::Provenance) }
}

/// The newest version that was seen of each output, by site key, role and target.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Seen(BTreeMap<String, String>);

impl Seen {
    /// Of a file; a file that is not there is an empty list.
    pub fn load(path: &Utf8Path) -> Result<Self, VerifyError> {
        match read_limited(path, MAX_SEEN) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| VerifyError::Json { path: path.to_owned(), source }),
            Err(e) if e.is_not_found() => Ok(Seen::default()),
            Err(e) => Err(e.into()),
        }
    }

    /// Notes a verified output.
    ///
    /// # Errors
    /// [`VerifyError::Older`] if a newer one was seen and `allow_older` is false; the list stays as it was.
    pub fn note(&mut self, verified: &Verified, allow_older: bool) -> Result<(), VerifyError> {
        let spec = &verified.manifest.spec;
        let role = spec.role.as_deref().unwrap_or("*");
        let seen = self.0.entry(format!("{} {role} {}", verified.site_key, spec.target)).or_default();
        if *seen > spec.version && !allow_older {
            return Err(VerifyError::Older { found: spec.version.clone(), seen: seen.clone() });
        }
        if *seen < spec.version {
            seen.clone_from(&spec.version);
        }
        Ok(())
    }

    pub fn save(&self, path: &Utf8Path) -> Result<(), VerifyError> {
        let bytes = serde_json::to_vec(self).map_err(|source| VerifyError::Json { path: path.to_owned(), source })?;
        if let Some(folder) = path.parent().filter(|p| !p.as_str().is_empty()) {
            host::files::create_dirs(folder)?;
        }
        Ok(write_atomic(path, &bytes, PUBLIC)?)
    }
}

/// Parses --site-key.
pub fn site_key(text: &str) -> Result<VerifyingKey, SealError> {
    key_from_text(text.trim())
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
