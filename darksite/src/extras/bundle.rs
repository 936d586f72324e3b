//! Fetches what Kubernetes needs on a connected machine, and describes it as `spec.extras` with every digest.
//!
//! ```text
//! OUT/images/NAME_TAG_DIGEST.tar   OCI archives
//! OUT/.work/                       blobs and parts of files; deleted once everything is there
//! ```
//! Packages and charts stay at their addresses: `seedd darksite extras fetch` fetches them, with the digests found here.

use std::collections::BTreeMap;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::extras::{ChartSpec, ExtrasSpec, FileSpec, ImageSpec, PackageSpec, Pinned, RepositorySpec};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use host::files::{self, failed};
use serde_json::Value;

use super::chart_index::fetch_chart;
use super::charts;
use super::error::ExtrasError;
use super::get::{Getter, address};
use super::locate::{Listing, listing};
use super::pull::pull;
use crate::format::sum::Sum;
use crate::format::version::compare;
use crate::kubernetes::facts::{self, CRI_TOOLS, EXACT, KUBECTL};
use crate::kubernetes::have::Chart;
use crate::kubernetes::need::{self, Choice, Wanted};
use crate::kubernetes::version::Version;
use crate::upstream::fetch;
use crate::upstream::http::AnyFetch;
use crate::upstream::keyring::{Keyring, MAX_KEYRING};
use crate::upstream::registry::Registries;
use crate::upstream::trust::Clock;

/// Name of the repository and of its key in the section.
const NAME: &str = "kubernetes";
/// Fingerprint of the certificate that signs pkgs.k8s.io ("isv:kubernetes OBS Project").
pub const FINGERPRINT: &str = "DE15B14486CD377B9E876E1A234654DA9A296436";
/// Where Cilium's charts are.
pub const CHARTS: &str = "https://helm.cilium.io";

/// The repository of a minor version's packages.
pub fn packages_of(version: &Version) -> String {
    format!("https://pkgs.k8s.io/core:/stable:/v{}.{}/deb", version.major, version.minor)
}

/// A further chart, with the images of its own values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addon {
    pub name: String,
    pub version: String,
    /// Address of the chart repository.
    pub repository: String,
}

/// What to fetch, and from where.
pub struct Order<'a> {
    pub choice: &'a Choice,
    pub addons: &'a [Addon],
    /// Flat repository of the packages; its key is `Release.key` there.
    pub packages: &'a str,
    /// The certificate that must have signed it, in hex; None: whatever key the repository has.
    pub fingerprint: Option<&'a str>,
    /// Repository of Cilium's chart.
    pub charts: &'a str,
    /// The program helm for linux/amd64.
    pub helm: Option<&'a Utf8Path>,
    /// Addresses of registries, instead of `https://NAME`.
    pub mirrors: &'a BTreeMap<String, String>,
    pub out: &'a Utf8Path,
    pub fetch: &'a AnyFetch,
    pub clock: Clock,
    pub progress: &'a dyn Progress,
}

/// What was found.
pub struct Bundle {
    pub spec: ExtrasSpec,
    /// Fingerprint of the certificate that signed the packages' index.
    pub signed_by: String,
    /// What is left to do.
    pub notes: Vec<String>,
}

/// Fetches everything that is not there yet.
pub fn bundle(order: &Order<'_>) -> Result<Bundle, ExtrasError> {
    let facts = facts::minor(&order.choice.kubernetes).filter(|f| !f.fixture).ok_or_else(|| {
        let why = format!("it is not supported; supported are {}", facts::supported());
        ExtrasError::content(&format!("Kubernetes {}", order.choice.kubernetes), why)
    })?;
    let (images, work) = (order.out.join("images"), order.out.join(".work"));
    let (blobs, tmp) = (work.join("blobs"), work.join("tmp"));
    [&images, &blobs, &tmp].into_iter().try_for_each(|dir| files::create_dirs(dir))?;
    let registries = Registries::new(order.fetch, order.mirrors);
    let get = Getter { fetch: &registries, blobs: &blobs, tmp: &tmp, progress: order.progress, clock: order.clock };
    let mut bundle = Bundle { spec: ExtrasSpec::default(), signed_by: String::new(), notes: Vec::new() };
    order.progress.begin("resolving packages", None);
    packages(order, &get, &mut bundle)?;
    let mut wanted = need::of_kubeadm(order.choice, facts);
    order.progress.begin("reading charts", None);
    if let Some(cilium) = &order.choice.cilium {
        let addon = Addon { name: "cilium".to_owned(), version: cilium.version.to_string(), repository: order.charts.to_owned() };
        wanted.extend(chart(&addon, &cilium.all_values(), &get, &mut bundle)?);
        helm(order, &cilium.helm, &mut bundle)?;
    }
    for addon in order.addons {
        wanted.extend(chart(addon, &Value::Null, &get, &mut bundle)?);
    }
    for Wanted { reference, .. } in &wanted {
        // Two charts may use one image.
        let same = |i: &ImageSpec| i.name == reference.name && Some(&i.tag) == reference.tag.as_ref();
        if bundle.spec.images.iter().any(same) {
            continue;
        }
        order.progress.begin(&format!("pulling {}", reference.short()), None);
        let pulled = pull(&get, &registries, reference, &images)?;
        let (name, url) = (reference.name.clone(), absolute(&pulled.archive)?.to_string());
        bundle.spec.images.push(ImageSpec { name, tag: pulled.tag, url, sha256: pulled.sha256, signature: None });
    }
    order.progress.end();
    bundle.spec.images.sort_by(|a, b| (&a.name, &a.tag).cmp(&(&b.name, &b.tag)));
    bundle.spec.check().map_err(|(why, _)| ExtrasError::content("the section", why))?;
    fs::remove_dir_all(&work).map_err(failed("removing", &work))?;
    Ok(bundle)
}

