//! Outputs of the foundry: what an artifact becomes for other platforms, and the signed manifest beside each.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use ed25519_dalek::{Signature, Signer as _};
use serde::{Deserialize, Serialize};

use crate::ids::Digest;
use crate::manifest::BootFile;
use crate::seal::{Sealable, SigningKey, VerifyingKey, key_text};

/// Version of the rules by which outputs are made; raised when the same inputs would give other bytes.
pub const RECIPE: u32 = 1;
/// A manifest lists at most this many files.
pub const MAX_FILES: usize = 4096;
/// Largest file with a sealed manifest, in bytes.
pub const MAX_MANIFEST: u64 = 4 << 20;
/// Ending of the sealed manifest's name; the rest is the output's name.
pub const MANIFEST_ENDING: &str = ".manifest.json";

/// What an artifact is made into. The names are those of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    Raw,
    Qcow2,
    Vmdk,
    Vhd,
    Vhdx,
    Oci,
    FirecrackerBundle,
    PackerScaffold,
    PxeBundle,
    NodeIso,
}

impl Target {
    pub const ALL: [Target; 10] = [
        Target::Raw,
        Target::Qcow2,
        Target::Vmdk,
        Target::Vhd,
        Target::Vhdx,
        Target::Oci,
        Target::FirecrackerBundle,
        Target::PackerScaffold,
        Target::PxeBundle,
        Target::NodeIso,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Target::Raw => "raw",
            Target::Qcow2 => "qcow2",
            Target::Vmdk => "vmdk",
            Target::Vhd => "vhd",
            Target::Vhdx => "vhdx",
            Target::Oci => "oci",
            Target::FirecrackerBundle => "firecracker-bundle",
            Target::PackerScaffold => "packer-scaffold",
            Target::PxeBundle => "pxe-bundle",
            Target::NodeIso => "node-iso",
        }
    }

    /// Further names: those of the earlier shell program.
    pub fn aliases(self) -> &'static [&'static str] {
        match self {
            Target::Qcow2 => &["image-only", "export-base-image"],
            Target::Vmdk => &["vmdk-export"],
            _ => &[],
        }
    }

    /// Whether it is made from the artifact of one role.
    pub fn of_role(self) -> bool {
        !matches!(self, Target::PxeBundle | Target::NodeIso)
    }

    /// Whether it contains the settings that a machine finds its seed by. An image of the root file system alone does not.
    pub fn has_settings(self) -> bool {
        self != Target::Oci
    }

    /// What it is, for `seedd image targets`.
    pub fn summary(self) -> &'static str {
        match self {
            Target::Raw => "raw disk image",
            Target::Qcow2 => "QCOW2 disk image for QEMU, libvirt, Proxmox VE and OpenStack",
            Target::Vmdk => "streamOptimized VMDK with OVF and OVA for VMware ESXi and vSphere",
            Target::Vhd => "fixed VHD for Azure",
            Target::Vhdx => "dynamic VHDX for Hyper-V",
            Target::Oci => "OCI images of the root file system, without and with the kernel in bootc's places, as one archive",
            Target::FirecrackerBundle => "kernel, initrd, root file system, configuration and start script for Firecracker",
            Target::PackerScaffold => "Packer template that boots the QCOW2 image and packs it again",
            Target::NodeIso => "ISO image for CD and USB stick that enrolls a machine and installs any role without a download",
            Target::PxeBundle => "directory that any TFTP and web server can netboot machines from",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Target::ALL.into_iter().find(|t| t.name() == text || t.aliases().contains(&text));
        found.ok_or_else(|| format!("no target {:?}", text.chars().take(64).collect::<String>()))
    }
}

/// Everything that an output is made from. The sha256 of its JSON text is the output's id: same spec, same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutputSpec {
    pub recipe: u32,
    pub target: Target,
    pub site: String,
    /// None for an output that is for machines of every role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The only node that the output is for; it has a one-use token for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// A join token is inside: whoever can read the files can use it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub contains_secret: bool,
    /// Date of the snapshot, `YYYYMMDDThhmmssZ`: versions of one role are ordered by it.
    pub version: String,
    pub arch: String,
    /// The role's artifact, and the digest of its disk image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Digest>,
    /// Digest of the snapshot's lock file.
    pub snapshot: Digest,
    /// Digest of the settings that a machine finds its seed by; of nothing, for a target without them.
    pub join: Digest,
    /// Settings of the target.
    pub options: BTreeMap<String, String>,
}

// serde passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !value
}

/// Name of the option with the id of the netboot set.
const NETBOOT: &str = "netboot";
/// Beginning of the name of an option with the id of a role's artifact.
const ARTIFACT: &str = "artifact ";

impl OutputSpec {
    /// Notes the netboot set that an output for every role is made from.
    pub fn set_netboot(&mut self, id: Digest) {
        self.options.insert(NETBOOT.to_owned(), id.to_string());
    }

