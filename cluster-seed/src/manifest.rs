//! Signed lists of what was built: artifacts and their chunks, netboot files, snapshots.

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::ids::Digest;
use crate::seal::Sealable;

/// Label of a node's root file system; its boot loader and a network boot loader find it by this label.
pub const ROOT_LABEL: &str = "kubedos-root";
/// Bytes of disk a chunk covers (the last one may cover less).
pub const CHUNK_SIZE: u64 = 4 << 20;
/// A node refuses a chunk whose stored form is larger than this many bytes (zstd's worst case for 4 MiB, rounded up).
pub const MAX_STORED_CHUNK: u64 = CHUNK_SIZE + (64 << 10);
/// A manifest lists at most this many chunks (256 GiB of disk).
pub const MAX_CHUNKS: usize = 65_536;
/// Largest file with a sealed manifest that is read, in bytes.
pub const MAX_MANIFEST: u64 = 32 << 20;

/// Inputs of an artifact. The sha256 of its canonical JSON is its id: same spec, same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactSpec {
    /// Version of the build rules; raised when the same inputs would produce different bytes.
    pub recipe: u32,
    pub role: String,
    pub arch: String,
    /// Id of the snapshot that every package comes from.
    pub snapshot: Digest,
    /// Root packages, sorted.
    pub packages: Vec<String>,
    /// Digest over the payload's files that are laid into the root (units, ansible, agent).
    pub payload: Digest,
}

impl ArtifactSpec {
    /// The id: sha256 of the JSON text with fields in the order they are declared here.
    pub fn id(&self) -> Digest {
        // A struct of strings and integers always serialises.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }
}

/// One piece of the disk image, `CHUNK_SIZE` bytes of it at `index * CHUNK_SIZE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", deny_unknown_fields)]
pub enum Chunk {
    /// Only zeros: not stored, but written, since the disk may contain other data.
    Zero,
    /// zstd-compressed; `stored` names the compressed bytes (what is fetched), `raw` the bytes for the disk.
    Zstd { stored: Digest, stored_size: u32, raw: Digest },
}

/// The sealed artifact: a raw disk image as a list of chunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactManifest {
    pub id: Digest,
    pub spec: ArtifactSpec,
    /// Bytes of the disk image; a disk must have at least `min_disk`.
    pub disk_size: u64,
    /// Smallest disk it fits on, in bytes.
    pub min_disk: u64,
    /// Digest of the whole raw image.
    pub raw: Digest,
    /// Byte offset and length of the state partition (ext4), where the agent places the identity.
    pub state_offset: u64,
    pub state_size: u64,
    pub chunks: Vec<Chunk>,
}

/// Why a signed manifest is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("the manifest lists {found} chunks, but its disk size requires {expected}")]
    ChunkCount { found: usize, expected: u64 },
    #[error("the manifest's id is not the digest of its spec")]
    Id,
    #[error("the state partition is outside the image")]
    State,
    #[error("chunk {0} exceeds the maximum size")]
    ChunkSize(usize),
    #[error("the image has {0} bytes, more than a manifest can describe")]
    TooLarge(u64),
}

impl ArtifactManifest {
    /// Checks what the signature does not cover: counts, sizes and offsets are consistent.
    pub fn check(&self) -> Result<(), ManifestError> {
        if self.id != self.spec.id() {
            return Err(ManifestError::Id);
        }
        let expected = self.disk_size.div_ceil(CHUNK_SIZE);
        if expected > MAX_CHUNKS as u64 {
            return Err(ManifestError::TooLarge(self.disk_size));
        }
        if self.chunks.len() as u64 != expected {
            return Err(ManifestError::ChunkCount { found: self.chunks.len(), expected });
        }
        let state_end = self.state_offset.checked_add(self.state_size).ok_or(ManifestError::State)?;
        if state_end > self.disk_size {
            return Err(ManifestError::State);
        }
        for (i, chunk) in self.chunks.iter().enumerate() {
            if let Chunk::Zstd { stored_size, .. } = chunk
                && u64::from(*stored_size) > MAX_STORED_CHUNK
            {
                return Err(ManifestError::ChunkSize(i));
            }
        }
        Ok(())
    }

    /// Bytes of disk that chunk `index` covers.
    pub fn chunk_len(&self, index: usize) -> u64 {
        let start = index as u64 * CHUNK_SIZE;
        self.disk_size.saturating_sub(start).min(CHUNK_SIZE)
    }

    /// Bytes of chunk `index` that are not zeros. Progress counts only these, since zeros take almost no time.
    pub fn content_len(&self, index: usize) -> u64 {
        if matches!(self.chunks.get(index), Some(Chunk::Zstd { .. })) { self.chunk_len(index) } else { 0 }
    }

    /// The same for the image.
    pub fn content_size(&self) -> u64 {
        (0..self.chunks.len()).map(|index| self.content_len(index)).sum()
    }