fn absolute(path: &Utf8Path) -> Result<Utf8PathBuf, ExtrasError> {
    Ok(path.canonicalize_utf8().map_err(failed("resolving", path))?)
}

/// The newest package of the cluster's version of each name, in an index that the repository's key signed.
fn packages(order: &Order<'_>, get: &Getter<'_>, bundle: &mut Bundle) -> Result<(), ExtrasError> {
    let kubernetes = order.choice.kubernetes;
    let base = order.packages.trim_end_matches('/');
    let key_url = format!("{base}/Release.key");
    let key = fetch::get_all(get.fetch, &address(&key_url), MAX_KEYRING as u64)?;
    let keyring = Keyring::from_bytes(&key).map_err(|source| ExtrasError::Key { name: NAME.to_owned(), source })?;
    let repository = RepositorySpec { url: base.to_owned(), suite: "/".to_owned(), component: None, key: NAME.to_owned() };
    let exact = EXACT.iter().chain([&KUBECTL]).map(|name| (*name, true));
    let others = [CRI_TOOLS, "kubernetes-cni"].map(|name| (name, false));
    let names: Vec<(&str, bool)> = exact.chain(others).collect();
    let wanted: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
    let listing = listing(get, NAME, &repository, &keyring, &wanted)?;
    if let Some(expected) = order.fingerprint.filter(|f| !listing.signed_by.iter().any(|by| by.eq_ignore_ascii_case(f))) {
        let why = format!("it is signed by {}, not by {expected}", listing.signed_by.join(", "));
        return Err(ExtrasError::Repository { repository: NAME.to_owned(), why });
    }
    bundle.signed_by = listing.signed_by.first().cloned().unwrap_or_default();
    for (name, exact) in names {
        bundle.spec.packages.push(newest(&listing, name, exact.then_some(kubernetes))?);
    }
    bundle.spec.keys.insert(NAME.to_owned(), Pinned { url: key_url, sha256: Digest::of(&key) });
    bundle.spec.repositories.insert(NAME.to_owned(), repository);
    Ok(())
}

fn newest(listing: &Listing, name: &str, version: Option<Version>) -> Result<PackageSpec, ExtrasError> {
    let bad = |why: String| ExtrasError::Repository { repository: NAME.to_owned(), why };
    let named = listing.packages.iter().filter(|p| p.name == name && (p.arch == "amd64" || p.arch == "all"));
    let fits = |have: &str| version.is_none_or(|wanted| Version::of_package(have) == Some(wanted));
    let mut fitting: Vec<_> = named.filter(|p| fits(&p.version)).collect();
    fitting.sort_by(|a, b| compare(&b.version, &a.version));
    let wanted = version.map(|v| format!(" {v}")).unwrap_or_default();
    let found = fitting.first().ok_or_else(|| bad(format!("it has no {name}{wanted} for amd64")))?;
    let Sum::Sha256(sha256) = found.sum else {
        return Err(bad(format!("it lists no SHA256 of {name} {}", found.version)));
    };
    Ok(PackageSpec {
        repository: NAME.to_owned(),
        package: name.to_owned(),
        version: found.version.clone(),
        architecture: found.arch.clone(),
        sha256,
    })
}

/// Fetches a chart, and returns the images that it needs.
fn chart(addon: &Addon, values: &Value, get: &Getter<'_>, bundle: &mut Bundle) -> Result<Vec<Wanted>, ExtrasError> {
    let Addon { name, version, repository } = addon;
    let found = fetch_chart(get.fetch, repository, name, version)?;
    let file = get.tmp.join("chart.tgz");
    files::write_synced(&file, &found.bytes)?;
    let (yaml, odd) = charts::read(&file, name, version)?;
    odd.iter().for_each(|odd| get.progress.say(&format!("chart {name} {version}: {odd}")));
    let values_yaml = charts::values(&file, name, version)?;
    let app_version = yaml.app_version.unwrap_or_default();
    let chart =
        Chart { name: name.clone(), version: yaml.version.clone(), app_version, sha256: found.sha256, values: values_yaml };
    let values = if values.is_null() { Value::Object(serde_json::Map::new()) } else { values.clone() };
    let images = need::of_chart(&chart, &values).map_err(|e| ExtrasError::content(&format!("chart {name} {version}"), e))?;
    let spec = ChartSpec { name: name.clone(), version: yaml.version, url: found.url, sha256: found.sha256, signature: None };
    bundle.spec.charts.push(spec);
    Ok(images)
}

/// The program that renders Cilium's chart on a control plane.
fn helm(order: &Order<'_>, path: &str, bundle: &mut Bundle) -> Result<(), ExtrasError> {
    let Some(file) = order.helm else {
        bundle.notes.push(format!("add the program helm (linux/amd64) to extras.files as {path}, or use --helm FILE"));
        return Ok(());
    };
    let file = absolute(file)?;
    let (_, sha256) = files::digest_file(&file, order.progress)?;
    bundle.spec.files.push(FileSpec { path: path.to_owned(), url: file.to_string(), sha256, signature: None });
    Ok(())
}