    /// Notes the artifact of a role that an output for every role contains.
    pub fn set_artifact(&mut self, role: &str, id: Digest) {
        self.options.insert(format!("{ARTIFACT}{role}"), id.to_string());
    }

    pub fn netboot(&self) -> Option<Digest> {
        self.options.get(NETBOOT)?.parse().ok()
    }

    /// The artifacts that it is made from, by role.
    pub fn artifacts(&self) -> BTreeMap<&str, Digest> {
        let own = self.role.as_deref().zip(self.artifact);
        let all = self.options.iter().filter_map(|(name, id)| Some((name.strip_prefix(ARTIFACT)?, id.parse().ok()?)));
        all.chain(own).collect()
    }

    pub fn id(&self) -> Digest {
        // A struct of strings and integers always serialises.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// Name of the output and of its files, without an ending.
    pub fn name(&self) -> String {
        let [role, node] = [&self.role, &self.node].map(|part| part.as_deref().map(|p| format!("-{p}")).unwrap_or_default());
        format!("{}{role}{node}-{}-{}-{}", self.site, self.version, self.target, self.id().short())
    }
}

/// A finished output, signed by the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutputManifest {
    pub id: Digest,
    pub spec: OutputSpec,
    /// All files but the manifest, by path below the output's directory, sorted. The first of `primary` is what is deployed.
    pub files: Vec<BootFile>,
    /// Name of the file that is deployed.
    pub primary: String,
    /// Programs that took part, `name version`, sorted.
    pub tools: Vec<String>,
}

impl Sealable for OutputManifest {
    const PURPOSE: &'static str = "output-manifest";
}

/// Why a signed manifest of an output is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    #[error("the manifest's id is not the digest of its spec")]
    Id,
    #[error("the manifest lists {0} files, but 1 to {MAX_FILES} are allowed")]
    Count(usize),
    #[error("{0:?} is not a path inside the output")]
    Path(String),
    #[error("{0:?} is out of order or listed twice")]
    Order(String),
    #[error("the manifest does not list its primary file {0:?}")]
    Primary(String),
}

impl OutputManifest {
    /// Checks what the signature does not cover.
    pub fn check(&self) -> Result<(), OutputError> {
        let shown = |name: &str| name.chars().take(120).collect::<String>();
        if self.id != self.spec.id() {
            return Err(OutputError::Id);
        }
        if self.files.is_empty() || self.files.len() > MAX_FILES {
            return Err(OutputError::Count(self.files.len()));
        }
        if let Some(bad) = self.files.iter().find(|f| !crate::medium::is_inside(&f.name)) {
            return Err(OutputError::Path(shown(&bad.name)));
        }
        if let Some(pair) = self.files.windows(2).find(|w| w[0].name >= w[1].name) {
            return Err(OutputError::Order(shown(&pair[1].name)));
        }
        if !self.files.iter().any(|f| f.name == self.primary) {
            return Err(OutputError::Primary(shown(&self.primary)));
        }
        Ok(())
    }
}

/// Media type of an in-toto statement in an envelope (in-toto attestation framework 1.0, "Envelope").
pub const STATEMENT: &str = "application/vnd.in-toto+json";

/// A DSSE envelope (secure-systems-lab/dsse, protocol 1.0.2) with one ed25519 signature by the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope {
    pub payload_type: String,
    /// Base64 of the payload.
    pub payload: String,
    pub signatures: Vec<EnvelopeSignature>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeSignature {
    /// The site key in hex: a hint, never trusted by itself.
    pub keyid: String,
    /// Base64 of 64 bytes.
    pub sig: String,
}

/// What is signed (DSSE "PAE"): lengths are in bytes, in decimal. It begins unlike any sealed document.
fn authenticated(kind: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

impl Envelope {
    pub fn sign(kind: &str, payload: &[u8], key: &SigningKey) -> Self {
        let sig = B64.encode(key.sign(&authenticated(kind, payload)).to_bytes());
        let signatures = vec![EnvelopeSignature { keyid: key_text(&key.verifying_key()), sig }];
        Envelope { payload_type: kind.to_owned(), payload: B64.encode(payload), signatures }
    }

    /// The payload, if one of the signatures is by `key`.
    pub fn open(&self, key: &VerifyingKey) -> Option<Vec<u8>> {
        let payload = B64.decode(&self.payload).ok()?;
        let message = authenticated(&self.payload_type, &payload);
        let good = |s: &EnvelopeSignature| {
            let signature = B64.decode(&s.sig).ok().and_then(|bytes| Signature::from_slice(&bytes).ok());
            signature.is_some_and(|signature| key.verify_strict(&message, &signature).is_ok())
        };
        self.signatures.iter().take(16).any(good).then_some(payload)
    }
}

#[cfg(test)]
#[path = "foundry_tests.rs"]
mod tests;
