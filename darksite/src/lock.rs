//! The lock file: everything a snapshot holds, as sorted text that `diff` can compare. Its sha256 is the snapshot's id.
//!
//! It names no mirror: two sites that took the same upstream files from different mirrors have the same snapshot.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cluster_seed::ids::Digest;
use jiff::Timestamp;

use crate::index::{MAX_ENTRIES, MAX_PACKAGE_SIZE, is_safe_path};
use crate::relation::is_name;
use crate::trust::{format_date, parse_date};
use crate::version;

/// First line of a lock file; the number is raised when the format changes.
pub const HEADER: &str = "Kubedos-Snapshot-Lock: 1";
/// Bytes of a lock file.
pub const MAX_LOCK: usize = 256 << 20;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    #[error("the lock file is {0} bytes, more than is allowed")]
    TooLarge(usize),
    #[error("line {line} of the lock file: {what}")]
    Line { line: usize, what: &'static str },
    #[error("the lock file is not in the form it is written in (order or spelling)")]
    NotCanonical,
}

/// An upstream InRelease file that packages were taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    pub suite: String,
    pub sha256: Digest,
    /// Its Date field.
    pub date: Timestamp,
}

/// One package of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedPackage {
    pub name: String,
    pub version: String,
    pub arch: String,
    /// Bytes of the .deb.
    pub size: u64,
    pub sha256: Digest,
    /// Upstream suite it comes from.
    pub suite: String,
    pub component: String,
    /// Path below the mirror, and below the published tree.
    pub filename: String,
}

/// The lock of a snapshot. `render` sorts nothing: keep packages sorted by name, then architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotLock {
    /// Name of the published suite.
    pub suite: String,
    pub components: Vec<String>,
    pub arch: String,
    pub upstream: Vec<Upstream>,
    pub roots: BTreeMap<String, Vec<String>>,
    pub packages: Vec<LockedPackage>,
}

impl SnapshotLock {
    /// Id of the snapshot: sha256 of the rendered text.
    pub fn id(&self) -> Digest {
        Digest::of(self.render().as_bytes())
    }

    /// The published Date: the newest of the upstream files, so that it is the same wherever the lock is built.
    pub fn date(&self) -> Timestamp {
        self.upstream.iter().map(|u| u.date).max().unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Bytes of all packages together.
    pub fn bytes(&self) -> u64 {
        self.packages.iter().map(|p| p.size).sum()
    }

    pub fn render(&self) -> String {
        let mut out =
            format!("{HEADER}\nSuite: {}\nComponents: {}\nArchitecture: {}\n", self.suite, self.components.join(" "), self.arch);
        // Writing to a String cannot fail.
        for u in &self.upstream {
            let _ = writeln!(out, "Upstream: {} {} {}", u.suite, u.sha256, format_date(u.date));
        }
        for (role, roots) in &self.roots {
            let _ = writeln!(out, "Role: {role} {}", roots.join(" "));
        }
        out.push('\n');
        for p in &self.packages {
            let LockedPackage { name, version, arch, size, sha256, suite, component, filename } = p;
            let _ = writeln!(out, "{name} {version} {arch} {size} {sha256} {suite}/{component} {filename}");
        }
        out
    }

    /// Reads a lock file. Only the form [`SnapshotLock::render`] writes is accepted.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        if text.len() > MAX_LOCK {
            return Err(LockError::TooLarge(text.len()));
        }
        let mut lock = SnapshotLock {
            suite: String::new(),
            components: Vec::new(),
            arch: String::new(),
            upstream: Vec::new(),
            roots: BTreeMap::new(),
            packages: Vec::new(),
        };
        let mut lines = text.lines().enumerate();
        if lines.next().map(|(_, l)| l) != Some(HEADER) {
            return Err(LockError::Line { line: 1, what: "this is not a lock file of a known version" });
        }
        for (number, line) in lines.by_ref() {
            if line.is_empty() {
                break;
            }
            lock.header(line).map_err(|what| LockError::Line { line: number + 1, what })?;
        }
        for (number, line) in lines {
            if lock.packages.len() == MAX_ENTRIES {
                return Err(LockError::Line { line: number + 1, what: "too many packages" });
            }
            lock.packages.push(package(line).map_err(|what| LockError::Line { line: number + 1, what })?);
        }
        let sorted = lock.packages.is_sorted_by(|a, b| (&a.name, &a.arch) < (&b.name, &b.arch));
        if !sorted || lock.render() != text { Err(LockError::NotCanonical) } else { Ok(lock) }
    }

    fn header(&mut self, line: &str) -> Result<(), &'static str> {
        let (name, value) = line.split_once(": ").ok_or("a header line has no colon")?;
        match name {
            "Suite" => self.suite = word(value)?,
            "Architecture" => self.arch = word(value)?,
            "Components" => self.components = value.split(' ').map(word).collect::<Result<_, _>>()?,
            "Upstream" => {
                let mut parts = value.splitn(3, ' ');
                let suite = word(parts.next().unwrap_or_default())?;
                let sha256 = parts.next().and_then(|d| d.parse().ok()).ok_or("the upstream digest is malformed")?;
                let date = parts.next().and_then(parse_date).ok_or("the upstream date is malformed")?;
                self.upstream.push(Upstream { suite, sha256, date });
            }
            "Role" => {
                let mut parts = value.split(' ');
                let role = word(parts.next().unwrap_or_default())?;
                let roots = parts.map(word).collect::<Result<Vec<_>, _>>()?;
                if self.roots.insert(role, roots).is_some() {
                    return Err("a role is listed twice");
                }
            }
            _ => return Err("an unknown header"),
        }
        Ok(())
    }
}

fn word(text: &str) -> Result<String, &'static str> {
    if is_word(text) { Ok(text.to_owned()) } else { Err("a name holds characters that are not allowed") }
}

/// Names of suites, components, architectures and roles as they may stand in a lock file and in a path.
pub fn is_word(text: &str) -> bool {
    is_safe_path(text) && !text.contains([':', '%', '=', '@'])
}

fn package(line: &str) -> Result<LockedPackage, &'static str> {
    let parts: Vec<&str> = line.split(' ').collect();
    let [name, version, arch, size, sha256, origin, filename] = parts[..] else {
        return Err("a package line has seven parts");
    };
    let (suite, component) = origin.rsplit_once('/').ok_or("the origin is suite/component")?;
    if !is_name(name) || !version::is_valid(version) || !is_word(arch) || arch.contains('/') {
        return Err("name, version or architecture is malformed");
    }
    if !is_word(suite) || !is_word(component) || !is_safe_path(filename) {
        return Err("the origin or the file name is malformed");
    }
    Ok(LockedPackage {
        name: name.to_owned(),
        version: version.to_owned(),
        arch: arch.to_owned(),
        size: size.parse().ok().filter(|&n| n > 0 && n <= MAX_PACKAGE_SIZE).ok_or("the size is malformed")?,
        sha256: sha256.parse().map_err(|_| "the digest is malformed")?,
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
        SnapshotLock { suite: "trixie".into(), components: vec!["main".into()], arch: "amd64".into(), upstream, roots, packages }
    }

    #[test]
    fn refuses_what_could_mislead() {
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
            ("trixie/main", "main"),
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
            roots in prop::collection::btree_map("[a-z]{1,8}", prop::collection::vec("[a-z0-9][a-z0-9+.-]{1,12}", 1..4), 0..4),
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
