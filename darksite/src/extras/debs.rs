//! Debian packages of other sources, published as a small suite of our own.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write as _};

use camino::Utf8Path;
use cluster_seed::extras::{ExtrasManifest, TREE};
use cluster_seed::ids::Digest;
use host::deb::{self, DebError};
use host::files::{self, failed};
use jiff::Timestamp;

use super::control::Control;
use super::error::ExtrasError;
use crate::format::date::format_date;
use crate::format::deb822;
use crate::format::layout::{ORIGIN, by_hash};
use crate::publish::release_key::ReleaseKey;
use crate::upstream::suite::lossy;

/// The suite that extras are published as.
pub const SUITE: &str = "extras";
/// Its only component.
pub const COMPONENT: &str = "main";
/// An expiry that no clock reaches, and that every reader can represent.
const NEVER: &str = "Fri, 01 Jan 9999 00:00:00 UTC";
/// Bytes of a package's control file.
const MAX_CONTROL: u64 = 1 << 20;
/// Bytes of the unpacked archive that contains it.
const MAX_CONTROL_TAR: u64 = 64 << 20;

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
        let mut text = Vec::new();
        if entry.by_ref().take(MAX_CONTROL + 1).read_to_end(&mut text)? as u64 > MAX_CONTROL {
            return Err(DebError::Format("a control file of more than 1 MiB"));
        }
        // Maintainers and descriptions in an older encoding are shown with replaced characters.
        found = Some(lossy(text));
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
