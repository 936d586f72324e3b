//! The index of a published snapshot: which packages it has, what they need, where their files are.
//!
//! The snapshot is our own and was verified when it was published. Here we only check that it has not changed since:
//! Packages against Release, every package against Packages.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek as _};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::arch::Arch;
use cluster_seed::ids::Digest;
use host::files::{digest_reader, failed, read_limited};
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use crate::error::{Error, in_tree};
use crate::tree;

/// Largest Packages file, decompressed, in bytes.
const MAX_INDEX: u64 = 256 << 20;
const MAX_RELEASE: u64 = 4 << 20;

/// One package of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    pub name: String,
    pub essential: bool,
    /// Pre-Depends and Depends: groups of alternatives, names only.
    pub needs: Vec<Vec<String>>,
    pub provides: Vec<String>,
    /// Path below the snapshot's directory.
    pub filename: String,
    pub sha256: Digest,
}

impl Package {
    /// Its version without the epoch, as in the name of its file (Debian policy 5.6.12).
    pub fn version(&self) -> &str {
        self.filename.rsplit('/').next().and_then(|file| file.split('_').nth(1)).unwrap_or_default()
    }
}

/// Every package of one suite.
pub struct Index {
    packages: BTreeMap<String, Package>,
    providers: BTreeMap<String, BTreeSet<String>>,
    dir: Utf8PathBuf,
    /// Release's `Date` in seconds since 1970: SOURCE_DATE_EPOCH of everything built from the snapshot.
    pub epoch: u64,
    pub components: Vec<String>,
    pub arch: Arch,
}

fn field<'t>(stanza: &'t str, name: &str) -> Option<&'t str> {
    stanza.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// Names in a relation field (deb-control(5)). Versions, architectures and qualifiers are dropped: the snapshot has one
/// version of each package, and its dependencies were resolved together.
fn relations(text: &str) -> Vec<Vec<String>> {
    let name = |part: &str| part.trim().split([' ', '(', '[', ':']).next().unwrap_or_default().to_owned();
    text.split(',')
        .map(|g| g.split('|').map(name).filter(|n| !n.is_empty()).collect())
        .filter(|g: &Vec<_>| !g.is_empty())
        .collect()
}

fn parse_package(stanza: &str) -> Option<Package> {
    let group = |name: &str| field(stanza, name).map(relations).unwrap_or_default();
    Some(Package {
        name: field(stanza, "Package")?.to_owned(),
        essential: field(stanza, "Essential") == Some("yes"),
        needs: [group("Pre-Depends"), group("Depends")].concat(),
        provides: group("Provides").into_iter().flatten().collect(),
        filename: field(stanza, "Filename")?.to_owned(),
        sha256: field(stanza, "SHA256")?.parse().ok()?,
    })
}

/// Seconds since 1970 of a Release file's `Date` (RFC 5322 form, always UTC).
fn parse_date(text: &str) -> Option<u64> {
    let local = ["UTC", "GMT", "+0000"].iter().find_map(|zone| text.trim().strip_suffix(zone))?;
    let time = strtime::parse("%a, %d %b %Y %H:%M:%S", local.trim_end()).ok()?.to_datetime().ok()?;
    u64::try_from(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second()).ok()
}

/// The Release file of a suite: its path, its text and its date in seconds since 1970.
fn release(dir: &Utf8Path, suite: &str) -> Result<(Utf8PathBuf, String, u64), Error> {
    let path = dir.join("dists").join(suite).join("Release");
    let text = String::from_utf8_lossy(&read_limited(&path, MAX_RELEASE)?).into_owned();
    let epoch = field(&text, "Date").and_then(parse_date);
    let epoch = epoch.ok_or_else(|| Error::Index { path: path.clone(), why: "no valid Date".to_owned() })?;
    Ok((path, text, epoch))
}

impl Index {
    /// [`Index::epoch`] alone, which is read much faster.
    pub fn epoch_of(dir: &Utf8Path, suite: &str) -> Result<u64, Error> {
        Ok(release(dir, suite)?.2)
    }

    /// Opens `dir/dists/<suite>`, with the packages for the seed's architecture.
    pub fn open(dir: &Utf8Path, suite: &str) -> Result<Self, Error> {
        Self::of(dir, suite, Arch::Amd64)
    }

