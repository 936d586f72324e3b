//! The Debian installer: its packages (udebs) and its netboot images, as far as the mirror has them.
//!
//! A mirror may keep the index of installer packages longer than some of their files. What is missing is skipped with a note,
//! so that the snapshot lists nothing it does not have.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster_seed::ids::Digest;
use host::parallel::try_each;

use crate::error::Error;
use crate::format::index::{self, Entry};
use crate::format::lock::{LockedFile, LockedPackage};
use crate::format::sum::Sum;
use crate::format::texts::Slice;
use crate::format::version;
use crate::plan::draft::Draft;
use crate::plan::request::PlanRequest;
use crate::upstream::fetch::{self, FetchError};
use crate::upstream::pool;
use crate::upstream::suite::{Reader, Suite};

/// The images' folder below `dists/<suite>/`.
fn images_dir(arch: &str) -> String {
    format!("main/installer-{arch}/current/images")
}

/// The files that a netboot needs, below that folder.
fn image_names(arch: &str) -> [String; 2] {
    ["linux", "initrd.gz"].map(|file| format!("netboot/debian-installer/{arch}/{file}"))
}

/// Bytes of one image; Debian's initrd.gz is about 50 MB.
pub const MAX_IMAGE: u64 = 512 << 20;
/// Concurrent requests while checking which files exist.
const PROBES: usize = 8;

/// Adds what the mirror has to the plan, and a note for what it lacks.
pub(crate) fn add(draft: &mut Draft, req: &PlanRequest, reader: &Reader<'_>, suites: &[Suite]) -> Result<(), Error> {
    let mut found: BTreeMap<String, (LockedPackage, Slice)> = BTreeMap::new();
    for component in &req.components {
        for arch in &req.architectures {
            udebs(draft, &mut found, (req, reader), suites, component, arch)?;
        }
    }
    let all: Vec<(LockedPackage, Slice)> = found.into_values().collect();
    let missing = probe(draft, reader, &all)?;
    let names: Vec<&str> = missing.iter().map(|at| all[*at].0.name.as_str()).collect();
    if let Some(name) = req.required_udebs.iter().find(|r| names.contains(&r.as_str()) || !all.iter().any(|(p, _)| p.name == **r))
    {
        return Err(Error::NoUdeb { name: name.clone() });
    }
    if !names.is_empty() {
        let text = names.join(" ");
        draft
            .plan
            .notes
            .push(format!("the mirror lists {} installer packages that it does not have; skipped: {text}", names.len()));
    }
    let mut packages: Vec<(LockedPackage, Slice)> =
        std::mem::take(&mut draft.plan.lock.packages).into_iter().zip(std::mem::take(&mut draft.stanzas)).collect();
    packages.extend(all.into_iter().enumerate().filter(|(at, _)| !missing.contains(at)).map(|(_, one)| one));
    let mut order: Vec<usize> = (0..packages.len()).collect();
    order.sort_by(|&a, &b| packages[a].0.key().cmp(&packages[b].0.key()));
    let mut moved = vec![0; packages.len()];
    order.iter().enumerate().for_each(|(to, from)| moved[*from] = to);
    draft.plan.why.iter_mut().for_each(|why| why.renumber(&moved));
    for at in order {
        draft.plan.lock.packages.push(packages[at].0.clone());
        draft.stanzas.push(packages[at].1);
    }
    images(draft, req, reader, suites)
}

/// The newest installer packages of a component.
fn udebs(
    draft: &mut Draft,
    found: &mut BTreeMap<String, (LockedPackage, Slice)>,
    (req, reader): (&PlanRequest, &Reader<'_>),
    suites: &[Suite],
    component: &str,
    arch: &str,
) -> Result<(), Error> {
    for suite in suites {
        let component = format!("{component}/debian-installer");
        let text = match reader.text(suite, &format!("{component}/binary-{arch}/Packages")) {
            Ok(Some(text)) => text,
            Ok(None) => continue,
            Err(e) if req.required_udebs.is_empty() && is_stale(&e) => {
                let suite = &suite.source.suite;
                draft
                    .plan
                    .notes
                    .push(format!("the mirror's index of {suite} {component} {arch} is not the signed one; skipped ({e})"));
                continue;
            }
            Err(e) => return Err(e),
        };
        let number = draft.plan.texts.add(Arc::clone(&text));
        let index = format!("{}/{component}", suite.source.suite);
        let read = index::read(&text, arch, 0).map_err(|source| Error::Index { index: index.clone(), source })?;
        draft.plan.notes.extend(index::left_out_note(&index, &read.left_out));
        for entry in read.entries {
            let key = format!("{} {}", entry.name, entry.arch);
            let older = found.get(&key).is_some_and(|(have, _)| version::compare(&have.version, entry.version).is_ge());
            if let Some(slice) = draft.plan.texts.locate(number, entry.stanza).filter(|_| !older) {
                found.insert(key, (locked(&entry, suite, &component), slice));
            }
        }
    }
    Ok(())
}

/// True for errors of a mirror whose file is missing or is not the one that the Release file lists.
fn is_stale(e: &Error) -> bool {
    let fetch = |e: &FetchError| e.is_missing() || matches!(e, FetchError::TooLarge { .. } | FetchError::Short { .. });
    matches!(e, Error::Size { .. } | Error::Digest { .. } | Error::Unpack { .. }) || matches!(e, Error::Fetch(e) if fetch(e))
}

fn locked(entry: &Entry<'_>, suite: &Suite, component: &str) -> LockedPackage {
    LockedPackage {
        name: entry.name.to_owned(),
        version: entry.version.to_owned(),
        arch: entry.arch.to_owned(),
        size: entry.size,
        sha256: entry.sha256,
        suite: suite.source.suite.clone(),
        component: component.to_owned(),
        filename: entry.filename.to_owned(),
    }
}

/// Indexes of the packages that the mirror lacks. A package whose blob we have need not be there.
fn probe(draft: &Draft, reader: &Reader<'_>, all: &[(LockedPackage, Slice)]) -> Result<Vec<usize>, Error> {
    let here = |p: &LockedPackage| reader.paths.is_some_and(|paths| pool::size_of(&paths.blobs, &p.sha256).is_some());
    let lacks = try_each(PROBES, all, |_, (package, _)| {
        if here(package) {
            return Ok(false);
        }
        // Asking for the last byte is enough to know that the file is there.
        match exists(reader, &draft.plan.url(package), package.size - 1) {
            Err(e) if e.is_missing() => Ok(true),
            other => other.map(|()| false),
        }
    })?;
    Ok(lacks.into_iter().enumerate().filter(|(_, lacks)| *lacks).map(|(at, _)| at).collect())
}

fn exists(reader: &Reader<'_>, url: &str, offset: u64) -> Result<(), FetchError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match reader.fetch.get(url, offset) {
            Ok(_) => return Ok(()),
            Err(e) if e.is_transient() && tries < fetch::MAX_TRIES => fetch::pause(tries),
            Err(e) => return Err(e),
        }
    }
}

