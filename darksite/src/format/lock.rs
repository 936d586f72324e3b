//! The lock file: everything a snapshot contains, as sorted text that `diff` can compare. Its sha256 is the snapshot's id.
//!
//! It names no mirror: the same upstream files from two different mirrors make the same snapshot. It pins upstream's signed
//! Release files, every package and file, and the plain text of every published index, so that a build from it gives the
//! same bytes or an error.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cluster_seed::ids::Digest;
use cluster_seed::repo::RepoProfile;
use jiff::Timestamp;

use crate::format::date::{format_date, parse_date};
use crate::format::index::{MAX_ENTRIES, MAX_PACKAGE_SIZE, is_safe_path};
use crate::format::relation::is_name;
use crate::format::version;

/// First line of a lock file; the number changes with the format.
pub const HEADER: &str = "Kubedos-Snapshot-Lock: 2";
/// How that line begins in every version of the format.
pub const NAME: &str = "Kubedos-Snapshot-Lock: ";
/// Bytes of a lock file.
pub const MAX_LOCK: usize = 256 << 20;
/// Header lines of a lock file.
pub const MAX_HEADERS: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    #[error("the lock file is too large ({0} bytes)")]
    TooLarge(usize),
    #[error("line {line} of the lock file: {what}")]
    Line { line: usize, what: &'static str },
    #[error("the lock file is not in canonical form (order or spelling)")]
    NotCanonical,
}

/// An upstream InRelease file whose suite the packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    pub suite: String,
    pub sha256: Digest,
    /// Its Date field.
    pub date: Timestamp,
}

/// A file below `dists/<suite>/`: the plain form of an index, or an unchanged file of upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedFile {
    /// For example `main/binary-amd64/Packages`.
    pub path: String,
    pub sha256: Digest,
    /// Bytes.
    pub size: u64,
}

/// A package of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedPackage {
    pub name: String,
    pub version: String,
    pub arch: String,
    /// Bytes of the .deb.
    pub size: u64,
    pub sha256: Digest,
    /// Its upstream suite.
    pub suite: String,
    /// `main`, or `main/debian-installer` for an installer package.
    pub component: String,
    /// Path below the mirror and below the snapshot.
    pub filename: String,
}

impl LockedPackage {
    /// The sort key of lock files.
    pub fn key(&self) -> (&str, &str, &str, &str) {
        (&self.name, &self.arch, &self.component, &self.filename)
    }
}

/// The lock of a snapshot. `render` does not sort: keep `packages` sorted by [`LockedPackage::key`], files by path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotLock {
    /// Name of the published suite.
    pub suite: String,
    pub components: Vec<String>,
    /// Without `all`, which is always included.
    pub architectures: Vec<String>,
    pub profile: RepoProfile,
    /// True if Recommends were followed.
    pub recommends: bool,
    pub upstream: Vec<Upstream>,
    /// Plain text of every index, by path.
    pub indexes: Vec<LockedFile>,
    /// Unchanged files of upstream (the installer's netboot images), by path.
    pub files: Vec<LockedFile>,
    pub roots: BTreeMap<String, Vec<String>>,
    pub packages: Vec<LockedPackage>,
}

impl SnapshotLock {
    /// Id of the snapshot: sha256 of the rendered text.
    pub fn id(&self) -> Digest {
        Digest::of(self.render().as_bytes())
    }

