//! Debian packages of other repositories: found in their signed index, and published as a small suite of our own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Write as _};

use camino::Utf8Path;
use cluster_seed::extras::{ExtrasManifest, PackageSpec, RepositorySpec, TREE};
use cluster_seed::ids::Digest;
use host::deb::{self, DebError};
use host::files::{self, failed};
use jiff::Timestamp;

use super::control::Control;
use super::error::ExtrasError;
use super::get::{Getter, address};
use crate::format::date::format_date;
use crate::format::deb822;
use crate::format::index::{self, Entry, MAX_INDEX};
use crate::format::layout::{ORIGIN, by_hash};
use crate::format::version;
use crate::publish::release_key::ReleaseKey;
use crate::upstream::fetch::{self, FetchError};
use crate::upstream::keyring::Keyring;
use crate::upstream::trust::{self, Listed, MAX_INRELEASE, Release};

/// The suite that extras are published as.
pub const SUITE: &str = "extras";
/// Its only component.
const COMPONENT: &str = "main";
/// An expiry that no clock reaches, and that every reader can represent.
const NEVER: &str = "Fri, 01 Jan 9999 00:00:00 UTC";
/// Bytes of a package's control file.
const MAX_CONTROL: u64 = 1 << 20;
/// Bytes of the unpacked archive that contains it.
const MAX_CONTROL_TAR: u64 = 64 << 20;

/// The address of a package, and who signed the index that lists it.
#[derive(Debug, Clone)]
pub struct Located {
    pub url: String,
    pub size: u64,
    pub signed_by: String,
}

/// Finds packages in the index of their repository.
pub(crate) fn locate(
    get: &Getter<'_>,
    name: &str,
    spec: &RepositorySpec,
    keys: &Keyring,
    wanted: &[&PackageSpec],
) -> Result<Vec<Located>, ExtrasError> {
    let base = address(spec.url.trim_end_matches('/'));
    let (dir, index_dir) = match &spec.component {
        None => (base.clone(), None),
        Some(component) => (format!("{base}/dists/{}", spec.suite), Some(component)),
    };
    let url = format!("{dir}/InRelease");
    let bytes = fetch::get_all(get.fetch, &url, MAX_INRELEASE as u64)?;
    let release =
        trust::verify_inrelease(&bytes, keys, get.clock).map_err(|source| ExtrasError::Trust { url: url.clone(), source })?;
    let signed_by = release.signed_by.first().cloned().unwrap_or_default();
    let mut found = Vec::new();
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    for package in wanted {
        let arch = package.architecture.as_str();
        let plain = match index_dir {
            None => "Packages".to_owned(),
            Some(component) => format!("{component}/binary-{}/Packages", if arch == "all" { "amd64" } else { arch }),
        };
        if !texts.contains_key(arch) {
            texts.insert(arch, packages(get, name, &dir, &plain, &release)?);
        }
        let entries = index::parse(texts.get(arch).map_or("", String::as_str), arch, 0);
        let entries = entries.map_err(|source| ExtrasError::Index { repository: name.to_owned(), source })?;
        let (url, size) = pick(&entries, package).map_err(|why| ExtrasError::Repository { repository: name.to_owned(), why })?;
        found.push(Located { url: fetch::join(&base, &url), size, signed_by: signed_by.clone() });
    }
    Ok(found)
}