/// Kernel and initrd of the netboot installer, from the list of digests that the Release file lists.
fn images(draft: &mut Draft, req: &PlanRequest, reader: &Reader<'_>, suites: &[Suite]) -> Result<(), Error> {
    let Some(suite) = suites.first() else { return Ok(()) };
    for arch in &req.architectures {
        let dir = images_dir(arch);
        let sums = format!("{dir}/SHA256SUMS");
        let Some(listed) = suite.release.files.get(&sums) else {
            draft.plan.notes.push(format!("suite {} has no installer images for {arch}", suite.source.suite));
            continue;
        };
        let bytes = match reader.file(suite, &sums, listed) {
            Ok((bytes, _)) => bytes,
            Err(e) if is_stale(&e) => {
                draft
                    .plan
                    .notes
                    .push(format!("the mirror's list of installer images for {arch} is not the signed one; skipped ({e})"));
                continue;
            }
            Err(e) => return Err(e),
        };
        let text = String::from_utf8_lossy(&bytes);
        draft.plan.lock.files.push(LockedFile { path: sums, sha256: Digest::of(&bytes), size: listed.size });
        for name in image_names(arch) {
            let path = format!("{dir}/{name}");
            let url = fetch::join(&suite.source.mirror, &format!("dists/{}/{path}", suite.source.suite));
            match sum_of(&text, &name) {
                Some(sha256) => match size_of(req, reader, &url, sha256)? {
                    Some(size) => draft.plan.lock.files.push(LockedFile { path, sha256, size }),
                    None => draft.plan.notes.push(format!("the mirror does not have {url}")),
                },
                None => draft.plan.notes.push(format!("the installer's SHA256SUMS does not list {name}")),
            }
        }
    }
    draft.plan.lock.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(())
}

/// A line of a SHA256SUMS file (sha256sum(1)).
fn sum_of(text: &str, name: &str) -> Option<Digest> {
    text.lines().find_map(|line| {
        let (sum, path) = line.split_once(' ')?;
        (path.trim_start().trim_start_matches(['*', ' ']).trim_start_matches("./") == name).then(|| sum.parse().ok())?
    })
}

/// Bytes of an image; None if the mirror does not have it. SHA256SUMS has no sizes, so the image is fetched and stored as a
/// blob.
fn size_of(req: &PlanRequest, reader: &Reader<'_>, url: &str, sha256: Digest) -> Result<Option<u64>, Error> {
    if let Some(size) = req.paths.as_ref().and_then(|p| pool::size_of(&p.blobs, &sha256)) {
        return Ok(Some(size));
    }
    let bytes = match fetch::get_all(reader.fetch, url, MAX_IMAGE) {
        Err(e) if e.is_missing() => return Ok(None),
        other => other?,
    };
    let (size, found) = (bytes.len() as u64, Digest::of(&bytes));
    if found != sha256 {
        let (found, expected) = (Box::new(Sum::Sha256(found)), Box::new(Sum::Sha256(sha256)));
        return Err(Error::Digest { url: url.to_owned(), found, expected });
    }
    if let Some(paths) = &req.paths {
        pool::keep(&paths.blobs, &paths.tmp, &bytes, &sha256)?;
    }
    Ok(Some(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_by_name() {
        let sum = "ab".repeat(32);
        let text = format!("{}  ./netboot/netboot.tar.gz\n{sum}  ./netboot/x/linux\n{sum} *b\nshort  ./c\n", "cd".repeat(32));
        assert_eq!(sum_of(&text, "netboot/x/linux"), sum.parse().ok());
        assert_eq!(sum_of(&text, "b"), sum.parse().ok());
        assert_eq!(sum_of(&text, "c"), None);
        assert_eq!(sum_of(&text, "linux"), None);
    }
}