    /// The same with the packages for `arch`.
    pub fn of(dir: &Utf8Path, suite: &str, arch: Arch) -> Result<Self, Error> {
        let dists = dir.join("dists").join(suite);
        let (path, text, epoch) = release(dir, suite)?;
        let bad = |why: &str| Error::Index { path: path.clone(), why: why.to_owned() };
        let components: Vec<String> =
            field(&text, "Components").ok_or_else(|| bad("no Components"))?.split_whitespace().map(str::to_owned).collect();
        let (packages, providers) = (BTreeMap::new(), BTreeMap::new());
        let mut index = Index { packages, providers, dir: dir.to_owned(), epoch, components, arch };
        for component in index.components.clone() {
            let text = read_packages(&dists, &component, arch, &text)?;
            text.split("\n\n").filter_map(parse_package).for_each(|p| index.add(p));
        }
        Ok(index)
    }

    fn add(&mut self, package: Package) {
        for name in &package.provides {
            self.providers.entry(name.clone()).or_default().insert(package.name.clone());
        }
        self.packages.entry(package.name.clone()).or_insert(package);
    }

    pub fn get(&self, name: &str, needed_by: &str) -> Result<&Package, Error> {
        let missing = || Error::Missing { package: name.to_owned(), needed_by: needed_by.to_owned() };
        self.packages.get(name).ok_or_else(missing)
    }

    /// The package with the kernel that `linux-image-amd64` depends on, or that of the index's architecture.
    pub fn kernel(&self) -> Result<&Package, Error> {
        let meta = self.get(&self.arch.package("linux-image-amd64"), "netboot")?;
        let names = meta.needs.iter().flatten().filter(|n| n.starts_with("linux-image-"));
        let missing = || Error::Missing { package: "linux-image-*".into(), needed_by: meta.name.clone() };
        names.filter_map(|n| self.packages.get(n)).next().ok_or_else(missing)
    }

    fn satisfy<'s>(&'s self, group: &[String], taken: &BTreeSet<String>) -> Option<&'s Package> {
        let real = |n: &String| self.packages.get(n);
        let provided = |n: &String| self.providers.get(n)?.iter().find_map(|p| self.packages.get(p));
        let have = |p: &&Package| taken.contains(&p.name);
        let candidates = || group.iter().filter_map(real).chain(group.iter().filter_map(provided));
        candidates().find(have).or_else(|| candidates().next())
    }

    /// `roots`, every essential package, and all they need, sorted by name.
    pub fn closure(&self, roots: &[&str]) -> Result<Vec<&Package>, Error> {
        let mut taken: BTreeSet<String> = BTreeSet::new();
        let mut todo: Vec<&Package> = self.packages.values().filter(|p| p.essential).collect();
        for root in roots {
            todo.push(self.get(root, "building images")?);
        }
        taken.extend(todo.iter().map(|p| p.name.clone()));
        while let Some(package) = todo.pop() {
            for group in &package.needs {
                let missing = || Error::Missing { package: group.join(" | "), needed_by: package.name.clone() };
                let chosen = self.satisfy(group, &taken).ok_or_else(missing)?;
                if taken.insert(chosen.name.clone()) {
                    todo.push(chosen);
                }
            }
        }
        Ok(taken.iter().filter_map(|n| self.packages.get(n)).collect())
    }

    /// Verifies the digest of a package's file and returns the file, at its beginning.
    pub fn open_deb(&self, package: &Package) -> Result<(Utf8PathBuf, File), Error> {
        let path = self.dir.join(tree::parts(&package.filename).map_err(in_tree(&self.dir))?.join("/"));
        let reading = failed("reading", &path);
        let mut file = File::open(&path).map_err(&reading)?;
        if digest_reader(&mut file).map_err(&reading)?.1 != package.sha256 {
            return Err(Error::Changed { path });
        }
        file.rewind().map_err(reading)?;
        Ok((path, file))
    }
}