fn pick(entries: &[Entry<'_>], package: &PackageSpec) -> Result<(String, u64), String> {
    let PackageSpec { package: name, version, architecture, sha256, .. } = package;
    // The index was parsed for this architecture, and includes the packages for `all`.
    let named = || entries.iter().filter(|e| e.name == name);
    match named().find(|e| e.version == version) {
        Some(entry) if entry.sha256 == *sha256 => Ok((entry.filename.to_owned(), entry.size)),
        Some(entry) => Err(format!("{name} {version} has sha256 {}, but cluster.yaml says {sha256}", entry.sha256)),
        None => {
            let mut versions: Vec<&str> = named().map(|e| e.version).collect();
            versions.sort_by(|a, b| version::compare(b, a));
            versions.truncate(5);
            let there = if versions.is_empty() {
                "no version found".to_owned()
            } else {
                format!("newest versions: {}", versions.join(", "))
            };
            Err(format!("it has no {name} {version} for {architecture}; {there}"))
        }
    }
}

/// The text of a Packages index, in the first form that the Release file lists.
fn packages(get: &Getter<'_>, name: &str, dir: &str, plain: &str, release: &Release) -> Result<String, ExtrasError> {
    let bad = |why: String| ExtrasError::Repository { repository: name.to_owned(), why };
    let missing = || bad(format!("its Release file does not list {plain}"));
    let listed = |ending: &str| release.files.get(&format!("{plain}{ending}")).map(|l| (ending.to_owned(), *l));
    let (ending, form): (String, Listed) = [".xz", ".gz", ""].iter().find_map(|e| listed(e)).ok_or_else(missing)?;
    let url = format!("{dir}/{plain}{ending}");
    let limit = form.size.min(MAX_INDEX);
    let bytes = match fetch::get_all(get.fetch, &url, limit) {
        Err(FetchError::NotFound { .. }) => {
            fetch::get_all(get.fetch, &format!("{dir}/{}", by_hash(&format!("{plain}{ending}"), &form.sha256)), limit)?
        }
        other => other?,
    };
    if Digest::of(&bytes) != form.sha256 {
        return Err(bad(format!("{url} is not the file that the Release file lists")));
    }
    let mut text = String::new();
    let read = match ending.as_str() {
        ".xz" => liblzma::read::XzDecoder::new(&bytes[..]).take(MAX_INDEX).read_to_string(&mut text),
        ".gz" => flate2::read::MultiGzDecoder::new(&bytes[..]).take(MAX_INDEX).read_to_string(&mut text),
        _ => (&bytes[..]).read_to_string(&mut text),
    };
    read.map_err(|e| bad(format!("unpacking {url}: {e}")))?;
    // `apt-ftparchive packages .` writes names like this.
    Ok(text.replace("\nFilename: ./", "\nFilename: "))
}

/// A package to publish.
#[derive(Debug, Clone)]
pub struct Deb {
    pub name: String,
    pub version: String,
    pub arch: String,
    pub size: u64,
    pub sha256: Digest,
    control: Control,
    /// Below the suite's root.
    pub filename: String,
}

/// Reads a package's control file; messages call it `label`.
pub fn read(path: &Utf8Path, size: u64, sha256: Digest, label: &str) -> Result<Deb, ExtrasError> {
    let bad = |why: &str| ExtrasError::content(label, format!("not a usable Debian package: {why}"));
    let file = File::open(path).map_err(failed("opening", path))?;
    let text = control(file).map_err(|e| ExtrasError::Deb { name: label.to_owned(), source: e })?;
    let control = Control::parse(&text).map_err(|e| bad(&e.to_string()))?;
    let (name, version, arch) = (control.name.clone(), control.version.clone(), control.arch.clone());
    let plain_version = version.rsplit(':').next().unwrap_or_default();
    let filename = format!("pool/{name}/{name}_{plain_version}_{arch}.deb");
    Ok(Deb { name, version, arch, size, sha256, control, filename })
}

/// The text of `./control` (deb(5)). A second one is refused: dpkg would use the last, whatever was reviewed.
fn control(deb: impl Read) -> Result<String, DebError> {
    let mut archive = tar::Archive::new(deb::member(deb, "control.tar")?.take(MAX_CONTROL_TAR));
    let mut found = None;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path_bytes();
        let mut parts = path.split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b"."));
        if parts.next() != Some(b"control") || parts.next().is_some() {
            continue;
        }
        if found.is_some() || !entry.header().entry_type().is_file() {
            return Err(DebError::Format("more than one control file, or one that is not a regular file"));
        }
        let mut text = String::new();
        if entry.by_ref().take(MAX_CONTROL + 1).read_to_string(&mut text)? as u64 > MAX_CONTROL {
            return Err(DebError::Format("a control file of more than 1 MiB"));
        }
        found = Some(text);
    }
    found.ok_or(DebError::Format("no control file"))
}