    /// Bytes to fetch for the image, each distinct chunk once.
    pub fn stored_size(&self) -> u64 {
        let mut seen = std::collections::BTreeSet::new();
        self.chunks
            .iter()
            .filter_map(|c| match c {
                Chunk::Zstd { stored, stored_size, .. } if seen.insert(*stored) => Some(u64::from(*stored_size)),
                _ => None,
            })
            .sum()
    }
}

impl Sealable for ArtifactManifest {
    const PURPOSE: &'static str = "artifact-manifest";
}

/// Packages installed in an artifact's root, stored next to its manifest as `packages.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactPackages {
    pub artifact: Digest,
    /// `name version architecture`, sorted.
    pub packages: Vec<String>,
}

impl Sealable for ArtifactPackages {
    const PURPOSE: &'static str = "artifact-packages";
}

/// Kernel and initramfs of an architecture in a netboot set.
pub const fn boot_files(arch: Arch) -> (&'static str, &'static str) {
    match arch {
        Arch::Amd64 => ("vmlinuz", "initrd.img"),
        Arch::Arm64 => ("vmlinuz-arm64", "initrd-arm64.img"),
    }
}

/// A file the seed hands to firmware, iPXE or the RAM agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootFile {
    /// The only name it is served by (`vmlinuz`, `initrd.img`, `undionly.kpxe`, `snponly.efi`, `ipxe.efi`).
    pub name: String,
    pub size: u64,
    pub sha256: Digest,
}

/// The netboot set built from one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetbootManifest {
    pub id: Digest,
    pub snapshot: Digest,
    pub arch: String,
    /// Kernel release as `uname -r` prints it.
    pub kernel: String,
    pub files: Vec<BootFile>,
}

impl Sealable for NetbootManifest {
    const PURPOSE: &'static str = "netboot-manifest";
}

/// The folder next to the snapshots with shelves: package folders that several snapshots share through symbolic links.
pub const SHELVES: &str = "shelves";

/// Contents of a published snapshot; `id` is the sha256 of its lock file's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotManifest {
    pub id: Digest,
    /// The published suite's name, as in `deb … SUITE main`.
    pub suite: String,
    pub components: Vec<String>,
    pub architectures: Vec<String>,
    /// Root packages per role, sorted.
    pub roots: std::collections::BTreeMap<String, Vec<String>>,
    pub packages: u32,
    pub bytes: u64,
    /// Digest of the published Release file.
    pub release: Digest,
}

impl Sealable for SnapshotManifest {
    const PURPOSE: &'static str = "snapshot-manifest";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(disk_size: u64, chunks: usize) -> ArtifactManifest {
        let spec = ArtifactSpec {
            recipe: 1,
            role: "base".into(),
            arch: "amd64".into(),
            snapshot: Digest::of(b"s"),
            packages: vec!["ssh".into()],
            payload: Digest::of(b"p"),
        };
        ArtifactManifest {
            id: spec.id(),
            spec,
            disk_size,
            min_disk: disk_size,
            raw: Digest::of(b"raw"),
            state_offset: 0,
            state_size: disk_size,
            chunks: vec![Chunk::Zero; chunks],
        }
    }

    #[test]
    fn the_number_of_chunks_must_fit_the_size() {
        assert_eq!(manifest(CHUNK_SIZE * 2, 2).check(), Ok(()));
        assert_eq!(manifest(CHUNK_SIZE * 2 + 1, 3).check(), Ok(()));
        for wrong in [1, 3] {
            assert!(matches!(manifest(CHUNK_SIZE * 2, wrong).check(), Err(ManifestError::ChunkCount { .. })));
        }
        assert_eq!(manifest(CHUNK_SIZE * 2 + 1, 3).chunk_len(2), 1);
    }

    #[test]
    fn limits_hold() {
        let most = CHUNK_SIZE * MAX_CHUNKS as u64;
        assert_eq!(manifest(most, MAX_CHUNKS).check(), Ok(()));
        assert_eq!(manifest(most + 1, MAX_CHUNKS + 1).check(), Err(ManifestError::TooLarge(most + 1)));
        let mut m = manifest(CHUNK_SIZE, 1);
        m.state_size += 1;
        assert_eq!(m.check(), Err(ManifestError::State));
        m.state_offset = u64::MAX;
        assert_eq!(m.check(), Err(ManifestError::State));
        let mut m = manifest(CHUNK_SIZE, 1);
        let chunk = |size: u64| Chunk::Zstd { stored: Digest::of(b"c"), stored_size: size as u32, raw: Digest::of(b"r") };
        m.chunks[0] = chunk(MAX_STORED_CHUNK);
        assert_eq!(m.check(), Ok(()));
        m.chunks[0] = chunk(MAX_STORED_CHUNK + 1);
        assert_eq!(m.check(), Err(ManifestError::ChunkSize(0)));
    }

    #[test]
    fn a_different_spec_has_a_different_id() {
        let a = manifest(1, 1);
        let mut b = a.clone();
        b.spec.packages.push("zsh".into());
        assert_ne!(a.spec.id(), b.spec.id());
        assert_eq!(b.check(), Err(ManifestError::Id));
    }
}
