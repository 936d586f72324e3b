//! Extras: files, images, charts and packages from other sources than Debian. The section of cluster.yaml that pins each by
//! its sha256, and the signed list of what was fetched and is served. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::Digest;

mod manifest;

pub use manifest::{ExtrasManifest, ImageTag, OciManifest, Origin};

/// Most entries in all sections.
pub const MAX_THINGS: usize = 10_000;
/// Version of the manifest's form.
pub const VERSION: u32 = 1;
/// Largest sealed manifest read, in bytes.
pub const MAX_MANIFEST: u64 = 16 << 20;
/// The manifest's name in `extras/<id>/`.
pub const FILE: &str = "extras.json";
/// In the same folder: what is served below `/darksite/extras/`, and the blobs of images by their digest.
pub const TREE: &str = "tree";
pub const OCI: &str = "oci";

/// `spec.extras` of cluster.yaml.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExtrasSpec {
    /// OpenPGP certificates of signers, by a name for use below.
    pub keys: BTreeMap<String, Pinned>,
    /// Served at `/darksite/extras/files/PATH`.
    pub files: Vec<FileSpec>,
    /// OCI layout archives, pulled from `/v2/NAME`.
    pub images: Vec<ImageSpec>,
    /// Helm charts, a repository at `/darksite/extras/charts`.
    pub charts: Vec<ChartSpec>,
    /// Repositories that packages come from, by a name for use in `packages`.
    pub repositories: BTreeMap<String, RepositorySpec>,
    /// Packages of these repositories, published as suite `extras` at `/darksite/extras/apt`.
    pub packages: Vec<PackageSpec>,
    /// Single packages without a repository, published there too.
    pub debs: Vec<DebSpec>,
    /// Files in which the lint's findings are known and harmless, by the digest of the whole file.
    pub lint_allow: Vec<AllowSpec>,
}

/// A source with a known digest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pinned {
    /// `https://…`, `http://…`, `file:///…`, or a path that begins with `/`.
    pub url: String,
    #[serde(deserialize_with = "any_case")]
    pub sha256: Digest,
}

