//! Finds packages in the signed index of their repository.

use camino::Utf8Path;
use cluster_seed::extras::{PackageSpec, RepositorySpec};
use host::files;

use super::error::ExtrasError;
use super::get::{Getter, MAX_SIGNED, address};
use super::offers::{self, Offer, Offers};
use crate::format::index::{LeftOut, MAX_INDEX, left_out_note};
use crate::format::sum::Sum;
use crate::format::version;
use crate::upstream::fetch;
use crate::upstream::keyring::Keyring;
use crate::upstream::listed::Folder;
use crate::upstream::release;
use crate::upstream::suite::lossy;
use crate::upstream::trust::{self, Release};

/// The address of a package, and who signed the index that lists it.
#[derive(Debug, Clone)]
pub struct Located {
    /// The second is tried where the server does not have the first.
    pub urls: Vec<String>,
    pub signed_by: String,
    /// The digest in the index, if it has no SHA256 to compare with cluster.yaml's: the file must have both.
    pub sha512: Option<Sum>,
}

/// Finds packages in the index of their repository.
pub(crate) fn locate(
    get: &Getter<'_>,
    name: &str,
    spec: &RepositorySpec,
    keys: &Keyring,
    wanted: &[&PackageSpec],
) -> Result<Vec<Located>, ExtrasError> {
    let Opened { base, dir, release } = open(get, name, spec, keys)?;
    let architectures: Vec<&str> = wanted.iter().map(|p| p.architecture.as_str()).collect();
    let texts = indexes(get, name, &dir, spec, &release, &architectures)?;
    let names: Vec<&str> = wanted.iter().map(|p| p.package.as_str()).collect();
    let offers: Vec<(&str, Offers<'_>)> =
        texts.iter().map(|(plain, text)| (plain.as_str(), offers::read(text, &names))).collect();
    report(get, name, &offers);
    let signed_by = release.signed_by.first().cloned().unwrap_or_default();
    let one = |package: &&PackageSpec| {
        let offer = pick(&offers, package).map_err(|why| ExtrasError::Repository { repository: name.to_owned(), why })?;
        let sha512 = Some(offer.sum).filter(|sum| matches!(sum, Sum::Sha512(_)));
        Ok(Located { urls: urls(&base, spec, &offer.path), signed_by: signed_by.clone(), sha512 })
    };
    wanted.iter().map(one).collect()
}

/// A package in the index of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedPackage {
    pub name: String,
    pub version: String,
    pub arch: String,
    pub sum: Sum,
}

/// What a repository has, and the fingerprints of who signed that.
pub(crate) struct Listing {
    pub packages: Vec<ListedPackage>,
    pub signed_by: Vec<String>,
}

/// Every version of the packages with these names, for amd64 or for all architectures.
pub(crate) fn listing(
    get: &Getter<'_>,
    name: &str,
    spec: &RepositorySpec,
    keys: &Keyring,
    wanted: &[&str],
) -> Result<Listing, ExtrasError> {
    let Opened { dir, release, .. } = open(get, name, spec, keys)?;
    let texts = indexes(get, name, &dir, spec, &release, &["amd64"])?;
    let offers: Vec<(&str, Offers<'_>)> =
        texts.iter().map(|(plain, text)| (plain.as_str(), offers::read(text, wanted))).collect();
    report(get, name, &offers);
    let owned = |o: &Offer<'_>| ListedPackage {
        name: o.name.to_owned(),
        version: o.version.to_owned(),
        arch: o.arch.to_owned(),
        sum: o.sum,
    };
    let packages = offers.iter().flat_map(|(_, o)| o.usable.iter().map(owned)).collect();
    Ok(Listing { packages, signed_by: release.signed_by })
}

/// A repository with a verified Release file.
struct Opened {
    base: String,
    /// The folder with the Release file.
    dir: String,
    release: Release,
}

fn open(get: &Getter<'_>, name: &str, spec: &RepositorySpec, keys: &Keyring) -> Result<Opened, ExtrasError> {
    let base = address(spec.url.trim_end_matches('/'));
    let folder = match &spec.component {
        Some(_) => format!("dists/{}", spec.suite),
        None => flat_folder(&spec.suite),
    };
    let dir = if folder.is_empty() { base.clone() } else { fetch::join(&base, &folder) };
    let (bytes, url) = release::fetch(get.fetch, &dir)?;
    let release = trust::verify_inrelease(&bytes, keys, get.clock).map_err(|source| ExtrasError::Trust { url, source })?;
    for warning in &release.warnings {
        get.progress.say(&format!("repository {name}: {warning}"));
    }
    Ok(Opened { base, dir, release })
}