/// Packages of a component, in the first form that exists, verified against Release.
fn read_packages(dists: &Utf8Path, component: &str, arch: Arch, release: &str) -> Result<String, Error> {
    for ending in ["", ".xz", ".gz"] {
        let name = format!("{component}/binary-{arch}/Packages{ending}");
        let path = dists.join(&name);
        if !path.exists() {
            continue;
        }
        let bad = |why: &str| Error::Index { path: path.clone(), why: why.to_owned() };
        let stored = read_limited(&path, MAX_INDEX)?;
        let listed = release.lines().find_map(|l| {
            let mut words = l.split_whitespace();
            let (digest, _size, file) = (words.next()?, words.next()?, words.next()?);
            (file == name).then(|| digest.parse::<Digest>().ok()).flatten()
        });
        if listed.ok_or_else(|| bad("Release has no SHA256 for it"))? != Digest::of(&stored) {
            return Err(Error::Changed { path });
        }
        let mut text = Vec::new();
        let limit = MAX_INDEX + 1;
        match ending {
            ".xz" => liblzma::read::XzDecoder::new(&stored[..]).take(limit).read_to_end(&mut text),
            ".gz" => flate2::read::GzDecoder::new(&stored[..]).take(limit).read_to_end(&mut text),
            _ => (&stored[..]).take(limit).read_to_end(&mut text),
        }
        .map_err(failed("decompressing", &path))?;
        if text.len() as u64 > MAX_INDEX {
            return Err(bad("too large when decompressed"));
        }
        return String::from_utf8(text).map_err(|_| bad("not valid UTF-8"));
    }
    Err(Error::Index { path: dists.join(component), why: format!("no Packages for {arch}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(text: &str) -> Index {
        let mut index = Index {
            packages: BTreeMap::new(),
            providers: BTreeMap::new(),
            dir: "/nonexistent".into(),
            epoch: 0,
            components: Vec::new(),
            arch: Arch::Amd64,
        };
        text.split("\n\n").filter_map(parse_package).for_each(|p| index.add(p));
        index
    }

    fn stanza(name: &str, more: &str) -> String {
        format!("Package: {name}\nVersion: 1\nFilename: pool/{name}.deb\nSHA256: {}\n{more}", Digest::of(name.as_bytes()))
    }

    #[test]
    fn closure_takes_essentials_first_alternatives_and_providers() {
        let text = [
            stanza("base", "Essential: yes"),
            stanza("a", "Depends: gone | b (>= 2), awk, c:any [amd64]\nPre-Depends: base"),
            stanza("b", ""),
            stanza("c", "Depends: mawk | awk"),
            stanza("mawk", "Provides: awk (= 1)"),
            stanza("other", ""),
        ]
        .join("\n\n");
        let index = index(&text);
        let names: Vec<&str> = index.closure(&["a"]).unwrap().iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "base", "c", "mawk"]);
        assert!(matches!(index.closure(&["zz"]), Err(Error::Missing { package, .. }) if package == "zz"));
    }

    #[test]
    fn the_kernel_is_that_of_the_architecture() {
        let names = ["linux-image-arm64", "linux-image-6.12-arm64", "linux-image-amd64", "linux-image-6.12-amd64"];
        let of = |at: usize| stanza(names[at], &format!("Depends: {}", names[at + 1]));
        let text = [of(0), stanza(names[1], ""), of(2), stanza(names[3], "")].join("\n\n");
        let mut index = index(&text);
        assert_eq!(index.kernel().unwrap().name, "linux-image-6.12-amd64");
        index.arch = Arch::Arm64;
        assert_eq!(index.kernel().unwrap().name, "linux-image-6.12-arm64");
    }

    #[test]
    fn a_missing_dependency_names_the_package_that_needs_it() {
        let index = index(&stanza("a", "Depends: x | y"));
        let error = index.closure(&["a"]).err().map(|e| e.to_string()).unwrap_or_default();
        assert_eq!(error, "the snapshot has no package x | y, needed by a");
    }

    #[test]
    fn release_dates() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 UTC", Some(0)),
            ("Sat, 15 Nov 2025 10:00:00 UTC", Some(1_763_200_800)),
            ("Thu, 29 Feb 2024 23:59:59 +0000", Some(1_709_251_199)),
            ("Sat, 15 Nov 2025 10:00:00 CET", None),
            ("today", None),
        ] {
            assert_eq!(parse_date(text), seconds, "{text}");
        }
    }
}