/// A detached OpenPGP signature over the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignatureSpec {
    pub url: String,
    /// Name of one of `keys`.
    pub key: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileSpec {
    pub path: String,
    pub url: String,
    #[serde(deserialize_with = "any_case")]
    pub sha256: Digest,
    #[serde(default)]
    pub signature: Option<SignatureSpec>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageSpec {
    /// Name as used by nodes, with its registry: `registry.k8s.io/pause`.
    pub name: String,
    pub tag: String,
    pub url: String,
    #[serde(deserialize_with = "any_case")]
    pub sha256: Digest,
    #[serde(default)]
    pub signature: Option<SignatureSpec>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChartSpec {
    pub name: String,
    pub version: String,
    pub url: String,
    #[serde(deserialize_with = "any_case")]
    pub sha256: Digest,
    #[serde(default)]
    pub signature: Option<SignatureSpec>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RepositorySpec {
    pub url: String,
    /// `stable`; for a flat one `/`, or its folder with a slash at the end (sources.list(5)).
    pub suite: String,
    /// Needed unless the repository is flat.
    #[serde(default)]
    pub component: Option<String>,
    /// Name of one of `keys`: its Release file must be signed by it.
    pub key: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PackageSpec {
    pub repository: String,
    pub package: String,
    pub version: String,
    #[serde(default = "amd64")]
    pub architecture: String,
    #[serde(deserialize_with = "any_case")]
    pub sha256: Digest,
}

/// A digest in capital or small letters: some tools print capitals.
fn any_case<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
    let text = String::deserialize(from)?;
    text.to_ascii_lowercase().parse().map_err(serde::de::Error::custom)
}

fn amd64() -> String {
    "amd64".to_owned()
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DebSpec {
    pub url: String,
    #[serde(deserialize_with = "any_case")]
    pub sha256: Digest,
    #[serde(default)]
    pub signature: Option<SignatureSpec>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllowSpec {
    #[serde(deserialize_with = "any_case")]
    pub sha256: Digest,
    /// The reason.
    pub why: String,
}

/// A plain relative path: visible ASCII names, no `..`.
pub fn is_plain_path(path: &str) -> bool {
    let name_ok = |name: &str| {
        !name.is_empty()
            && name.len() <= 255
            && !name.starts_with('.')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-~".contains(&b))
    };
    path.len() <= 400 && path.split('/').count() <= 8 && path.split('/').all(name_ok)
}

/// The suite of a flat repository: `/`, `./`, or a folder with a slash at its end (sources.list(5)).
fn is_flat(suite: &str) -> bool {
    let folder = suite.strip_prefix("./").unwrap_or(suite);
    match folder.strip_suffix('/') {
        Some(folder) => folder.is_empty() || is_plain_path(folder),
        None => folder.is_empty() && !suite.is_empty(),
    }
}

/// A repository's name (distribution-spec, "Pulling manifests"): lower-case words, here with a registry's dots and port.
pub fn is_image_name(name: &str) -> bool {
    let word = |w: &str| {
        !w.is_empty()
            && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-:".contains(&b))
            && w.starts_with(|c: char| c.is_ascii_alphanumeric())
            && w.ends_with(|c: char| c.is_ascii_alphanumeric())
            && !w.contains("..")
    };
    let first_has_port_only = !name.split('/').skip(1).any(|w| w.contains(':'));
    name.len() <= 255 && name.split('/').count() >= 2 && name.split('/').all(word) && first_has_port_only
}

/// A tag (distribution-spec): `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !tag.starts_with(['.', '-'])
}

/// A name in a path or a list.
fn is_word(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-~:".contains(&b))
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// cluster.yaml is copied to other sites, and addresses are published.
const LOGIN_HINT: &str =
    "write it into a netrc file (machine HOST login NAME password WORD), and use `seedd darksite extras fetch --netrc FILE`";

/// A problem and a hint, which may be empty.
pub type Wrong = (String, &'static str);

/// True if an address contains a user name or a password (RFC 3986 section 3.2.1).
pub fn has_login(url: &str) -> bool {
    let host = url.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    host.is_some_and(|host| host.contains('@'))
}

fn check_url(what: &str, url: &str) -> Result<(), Wrong> {
    if has_login(url) {
        // The address is not repeated: messages are logged. Of a single package it would be the only name.
        let what = if has_login(what) { "a package in debs" } else { what };
        return Err((format!("extras: {what}: its address contains a user name or a password"), LOGIN_HINT));
    }
    let known = ["https://", "http://", "file:///", "/"].iter().any(|s| url.starts_with(s));
    if known && !url.chars().any(|c| c.is_whitespace() || c.is_control()) && url.len() <= 2048 {
        return Ok(());
    }
    Err((format!("extras: {what}: {url:?} is not an address"), "http://…, https://…, file:///… or an absolute path"))
}

impl ExtrasSpec {
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
            && self.images.is_empty()
            && self.charts.is_empty()
            && self.packages.is_empty()
            && self.debs.is_empty()
    }

    /// Checks what the types do not ensure: `signature` keys and repositories must exist, names must be unique.
    pub fn check(&self) -> Result<(), Wrong> {
        let things = self.files.len() + self.images.len() + self.charts.len() + self.packages.len() + self.debs.len();
        if things + self.keys.len() + self.repositories.len() + self.lint_allow.len() > MAX_THINGS {
            return Err((format!("extras: more than {MAX_THINGS} entries"), ""));
        }
        for (name, key) in &self.keys {
            check_url(&format!("key {name}"), &key.url)?;
        }
        self.check_signatures()?;
        self.check_files()?;
        self.check_images()?;
        self.check_packages()
    }

    fn check_signatures(&self) -> Result<(), Wrong> {
        let files = self.files.iter().map(|f| (f.path.as_str(), &f.url, &f.signature));
        let images = self.images.iter().map(|i| (i.name.as_str(), &i.url, &i.signature));
        let charts = self.charts.iter().map(|c| (c.name.as_str(), &c.url, &c.signature));
        let debs = self.debs.iter().map(|d| (d.url.as_str(), &d.url, &d.signature));
        for (what, url, signature) in files.chain(images).chain(charts).chain(debs) {
            check_url(what, url)?;
            let Some(signature) = signature else { continue };
            check_url(what, &signature.url)?;
            if !self.keys.contains_key(&signature.key) {
                return Err((format!("extras: {what}: there is no key {:?}", signature.key), "define it in extras.keys"));
            }
        }
        Ok(())
    }

    fn check_files(&self) -> Result<(), Wrong> {
        let mut seen = BTreeSet::new();
        for file in &self.files {
            if !is_plain_path(&file.path) {
                return Err((format!("extras: {:?} is not a plain relative path", file.path), "for example k8s/kubectl"));
            }
            if !seen.insert(file.path.as_str()) {
                return Err((format!("extras: file {} is listed twice", file.path), ""));
            }
        }
        let parents = seen.iter().flat_map(|p| p.match_indices('/').map(|(at, _)| &p[..at]));
        if let Some(both) = parents.into_iter().find(|p| seen.contains(p)) {
            return Err((format!("extras: {both} is both a file and a folder"), ""));
        }
        let mut seen = BTreeSet::new();
        for chart in &self.charts {
            if !is_word(&chart.name) || !is_word(&chart.version) || chart.version.contains(':') || chart.name.contains(':') {
                return Err((format!("extras: chart {:?} {:?}: invalid name or version", chart.name, chart.version), ""));
            }
            if !seen.insert((&chart.name, &chart.version)) {
                return Err((format!("extras: chart {} {} is listed twice", chart.name, chart.version), ""));
            }
        }
        Ok(())
    }

    fn check_images(&self) -> Result<(), Wrong> {
        let mut seen = BTreeSet::new();
        for image in &self.images {
            if !is_image_name(&image.name) {
                let hint = "with its registry, without its tag: registry.k8s.io/pause, docker.io/library/nginx";
                return Err((format!("extras: {:?} is not an image name", image.name), hint));
            }
            if !is_tag(&image.tag) {
                return Err((format!("extras: image {}: {:?} is not a tag", image.name, image.tag), "quote it: tag: \"3.10\""));
            }
            if !seen.insert((&image.name, &image.tag)) {
                return Err((format!("extras: image {}:{} is listed twice", image.name, image.tag), ""));
            }
        }
        Ok(())
    }

    fn check_packages(&self) -> Result<(), Wrong> {
        for (name, repository) in &self.repositories {
            check_url(name, &repository.url)?;
            if !is_word(name) || name.contains(':') {
                return Err((format!("extras: {name:?} is not a repository name"), "letters, digits, dots and dashes"));
            }
            if !self.keys.contains_key(&repository.key) {
                return Err((format!("extras: repository {name}: there is no key {:?}", repository.key), "see extras.keys"));
            }
            let words = is_plain_path(&repository.suite) && repository.component.as_deref().is_some_and(is_plain_path);
            if !(repository.component.is_none() && is_flat(&repository.suite) || words) {
                let hint = "suite: / or a folder with / at its end alone, or suite: and component:, as in sources.list";
                return Err((format!("extras: repository {name} has no usable suite and component"), hint));
            }
        }
        let mut seen = BTreeSet::new();
        for package in &self.packages {
            if !self.repositories.contains_key(&package.repository) {
                let hint = "define it in extras.repositories";
                return Err((format!("extras: package {}: no repository {:?}", package.package, package.repository), hint));
            }
            if ![&package.package, &package.version, &package.architecture].into_iter().all(|w| is_word(w)) {
                return Err((format!("extras: {:?} is not a package with version and architecture", package.package), ""));
            }
            if !seen.insert((&package.package, &package.version, &package.architecture)) {
                return Err((format!("extras: package {} {} is listed twice", package.package, package.version), ""));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
