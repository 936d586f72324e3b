//! Reading a published snapshot: which packages it has, what they need, where their files lie.
//!
//! The snapshot is our own and was verified when it was published; what is checked here is that it did not change since:
//! Packages against Release, every package against Packages.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;

use crate::error::{Error, io};
use crate::spec::ARCH;
use crate::store;

/// Bytes of a Packages file, decompressed.
const MAX_INDEX: u64 = 256 << 20;
const MAX_RELEASE: u64 = 4 << 20;

/// One package of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub essential: bool,
    /// Pre-Depends and Depends: groups of alternatives, names only.
    pub needs: Vec<Vec<String>>,
    pub provides: Vec<String>,
    /// Below the snapshot's folder.
    pub filename: String,
    pub sha256: Digest,
}

/// All packages of one suite.
pub struct Index {
    packages: BTreeMap<String, Package>,
    providers: BTreeMap<String, BTreeSet<String>>,
    dir: Utf8PathBuf,
    /// Release's `Date` in seconds since 1970: the SOURCE_DATE_EPOCH of everything built from the snapshot.
    pub epoch: u64,
    pub components: Vec<String>,
}

fn field<'t>(stanza: &'t str, name: &str) -> Option<&'t str> {
    stanza.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// Names of a relation field (deb-control(5)): versions, architectures and qualifiers dropped, since the snapshot holds
/// one version of each package and was resolved as a whole.
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
        version: field(stanza, "Version")?.to_owned(),
        essential: field(stanza, "Essential") == Some("yes"),
        needs: [group("Pre-Depends"), group("Depends")].concat(),
        provides: group("Provides").into_iter().flatten().collect(),
        filename: field(stanza, "Filename")?.to_owned(),
        sha256: field(stanza, "SHA256")?.parse().ok()?,
    })
}

/// Seconds since 1970 of a Release file's `Date` (RFC 5322 form, always UTC).
fn parse_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [_, day, month, year, time, "UTC" | "GMT" | "+0000"] = parts[..] else { return None };
    let month = MONTHS.iter().position(|m| *m == month)? as i64 + 1;
    let (day, year): (i64, i64) = (day.parse().ok()?, year.parse().ok()?);
    let clock: Vec<i64> = time.split(':').map(|n| n.parse().ok()).collect::<Option<_>>()?;
    let [h, m, s] = clock[..] else { return None };
    // Days from civil (Howard Hinnant, chrono-compatible low-level date algorithms).
    let y = year - i64::from(month <= 2);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days =
        365 * y.rem_euclid(400) + y.rem_euclid(400) / 4 - y.rem_euclid(400) / 100 + day_of_year + y.div_euclid(400) * 146_097
            - 719_468;
    u64::try_from(days * 86_400 + h * 3600 + m * 60 + s).ok()
}

fn read_text(path: &Utf8Path, limit: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io("open", path))?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(io("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(Error::Index { path: path.to_owned(), why: format!("more than {limit} bytes") });
    }
    Ok(bytes)
}

impl Index {
    /// Opens `dir/dists/<suite>`.
    pub fn open(dir: &Utf8Path, suite: &str) -> Result<Self, Error> {
        let dists = dir.join("dists").join(suite);
        let path = dists.join("Release");
        let text = String::from_utf8_lossy(&read_text(&path, MAX_RELEASE)?).into_owned();
        let bad = |why: &str| Error::Index { path: path.clone(), why: why.to_owned() };
        let epoch = field(&text, "Date").and_then(parse_date).ok_or_else(|| bad("no Date that can be read"))?;
        let components: Vec<String> =
            field(&text, "Components").ok_or_else(|| bad("no Components"))?.split_whitespace().map(str::to_owned).collect();
        let mut index = Index { packages: BTreeMap::new(), providers: BTreeMap::new(), dir: dir.to_owned(), epoch, components };
        for component in index.components.clone() {
            let text = read_packages(&dists, &component, &text)?;
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

    /// Opens a package's file after its digest was compared.
    pub fn open_deb(&self, package: &Package) -> Result<(Utf8PathBuf, File), Error> {
        let parts = crate::tree::parts(&package.filename).map_err(|source| Error::Tree { root: self.dir.clone(), source })?;
        let path = self.dir.join(parts.join("/"));
        let mut file = File::open(&path).map_err(io("open", &path))?;
        if store::digest_rest(&mut file).map_err(io("read", &path))?.0 != package.sha256 {
            return Err(Error::Changed { path });
        }
        io::Seek::rewind(&mut file).map_err(io("rewind", &path))?;
        Ok((path, file))
    }
}

/// The first form of Packages that is there, after its digest was compared with Release.
fn read_packages(dists: &Utf8Path, component: &str, release: &str) -> Result<String, Error> {
    for ending in ["", ".xz", ".gz"] {
        let name = format!("{component}/binary-{ARCH}/Packages{ending}");
        let path = dists.join(&name);
        if !path.exists() {
            continue;
        }
        let bad = |why: &str| Error::Index { path: path.clone(), why: why.to_owned() };
        let stored = read_text(&path, MAX_INDEX)?;
        let listed = release.lines().find_map(|l| {
            let mut words = l.split_whitespace();
            let (digest, _size, file) = (words.next()?, words.next()?, words.next()?);
            (file == name).then(|| digest.parse::<Digest>().ok()).flatten()
        });
        if listed.ok_or_else(|| bad("Release gives no sha256 for it"))? != Digest::of(&stored) {
            return Err(Error::Changed { path });
        }
        let mut text = Vec::new();
        let limit = MAX_INDEX + 1;
        match ending {
            ".xz" => liblzma::read::XzDecoder::new(&stored[..]).take(limit).read_to_end(&mut text),
            ".gz" => flate2::read::GzDecoder::new(&stored[..]).take(limit).read_to_end(&mut text),
            _ => (&stored[..]).take(limit).read_to_end(&mut text),
        }
        .map_err(io("decompress", &path))?;
        if text.len() as u64 > MAX_INDEX {
            return Err(bad("too large"));
        }
        return String::from_utf8(text).map_err(|_| bad("not UTF-8"));
    }
    Err(Error::Index { path: dists.join(component), why: format!("no Packages for {ARCH}") })
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
    fn a_missing_dependency_names_who_needs_it() {
        let index = index(&stanza("a", "Depends: x | y"));
        let error = index.closure(&["a"]).err().map(|e| e.to_string()).unwrap_or_default();
        assert_eq!(error, "the snapshot has no package x | y, which a needs");
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
