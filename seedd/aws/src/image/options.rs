//! What an image in AWS shall be.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use cluster_seed::ids::Digest;
use serde::{Deserialize, Serialize};

use crate::error::AwsError;

/// Tag with the sha256 of the raw image: on the snapshot and the image.
pub(crate) const TAG_DIGEST: &str = "kubedos:sha256";
/// Tag of a snapshot whose upload is complete; its value is the checksum of its blocks.
pub(crate) const TAG_COMPLETE: &str = "kubedos:complete";
/// Tag of instances: what they were started by.
pub(crate) const TAG_RUN: &str = "kubedos:run";
/// Tags that an operator can add; AWS allows 50 in all.
const MAX_TAGS: usize = 40;
/// Characters of a tag's key and value (EC2 User Guide, tag restrictions).
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 256;
/// Characters of an image's name.
const MAX_NAME: usize = 128;
/// Characters of a description.
const MAX_DESCRIPTION: usize = 255;
/// Blocks sent at once: each is 512 KiB in memory, and the account's limit is 1000 a second.
pub const MAX_PARALLEL: usize = 64;
/// GiB of a gp3 volume.
pub const MAX_GIB: u64 = 65_536;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    #[default]
    #[serde(rename = "x86_64")]
    X86_64,
    Arm64,
}

impl Architecture {
    pub fn as_str(self) -> &'static str {
        match self {
            Architecture::X86_64 => "x86_64",
            Architecture::Arm64 => "arm64",
        }
    }
}

/// How instances boot (EC2 User Guide, boot modes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootMode {
    /// UEFI where the instance type has it, else BIOS.
    #[default]
    UefiPreferred,
    /// UEFI only, so that every instance has the TPM.
    Uefi,
    /// BIOS only, and no TPM.
    LegacyBios,
}

impl BootMode {
    pub fn as_str(self) -> &'static str {
        match self {
            BootMode::UefiPreferred => "uefi-preferred",
            BootMode::Uefi => "uefi",
            BootMode::LegacyBios => "legacy-bios",
        }
    }

    /// Whether instances can have the TPM, which AWS has only with UEFI.
    pub(crate) fn has_tpm(self) -> bool {
        self != BootMode::LegacyBios
    }
}

/// An image to be made from a raw disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AmiOptions {
    /// The raw disk.
    pub image: Utf8PathBuf,
    /// Its sha256, if it is known: another file is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Name of the image. The first digits of the digest are appended unless it contains them.
    pub name: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub architecture: Architecture,
    #[serde(default)]
    pub boot_mode: BootMode,
    /// Tags of the snapshot and the image, besides ours.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// GiB of the volume; by default those of the image, rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_gib: Option<u64>,
    /// Encrypts the snapshot with the account's default key.
    #[serde(default)]
    pub encrypted: bool,
    /// Encrypts the snapshot with this key (an ARN).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// Blocks sent at once.
    #[serde(default = "parallel")]
    pub parallel: usize,
    /// Folder for the file that lets an upload continue. It contains no secret.
    pub state_dir: Utf8PathBuf,
}

fn parallel() -> usize {
    16
}

impl AmiOptions {
    /// An x86_64 image with the defaults.
    pub fn new(image: impl Into<Utf8PathBuf>, name: &str, state_dir: impl Into<Utf8PathBuf>) -> Self {
        AmiOptions {
            image: image.into(),
            digest: None,
            name: name.to_owned(),
            description: String::new(),
            architecture: Architecture::default(),
            boot_mode: BootMode::default(),
            tags: BTreeMap::new(),
            volume_gib: None,
            encrypted: false,
            kms_key: None,
            parallel: parallel(),
            state_dir: state_dir.into(),
        }
    }

    /// The name that the image gets.
    pub fn image_name(&self, digest: &Digest) -> String {
        let short = digest.short();
        if self.name.contains(&short) { self.name.clone() } else { format!("{}-{short}", self.name) }
    }

    /// Machines of this architecture have no BIOS.
    pub(crate) fn boot_mode(&self) -> BootMode {
        if self.architecture == Architecture::Arm64 { BootMode::Uefi } else { self.boot_mode }
    }

    /// GiB of the volume for an image of `size` bytes.
    pub(crate) fn gib(&self, size: u64) -> u64 {
        self.volume_gib.unwrap_or_else(|| size.div_ceil(1 << 30))
    }

    pub(crate) fn check(&self, size: u64) -> Result<(), AwsError> {
        let bad = |option, why: String| Err(AwsError::Option { option, why });
        let name = self.image_name(&Digest([0; 32]));
        let plain = |c: char| c.is_ascii_alphanumeric() || "()[] ./-'@_".contains(c);
        if !(3..=MAX_NAME).contains(&name.len()) || self.name.is_empty() || !name.chars().all(plain) {
            let why =
                format!("{:?} is not a name of an image: letters, digits and ()[] ./-'@_, {MAX_NAME} with the digest", self.name);
            return bad("name", why);
        }
        if self.description.chars().count() > MAX_DESCRIPTION || !self.description.is_ascii() {
            return bad("description", format!("at most {MAX_DESCRIPTION} ASCII characters"));
        }
        if !(1..=MAX_PARALLEL).contains(&self.parallel) {
            return bad("parallel", format!("{} is not between 1 and {MAX_PARALLEL}", self.parallel));
        }
        let (gib, least) = (self.gib(size), size.div_ceil(1 << 30));
        if gib < least || gib > MAX_GIB {
            return bad("volumeGib", format!("{gib} is not between {least}, the size of the image, and {MAX_GIB}"));
        }
        if self.kms_key.as_ref().is_some_and(|k| !k.starts_with("arn:") || k.len() > 2048) {
            return bad("kmsKey", "it is not the ARN of a key".to_owned());
        }
        check_tags(&self.tags)
    }

