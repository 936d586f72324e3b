//! Paths of blobs: content of any kind, named by its sha256, in folders named by the first two hex digits.

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;

/// `<blobs>/sha256/ab/abcd…`, where `blobs` is the `blobs` folder of a data directory or a medium.
pub fn blob_path(blobs: &Utf8Path, digest: &Digest) -> Utf8PathBuf {
    let hex = digest.to_string();
    blobs.join("sha256").join(&hex[..2]).join(&hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_stored_below_the_first_two_digits_of_its_digest() {
        let digest = Digest([0xab; 32]);
        let path = blob_path(Utf8Path::new("/data/blobs"), &digest);
        assert_eq!(path, format!("/data/blobs/sha256/ab/{}", "ab".repeat(32)));
    }
}