/// Says what was left out of the indexes.
fn report(get: &Getter<'_>, name: &str, offers: &[(&str, Offers<'_>)]) {
    for (plain, offers) in offers {
        let index = format!("repository {name}, {plain}");
        left_out_note(&index, &offers.left_out).iter().for_each(|note| get.progress.say(note));
        if offers.cut {
            get.progress.say(&format!("{index}: only its first packages are read"));
        }
    }
}

/// The folder of a flat repository: `/`, `./`, `binary/` (sources.list(5)).
fn flat_folder(suite: &str) -> String {
    suite.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/")
}

/// Where a package may be. Names in a flat repository begin at its address in sources.list, and the folder may be a part of
/// that address here.
fn urls(base: &str, spec: &RepositorySpec, path: &str) -> Vec<String> {
    let mut urls = vec![fetch::join(base, path)];
    if spec.component.is_none()
        && let Some((above, folder)) = base.rsplit_once('/')
        && path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    {
        urls.push(fetch::join(above, path));
    }
    urls
}

/// Every index that may list the packages, with its name.
fn indexes(
    get: &Getter<'_>,
    name: &str,
    dir: &str,
    spec: &RepositorySpec,
    release: &Release,
    architectures: &[&str],
) -> Result<Vec<(String, String)>, ExtrasError> {
    let plain = |arch: &str| match &spec.component {
        None => "Packages".to_owned(),
        Some(component) => format!("{component}/binary-{arch}/Packages"),
    };
    let mut names: Vec<String> = Vec::new();
    for architecture in architectures {
        match *architecture {
            // Listed for every architecture, or on its own.
            "all" => {
                names.extend(["all", "amd64"].into_iter().chain(release.architectures.iter().map(String::as_str)).map(plain))
            }
            arch => names.extend([plain(arch), plain("all")]),
        }
    }
    let (mut texts, mut seen) = (Vec::new(), Vec::new());
    let folder = Folder { fetch: get.fetch, url: dir, release };
    for plain in names {
        if seen.contains(&plain) {
            continue;
        }
        let found = folder.index(&plain, MAX_INDEX, get.progress);
        let found = found.map_err(|source| ExtrasError::Listed { repository: name.to_owned(), source })?;
        texts.extend(found.map(|(bytes, _)| (plain.clone(), lossy(bytes))));
        seen.push(plain);
    }
    if texts.is_empty() {
        let why = format!("its Release file does not list {}", seen.join(" or "));
        return Err(ExtrasError::Repository { repository: name.to_owned(), why });
    }
    Ok(texts)
}

/// The offer with the digest that is asked for: one version may be listed with several.
fn pick<'o>(offers: &'o [(&str, Offers<'_>)], package: &PackageSpec) -> Result<&'o Offer<'o>, String> {
    let PackageSpec { package: name, version, architecture, sha256, .. } = package;
    let fits = |o: &&Offer<'_>| o.name == name && (o.arch == architecture || o.arch == "all");
    let all: Vec<&Offer<'_>> = offers.iter().flat_map(|(_, o)| &o.usable).filter(fits).collect();
    let same: Vec<&Offer<'_>> = all.iter().filter(|o| o.version == version).copied().collect();
    let exact = same.iter().find(|o| o.sum == Sum::Sha256(*sha256));
    // Without a SHA256 there, cluster.yaml's is compared with the file.
    if let Some(offer) = exact.or_else(|| same.iter().find(|o| matches!(o.sum, Sum::Sha512(_)))) {
        return Ok(offer);
    }
    let out = offers.iter().flat_map(|(_, o)| &o.left_out).find(|o| o.package == *name && o.version == *version);
    match (same.first(), out) {
        (Some(offer), _) => Err(format!("{name} {version} has sha256 {}, but cluster.yaml says {sha256}", offer.sum)),
        (None, Some(LeftOut { why, .. })) => Err(format!("{name} {version} is listed, but cannot be used: {why}")),
        (None, None) => {
            let mut versions: Vec<&str> = all.iter().map(|o| o.version).collect();
            versions.sort_by(|a, b| version::compare(b, a));
            versions.dedup();
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

impl Located {
    /// An error unless the file has the digest that the signed index lists; its SHA256 was checked before.
    pub fn check(&self, blob: &Utf8Path, name: &str) -> Result<(), ExtrasError> {
        let Some(sum) = self.sha512 else { return Ok(()) };
        let bytes = files::read_limited(blob, MAX_SIGNED)?;
        if sum.fits(&bytes) {
            return Ok(());
        }
        Err(ExtrasError::content(name, format!("the file has sha512 {}, but the signed index says {sum}", sum.again(&bytes))))
    }
}