    /// Tags of the snapshot and the image.
    pub(crate) fn all_tags(&self, digest: &Digest) -> Vec<(String, String)> {
        let own = [("Name".to_owned(), self.image_name(digest)), (TAG_DIGEST.to_owned(), digest.to_string())];
        let given = self.tags.iter().map(|(k, v)| (k.clone(), v.clone())).filter(|(k, _)| k != "Name");
        own.into_iter().chain(given).collect()
    }
}

pub(crate) fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), AwsError> {
    let bad = |why: String| Err(AwsError::Option { option: "tags", why });
    if tags.len() > MAX_TAGS {
        return bad(format!("{} tags, more than {MAX_TAGS}", tags.len()));
    }
    for (key, value) in tags {
        let (k, v) = (key.chars().count(), value.chars().count());
        if !(1..=MAX_KEY).contains(&k) || v > MAX_VALUE || key.chars().chain(value.chars()).any(char::is_control) {
            return bad(format!("{:?} is too long or not printable", key.chars().take(MAX_KEY).collect::<String>()));
        }
        if key.to_ascii_lowercase().starts_with("aws:") || key.starts_with("kubedos:") {
            return bad(format!("{key:?} begins with a reserved word"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn options(name: &str) -> AmiOptions {
        AmiOptions::new("/i", name, "/s")
    }

    #[test]
    fn names_carry_the_digest_once() {
        let digest = Digest::of(b"x");
        let name = options("site-web").image_name(&digest);
        assert_eq!(name, format!("site-web-{}", digest.short()));
        assert_eq!(options(&name).image_name(&digest), name);
    }

    #[test]
    fn names_are_what_ec2_takes() {
        for (name, good) in [("a", true), ("", false), ("a b (c) [d]/e.f-g'h@i_j", true), ("a:b", false), ("ä", false)] {
            assert_eq!(options(name).check(GIB).is_ok(), good, "{name}");
        }
        for (len, good) in [(MAX_NAME - 13, true), (MAX_NAME - 12, false)] {
            assert_eq!(options(&"x".repeat(len)).check(GIB).is_ok(), good, "{len}");
        }
    }

    #[test]
    fn volumes_are_not_smaller_than_the_image() {
        let gib = |size, volume_gib| AmiOptions { volume_gib, ..options("a") }.gib(size);
        assert_eq!([gib(1, None), gib(GIB, None), gib(GIB + 1, None), gib(1, Some(8))], [1, 1, 2, 8]);
        let check = |size, volume_gib| AmiOptions { volume_gib, ..options("a") }.check(size).is_ok();
        assert!(check(GIB, Some(1)) && !check(GIB + 1, Some(1)) && check(1, Some(MAX_GIB)) && !check(1, Some(MAX_GIB + 1)));
    }

    #[test]
    fn the_number_of_parallel_requests_is_limited() {
        for (parallel, good) in [(0, false), (1, true), (MAX_PARALLEL, true), (MAX_PARALLEL + 1, false)] {
            assert_eq!(AmiOptions { parallel, ..options("a") }.check(1).is_ok(), good, "{parallel}");
        }
    }

    #[test]
    fn tags_are_limited_and_ours_are_reserved() {
        let check = |key: &str, value: &str| check_tags(&BTreeMap::from([(key.to_owned(), value.to_owned())])).is_ok();
        assert!(check(&"k".repeat(MAX_KEY), &"v".repeat(MAX_VALUE)) && check("Team", ""));
        assert!(!check(&"k".repeat(MAX_KEY + 1), "") && !check("k", &"v".repeat(MAX_VALUE + 1)) && !check("", "v"));
        assert!(!check("aws:x", "") && !check("AWS:x", "") && !check("kubedos:sha256", "") && !check("a\n", ""));
        let many = |n: usize| check_tags(&(0..n).map(|i| (format!("k{i}"), String::new())).collect()).is_ok();
        assert!(many(MAX_TAGS) && !many(MAX_TAGS + 1));
    }

    #[test]
    fn arm_has_no_bios() {
        assert_eq!(AmiOptions { architecture: Architecture::Arm64, ..options("a") }.boot_mode(), BootMode::Uefi);
        assert_eq!(options("a").boot_mode(), BootMode::UefiPreferred);
    }

    #[test]
    fn options_have_defaults_as_json() {
        let read: AmiOptions = serde_json::from_str(r#"{"image":"/i","name":"a","stateDir":"/s"}"#).unwrap();
        assert_eq!(read, options("a"));
        let arm: AmiOptions =
            serde_json::from_str(r#"{"image":"/i","name":"a","stateDir":"/s","architecture":"arm64","bootMode":"uefi"}"#)
                .unwrap();
        assert_eq!((arm.architecture, arm.boot_mode), (Architecture::Arm64, BootMode::Uefi));
        assert!(serde_json::from_str::<AmiOptions>(r#"{"image":"/i","name":"a","stateDir":"/s","secret":"x"}"#).is_err());
    }
}
