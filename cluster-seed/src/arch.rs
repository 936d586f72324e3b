//! Processor architectures of nodes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An architecture that images are built for, by Debian's name. The seed itself is always amd64.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    #[default]
    Amd64,
    Arm64,
}

/// Not an architecture that images are built for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an architecture of nodes: amd64, arm64")]
pub struct UnknownArch(String);

impl Arch {
    pub const ALL: [Arch; 2] = [Arch::Amd64, Arch::Arm64];

    /// Debian's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Arch::Amd64 => "amd64",
            Arch::Arm64 => "arm64",
        }
    }

    /// The name that the kernel and Rust use: `uname -m`, `std::env::consts::ARCH`.
    pub const fn machine(self) -> &'static str {
        match self {
            Arch::Amd64 => "x86_64",
            Arch::Arm64 => "aarch64",
        }
    }

    /// The architecture with this [`Arch::machine`].
    pub fn of_machine(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.machine() == name)
    }

    /// `e_machine` of its executables (System V ABI, chapter 4; EM_X86_64 and EM_AARCH64).
    pub const fn elf_machine(self) -> u16 {
        match self {
            Arch::Amd64 => 62,
            Arch::Arm64 => 183,
        }
    }

    pub fn is_amd64(&self) -> bool {
        *self == Arch::Amd64
    }

    /// The name under which a site has the artifact of a role: `base` on amd64, `base:arm64` on arm64. Role names have no colon.
    pub fn artifact_name(self, role: &str) -> String {
        if self.is_amd64() { role.to_owned() } else { format!("{role}:{self}") }
    }

    /// The package that corresponds to one of amd64: `linux-image-amd64` is `linux-image-arm64`, and most names are the same.
    pub fn package(self, name: &str) -> String {
        match name.strip_suffix("-amd64") {
            Some(stem) => format!("{stem}-{self}"),
            None => name.to_owned(),
        }
    }
}

/// What cluster.yaml means where it names no architectures.
pub(crate) fn only_amd64() -> Vec<Arch> {
    vec![Arch::Amd64]
}

/// Checks `spec.architectures` of cluster.yaml. The error comes with its hint.
pub(crate) fn check(all: &[Arch]) -> Result<(), (String, &'static str)> {
    if !all.contains(&Arch::Amd64) {
        return Err(("spec.architectures has no amd64".to_owned(), "the seed is amd64: write [amd64, arm64]"));
    }
    match all.iter().enumerate().find(|(at, arch)| all[..*at].contains(arch)) {
        Some((_, twice)) => Err((format!("spec.architectures has {twice} twice"), "write each once")),
        None => Ok(()),
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Arch {
    type Err = UnknownArch;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|a| a.as_str() == text).ok_or_else(|| UnknownArch(text.chars().take(32).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for arch in Arch::ALL {
            assert_eq!(arch.as_str().parse(), Ok(arch));
            assert_eq!(Arch::of_machine(arch.machine()), Some(arch));
            assert_eq!(serde_json::to_string(&arch).unwrap(), format!("{:?}", arch.as_str()));
        }
        assert!("riscv64".parse::<Arch>().is_err() && Arch::of_machine("riscv64").is_none());
    }

    #[test]
    fn the_list_has_amd64_and_nothing_twice() {
        use Arch::{Amd64, Arm64};
        assert!(check(&only_amd64()).is_ok() && check(&[Amd64, Arm64]).is_ok() && check(&[Arm64, Amd64]).is_ok());
        for bad in [&[][..], &[Arm64], &[Amd64, Arm64, Arm64]] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_artifact_of_amd64_is_named_as_before_there_were_others() {
        assert_eq!(Arch::Amd64.artifact_name("base"), "base");
        assert_eq!(Arch::Arm64.artifact_name("base"), "base:arm64");
    }

    #[test]
    fn packages_with_the_architecture_in_their_name_are_renamed() {
        for (name, same) in [("linux-image-amd64", "linux-image-arm64"), ("openssh-server", "openssh-server")] {
            assert_eq!((Arch::Arm64.package(name).as_str(), Arch::Amd64.package(name).as_str()), (same, name));
        }
    }
}
