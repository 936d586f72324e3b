//! What is missing or wrong.

use serde::Serialize;

/// For programs; the word in the JSON output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    MissingImage,
    /// The image is there, but its digest is another one than the chart's.
    OtherDigest,
    /// The image is there, but not for linux/amd64.
    OtherPlatform,
    MissingPackage,
    WrongVersion,
    /// A package needs another one that is not there.
    UnmetDependency,
    MissingChart,
    MissingFile,
    /// A role does not name the digest of the chart or of helm, or names another one than the extras have.
    Unpinned,
    /// containerd's sandbox image and kubeadm's pause image differ.
    Sandbox,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    pub kind: Kind,
    /// The image, package, chart or role.
    pub item: String,
    pub message: String,
}

impl Finding {
    pub fn new(kind: Kind, item: impl Into<String>, message: String) -> Self {
        Finding { kind, item: item.into(), message }
    }
}