/// Writes `dists/` of the suite into `dir`; the packages themselves are linked by the caller. Gives the set's
/// [serial](ExtrasManifest::serial).
///
/// Its date is the release key's plus one second for each serial: the same packages and the same key give the same bytes, and
/// whoever saw a later suite refuses an earlier one (apt compares dates), with a clock at 1970 too. It never expires: a machine
/// without a network must not lose its packages to a wrong clock.
pub fn publish(dir: &Utf8Path, debs: &[Deb], key: &ReleaseKey, previous: Option<&ExtrasManifest>) -> Result<u64, ExtrasError> {
    let dists = dir.join("dists").join(SUITE);
    let mut arches: BTreeSet<&str> = debs.iter().map(|d| d.arch.as_str()).filter(|a| *a != "all").collect();
    if arches.is_empty() {
        arches.insert("amd64");
    }
    let mut sums = Vec::new();
    for arch in &arches {
        let mut text = String::new();
        for deb in debs.iter().filter(|d| d.arch == **arch || d.arch == "all") {
            text.push_str(&deb.control.stanza(&deb.filename, deb.size, deb.sha256));
        }
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
        let xz = xz.write_all(text.as_bytes()).and_then(|()| xz.finish()).map_err(ExtrasError::Pack)?;
        let mut gz = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::new(6));
        let gz = gz.write_all(text.as_bytes()).and_then(|()| gz.finish()).map_err(ExtrasError::Pack)?;
        for (ending, bytes) in [("", text.into_bytes()), (".gz", gz), (".xz", xz)] {
            let name = format!("{COMPONENT}/binary-{arch}/Packages{ending}");
            let digest = Digest::of(&bytes);
            files::write_synced(&dists.join(&name), &bytes)?;
            files::link_creating(&dists.join(&name), &dists.join(by_hash(&name, &digest)))?;
            sums.push((name, bytes.len(), digest));
        }
    }
    sums.sort();
    let lines: String = sums.iter().map(|(name, size, digest)| format!("\n {digest} {size:>16} {name}")).collect();
    let serial = serial_of(&sums, previous);
    let date = Timestamp::from_second(key.created().as_second().saturating_add_unsigned(serial)).unwrap_or(Timestamp::MAX);
    let architectures = arches.iter().copied().chain(["all"]).collect::<Vec<_>>().join(" ");
    let release = deb822::render([
        ("Origin", ORIGIN),
        ("Label", ORIGIN),
        ("Suite", SUITE),
        ("Codename", SUITE),
        ("Date", format_date(date).as_str()),
        ("Valid-Until", NEVER),
        ("Acquire-By-Hash", "yes"),
        ("No-Support-for-Architecture-all", "Packages"),
        ("Architectures", architectures.as_str()),
        ("Components", COMPONENT),
        ("SHA256", lines.as_str()),
    ]);
    files::write_synced(&dists.join("Release"), release.as_bytes())?;
    files::write_synced(&dists.join("InRelease"), key.sign_cleartext(&release, date)?.as_bytes())?;
    files::write_synced(&dists.join("Release.gpg"), key.sign_detached(release.as_bytes(), date)?.as_bytes())?;
    Ok(serial)
}

/// The serial of the set before where its suite has the same indexes, else the next one.
fn serial_of(sums: &[(String, usize, Digest)], previous: Option<&ExtrasManifest>) -> u64 {
    let Some(previous) = previous else { return 0 };
    let place = format!("{TREE}/apt/dists/{SUITE}/");
    let before = previous.files.iter().filter_map(|f| Some((f.name.strip_prefix(&place)?, f.sha256)));
    let before: BTreeSet<_> = before.filter(|(name, _)| !name.contains("/by-hash/") && name.contains('/')).collect();
    let now: BTreeSet<_> = sums.iter().map(|(name, _, digest)| (name.as_str(), *digest)).collect();
    if before == now { previous.serial } else { previous.serial.saturating_add(1) }
}
