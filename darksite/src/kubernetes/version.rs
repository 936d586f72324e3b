//! Versions of Kubernetes, Cilium and containerd: three numbers.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// `MAJOR.MINOR.PATCH`. Pre-releases are not supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version; write all three numbers, for example 1.36.2")]
pub struct VersionError(String);

impl Version {
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Version { major, minor, patch }
    }

    /// The upstream version of a Debian package: `1.36.2-1.1`, `1.7.24~ds1-6+b4`, `1:2.1-3`. Missing numbers are 0. None if
    /// it does not begin with a number.
    pub fn of_package(version: &str) -> Option<Version> {
        let upstream = version.split_once(':').map_or(version, |(_, rest)| rest);
        let end = upstream.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(upstream.len());
        let mut numbers = upstream[..end].split('.').map(number);
        let major = numbers.next()??;
        let mut next = || numbers.next().flatten().unwrap_or(0);
        Some(Version { major, minor: next(), patch: next() })
    }

    /// True if both have the same major and minor version.
    pub fn same_minor(&self, other: &Version) -> bool {
        (self.major, self.minor) == (other.major, other.minor)
    }
}

/// Digits only, without a sign.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl FromStr for Version {
    type Err = VersionError;

    /// Takes a leading `v`, as tags of images have it.
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let mut numbers = text.strip_prefix('v').unwrap_or(text).split('.').map(number);
        let mut next = || numbers.next().flatten();
        let found = next().zip(next()).zip(next());
        match (found, numbers.next()) {
            (Some(((major, minor), patch)), None) => Ok(Version { major, minor, patch }),
            _ => Err(VersionError(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_three_numbers() {
        assert_eq!("1.36.2".parse(), Ok(Version::new(1, 36, 2)));
        assert_eq!("v1.18.5".parse::<Version>().map(|v| v.to_string()).as_deref(), Ok("1.18.5"));
        for bad in ["", "1", "1.36", "1.36.2.1", "1.36.x", "1.36.+2", "1.36.2-rc.0", "1..2", "99999999999.1.1", "vv1.1.1"] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_package_is_of_the_version_before_its_revision() {
        for (package, version) in [
            ("1.36.2-1.1", Some((1, 36, 2))),
            ("1.7.24~ds1-6+b4", Some((1, 7, 24))),
            ("1:2.1-3", Some((2, 1, 0))),
            ("1.20.2-0fixture1", Some((1, 20, 2))),
            ("2", Some((2, 0, 0))),
            ("x1.2.3", None),
            ("", None),
        ] {
            let wanted = version.map(|(a, b, c)| Version::new(a, b, c));
            assert_eq!(Version::of_package(package), wanted, "{package}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number() {
        let of = |text: &str| text.parse::<Version>().unwrap();
        assert!(of("1.9.0") < of("1.10.0") && of("1.36.9") < of("1.36.10"));
        assert!(of("1.36.0").same_minor(&of("1.36.9")) && !of("1.36.0").same_minor(&of("1.37.0")));
    }
}
