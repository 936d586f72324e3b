//! Signed documents in files.

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::seal::{SealError, Sealable, Sealed, VerifyingKey};

use crate::files::{FileError, read_limited};

#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("verifying {path}")]
    Document { path: Utf8PathBuf, source: SealError },
}

/// Reads the document in a file of at most `limit` bytes and verifies its signature by `key`.
pub fn read<T: Sealable>(path: &Utf8Path, key: &VerifyingKey, limit: u64) -> Result<T, SealedError> {
    let bytes = read_limited(path, limit)?;
    let document = serde_json::from_slice::<Sealed<T>>(&bytes).map_err(SealError::from).and_then(|sealed| sealed.open(key));
    document.map_err(|source| SealedError::Document { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use cluster_seed::ids::Digest;
    use cluster_seed::manifest::ArtifactPackages;
    use cluster_seed::seal::SigningKey;

    use super::*;

    #[test]
    fn only_a_document_signed_by_the_key_within_the_limit_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("packages.json");
        let document = ArtifactPackages { artifact: Digest::of(b"artifact"), packages: vec!["apt 3.0 amd64".to_owned()] };
        let (key, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let text = serde_json::to_vec(&Sealed::sign(&document, &key).unwrap()).unwrap();
        let read = |key: &SigningKey, limit| read::<ArtifactPackages>(&path, &key.verifying_key(), limit);
        assert!(matches!(read(&key, 1000), Err(SealedError::File(e)) if e.is_not_found()));
        std::fs::write(&path, &text).unwrap();
        let size = text.len() as u64;
        assert_eq!(read(&key, size).unwrap(), document);
        assert!(matches!(read(&key, size - 1), Err(SealedError::File(FileError::TooLarge { .. }))));
        let refused = read(&other, size).map_err(|e| e.to_string());
        assert_eq!(refused.unwrap_err(), format!("verifying {path}"));
        std::fs::write(&path, "{}").unwrap();
        assert!(matches!(read(&key, size), Err(SealedError::Document { source: SealError::Json(_), .. })));
    }
}