    /// The published Date: the newest of the upstream files, so that every build of the lock has the same.
    pub fn date(&self) -> Timestamp {
        self.upstream.iter().map(|u| u.date).max().unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Bytes of all packages and files.
    pub fn bytes(&self) -> u64 {
        let packages: u64 = self.packages.iter().map(|p| p.size).sum();
        packages + self.files.iter().map(|f| f.size).sum::<u64>()
    }

    pub fn render(&self) -> String {
        let (components, architectures) = (self.components.join(" "), self.architectures.join(" "));
        let mut out = String::with_capacity(self.packages.len() * 240 + 4096);
        let recommends = if self.recommends { "yes" } else { "no" };
        // Writing to a String cannot fail.
        let _ = write!(out, "{HEADER}\nSuite: {}\nComponents: {components}\nArchitectures: {architectures}\n", self.suite);
        let _ = write!(out, "Profile: {}\nRecommends: {recommends}\n", self.profile);
        for u in &self.upstream {
            let _ = writeln!(out, "Upstream: {} {} {}", u.suite, u.sha256, format_date(u.date));
        }
        for (name, files) in [("Index", &self.indexes), ("File", &self.files)] {
            for LockedFile { path, sha256, size } in files {
                let _ = writeln!(out, "{name}: {path} {sha256} {size}");
            }
        }
        for (role, roots) in &self.roots {
            let _ = writeln!(out, "Role: {role} {}", roots.join(" "));
        }
        out.push('\n');
        for p in &self.packages {
            let LockedPackage { name, version, arch, size, sha256, suite, component, filename } = p;
            let _ = writeln!(out, "{name} {version} {arch} {size} {sha256} {suite} {component} {filename}");
        }
        out
    }

    /// Parses a lock file. Only the form that [`SnapshotLock::render`] writes is accepted.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        if text.len() > MAX_LOCK {
            return Err(LockError::TooLarge(text.len()));
        }
        let mut lock = SnapshotLock {
            suite: String::new(),
            components: Vec::new(),
            architectures: Vec::new(),
            profile: RepoProfile::Base,
            recommends: false,
            upstream: Vec::new(),
            indexes: Vec::new(),
            files: Vec::new(),
            roots: BTreeMap::new(),
            packages: Vec::new(),
        };
        let mut lines = text.lines().enumerate();
        if lines.next().map(|(_, l)| l) != Some(HEADER) {
            return Err(LockError::Line { line: 1, what: "not a lock file of a supported version" });
        }
        for (number, line) in lines.by_ref() {
            if line.is_empty() {
                break;
            }
            if number > MAX_HEADERS {
                return Err(LockError::Line { line: number + 1, what: "too many header lines" });
            }
            lock.header(line).map_err(|what| LockError::Line { line: number + 1, what })?;
        }
        for (number, line) in lines {
            if lock.packages.len() == MAX_ENTRIES {
                return Err(LockError::Line { line: number + 1, what: "too many packages" });
            }
            lock.packages.push(package(line).map_err(|what| LockError::Line { line: number + 1, what })?);
        }
        let by_path = |files: &[LockedFile]| files.is_sorted_by(|a, b| a.path < b.path);
        let sorted = lock.packages.is_sorted_by(in_order) && by_path(&lock.indexes) && by_path(&lock.files);
        if !sorted || lock.render() != text { Err(LockError::NotCanonical) } else { Ok(lock) }
    }

    fn header(&mut self, line: &str) -> Result<(), &'static str> {
        let (name, value) = line.split_once(": ").ok_or("a header line without a colon")?;
        match name {
            "Suite" => self.suite = word(value)?,
            "Components" => self.components = value.split(' ').map(word).collect::<Result<_, _>>()?,
            "Architectures" => self.architectures = value.split(' ').map(word).collect::<Result<_, _>>()?,
            "Profile" => self.profile = value.parse().map_err(|_| "unknown profile")?,
            "Recommends" => self.recommends = value == "yes",
            "Upstream" => {
                let mut parts = value.splitn(3, ' ');
                let suite = word(parts.next().unwrap_or_default())?;
                let sha256 = parts.next().and_then(|d| d.parse().ok()).ok_or("malformed upstream digest")?;
                let date = parts.next().and_then(parse_date).ok_or("malformed upstream date")?;
                self.upstream.push(Upstream { suite, sha256, date });
            }
            "Index" => self.indexes.push(file(value)?),
            "File" => self.files.push(file(value)?),
            "Role" => {
                let mut parts = value.split(' ');
                let role = word(parts.next().unwrap_or_default())?;
                let roots = parts.map(root).collect::<Result<Vec<_>, _>>()?;
                if self.roots.insert(role, roots).is_some() {
                    return Err("a role is listed twice");
                }
            }
            _ => return Err("unknown header"),
        }
        Ok(())
    }
}

/// By key, and never the same version of a package twice.
fn in_order(a: &LockedPackage, b: &LockedPackage) -> bool {
    let one = |p: &LockedPackage| (p.name.clone(), p.arch.clone(), p.component.clone(), p.version.clone());
    a.key() < b.key() && (a.name != b.name || one(a) != one(b))
}

fn word(text: &str) -> Result<String, &'static str> {
    if is_word(text) { Ok(text.to_owned()) } else { Err("a name contains characters that are not allowed") }
}

fn root(text: &str) -> Result<String, &'static str> {
    if is_root(text) { Ok(text.to_owned()) } else { Err("malformed root package") }
}

/// True for names of suites, components, architectures and roles that are safe in a lock file and in a path.
pub fn is_word(text: &str) -> bool {
    is_safe_path(text) && !text.contains([':', '%', '=', '@'])
}

/// True for a root package: a name, or `name:architecture` for one architecture only.
pub fn is_root(text: &str) -> bool {
    let (name, arch) = text.split_once(':').unwrap_or((text, "all"));
    is_name(name) && is_word(arch) && !arch.contains('/')
}

fn file(value: &str) -> Result<LockedFile, &'static str> {
    let mut parts = value.splitn(3, ' ');
    let path = parts.next().filter(|p| is_safe_path(p)).ok_or("malformed path")?.to_owned();
    let sha256 = parts.next().and_then(|d| d.parse().ok()).ok_or("malformed digest")?;
    let size = parts.next().and_then(|s| s.parse().ok()).ok_or("malformed size")?;
    Ok(LockedFile { path, sha256, size })
}

