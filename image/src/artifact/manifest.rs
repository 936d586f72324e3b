//! Reading the signed manifest of an artifact.

use camino::Utf8Path;
use cluster_seed::manifest::{ArtifactManifest, MAX_MANIFEST};
use cluster_seed::seal::VerifyingKey;
use host::sealed;

use crate::error::Error;

/// The manifest's file in the artifact's directory.
pub(crate) const FILE: &str = "manifest.json";

/// Reads the manifest in `dir`, the directory of one artifact (`artifacts/<id>`): signed by `key`, and consistent.
pub fn read_manifest(dir: &Utf8Path, key: &VerifyingKey) -> Result<ArtifactManifest, Error> {
    let path = dir.join(FILE);
    let manifest: ArtifactManifest = sealed::read(&path, key, MAX_MANIFEST)?;
    match manifest.check() {
        Ok(()) => Ok(manifest),
        Err(source) => Err(Error::Manifest { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use cluster_seed::ids::Digest;
    use cluster_seed::manifest::{ArtifactSpec, CHUNK_SIZE, Chunk};
    use cluster_seed::seal::SigningKey;
    use host::sealed::SealedError;

    use super::*;
    use crate::store::write_sealed;

    fn manifest(chunks: usize) -> ArtifactManifest {
        let spec = ArtifactSpec {
            recipe: 1,
            role: "base".into(),
            arch: "amd64".into(),
            snapshot: Digest::of(b"snapshot"),
            packages: vec![],
            payload: Digest::of(b"payload"),
        };
        ArtifactManifest {
            id: spec.id(),
            spec,
            disk_size: CHUNK_SIZE,
            min_disk: CHUNK_SIZE,
            raw: Digest::of(b"raw"),
            state_offset: 0,
            state_size: 0,
            chunks: vec![Chunk::Zero; chunks],
        }
    }

    #[test]
    fn a_manifest_must_be_there_signed_and_consistent() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        let (key, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let read = || read_manifest(dir, &key.verifying_key());
        assert!(matches!(read(), Err(Error::Sealed(SealedError::File(e))) if e.is_not_found()));
        write_sealed(&dir.join(FILE), &manifest(1), &key).unwrap();
        assert_eq!(read().unwrap(), manifest(1));
        write_sealed(&dir.join(FILE), &manifest(1), &other).unwrap();
        assert!(matches!(read(), Err(Error::Sealed(SealedError::Document { .. }))));
        write_sealed(&dir.join(FILE), &manifest(2), &key).unwrap();
        assert!(matches!(read(), Err(Error::Manifest { .. })));
    }
}