fn package(line: &str) -> Result<LockedPackage, &'static str> {
    let mut parts = line.split(' ');
    let mut next = || parts.next().unwrap_or_default();
    let [name, version, arch, size, sha256, suite, component, filename] = std::array::from_fn(|_| next());
    if parts.next().is_some() || filename.is_empty() {
        return Err("a package line must have eight fields");
    }
    if !is_name(name) || !version::is_valid(version) || !is_word(arch) || arch.contains('/') {
        return Err("malformed name, version or architecture");
    }
    if !is_word(suite) || !is_word(component) || !is_safe_path(filename) {
        return Err("malformed suite, component or file name");
    }
    Ok(LockedPackage {
        name: name.to_owned(),
        version: version.to_owned(),
        arch: arch.to_owned(),
        size: size.parse().ok().filter(|&n| n > 0 && n <= MAX_PACKAGE_SIZE).ok_or("malformed size")?,
        sha256: sha256.parse().map_err(|_| "malformed digest")?,
        suite: suite.to_owned(),
        component: component.to_owned(),
        filename: filename.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lock_of(packages: &[(String, String, u64)], roots: BTreeMap<String, Vec<String>>) -> SnapshotLock {
        let mut packages: Vec<_> = packages
            .iter()
            .map(|(name, version, size)| LockedPackage {
                name: name.clone(),
                version: version.clone(),
                arch: "amd64".into(),
                size: *size,
                sha256: Digest::of(name.as_bytes()),
                suite: "trixie".into(),
                component: "main".into(),
                filename: format!("pool/{name}.deb"),
            })
            .collect();
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        packages.dedup_by(|a, b| a.name == b.name);
        let date = Timestamp::from_second(1_700_000_000).unwrap();
        let upstream = vec![Upstream { suite: "trixie".into(), sha256: Digest::of(b"r"), date }];
        let file = |path: &str| LockedFile { path: path.into(), sha256: Digest::of(path.as_bytes()), size: 7 };
        SnapshotLock {
            suite: "trixie".into(),
            components: vec!["main".into()],
            architectures: vec!["amd64".into(), "arm64".into()],
            profile: RepoProfile::BaseUpdates,
            recommends: false,
            upstream,
            indexes: vec![file("main/binary-amd64/Packages"), file("main/i18n/Translation-en")],
            files: vec![file("main/installer-amd64/current/images/SHA256SUMS")],
            roots,
            packages,
        }
    }

    #[test]
    fn refuses_misleading_lines() {
        let good = lock_of(&[("a".into(), "1".into(), 1), ("b".into(), "1".into(), 1)], BTreeMap::new()).render();
        assert!(SnapshotLock::parse(&good).is_ok());
        for (from, to) in [
            ("pool/a.deb", "pool/../a.deb"),
            ("pool/a.deb", "/pool/a.deb"),
            (" 1 amd64 1 ", " 1 amd64 0 "),
            (" 1 amd64 1 ", " 1 amd64 01 "),
            (" 1 amd64 1 ", " 1  amd64 1 "),
            ("a 1 amd64", "a ? amd64"),
            ("b 1 amd64", "a 1 amd64"),
            (" trixie main ", " main "),
            ("Profile: base+updates", "Profile: some"),
            ("Recommends: no", "Recommends: No"),
            ("Index: main/bin", "Index: ../bin"),
            ("main/i18n", "a/i18n"),
            ("Suite: trixie", "Suite: ../trixie"),
            ("Suite: trixie", "Suite: trixie\r"),
            ("UTC", "CET"),
        ] {
            assert!(good.contains(from));
            assert!(SnapshotLock::parse(&good.replacen(from, to, 1)).is_err(), "{to}");
        }
        assert!(matches!(SnapshotLock::parse(""), Err(LockError::Line { line: 1, .. })));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            packages in prop::collection::vec(("[a-z0-9][a-z0-9+.-]{1,12}", "([0-9]:)?[0-9][0-9a-z.+~]{0,8}(-[0-9]{1,3})?", 1u64..1 << 33), 0..20),
            roots in prop::collection::btree_map("[a-z]{1,8}", prop::collection::vec("[a-z0-9][a-z0-9+.-]{1,12}(:arm64)?", 1..4), 0..4),
        ) {
            let lock = lock_of(&packages, roots);
            let text = lock.render();
            prop_assert_eq!(SnapshotLock::parse(&text).unwrap(), lock.clone());
            prop_assert_eq!(lock.id(), Digest::of(text.as_bytes()));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "(\\PC|\n){0,200}") {
            let _ = SnapshotLock::parse(&text);
            let _ = SnapshotLock::parse(&format!("{HEADER}\n{text}"));
        }
    }
}
