//! One reading of the raw image: its digest, and which blocks have to be sent.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use host::files::failed;
use sha2::{Digest as _, Sha256};

use super::options::MAX_GIB;
use crate::call::ebs::BLOCK;
use crate::error::AwsError;

/// A block that is not all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub index: u32,
    /// Of its bytes, with zeros after the end of the image.
    pub digest: Digest,
}

/// What was found in an image. A snapshot starts as zeros, so only other blocks are sent.
#[derive(Debug, Clone)]
pub struct Scan {
    pub(crate) path: Utf8PathBuf,
    /// Bytes.
    pub size: u64,
    /// Of the whole image.
    pub digest: Digest,
    pub(crate) blocks: Vec<Block>,
}

impl Scan {
    /// Blocks to be sent.
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Blocks of the image, those of zeros included.
    pub fn all_blocks(&self) -> u64 {
        self.size.div_ceil(BLOCK as u64)
    }
}

/// Fills the buffer, or less at the end of the file.
pub(crate) fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    while have < buffer.len() {
        match file.read(&mut buffer[have..]) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(have)
}

/// Reads the image once; a file or a block device.
///
/// # Errors
/// If it cannot be read, is empty, or is larger than a volume can be.
pub fn scan(path: &Utf8Path, progress: &dyn Progress) -> Result<Scan, AwsError> {
    let bad = failed("reading", path);
    let mut file = File::open(path).map_err(&bad)?;
    let size = file.seek(io::SeekFrom::End(0)).and_then(|n| file.rewind().map(|()| n)).map_err(&bad)?;
    if size == 0 {
        return Err(AwsError::Empty { path: path.to_owned() });
    }
    if size > MAX_GIB << 30 {
        return Err(AwsError::TooLarge { path: path.to_owned(), size });
    }
    progress.begin("read the image", Some(size));
    let (mut whole, mut blocks, mut buffer) = (Sha256::new(), Vec::new(), vec![0; BLOCK]);
    let (mut index, mut seen) = (0u32, 0u64);
    loop {
        if progress.cancelled() {
            return Err(AwsError::Cancelled);
        }
        let n = fill(&mut file, &mut buffer).map_err(|source| AwsError::Block { path: path.to_owned(), index, source })?;
        if n == 0 {
            break;
        }
        seen += n as u64;
        if seen > size {
            return Err(AwsError::Changed { path: path.to_owned(), index });
        }
        whole.update(&buffer[..n]);
        if buffer[..n].iter().any(|b| *b != 0) {
            buffer[n..].fill(0);
            blocks.push(Block { index, digest: Digest::of(&buffer) });
        }
        progress.advance(n as u64);
        index += 1;
    }
    progress.end();
    if seen != size {
        return Err(AwsError::Changed { path: path.to_owned(), index });
    }
    Ok(Scan { path: path.to_owned(), size, digest: Digest(whole.finalize().into()), blocks })
}

#[cfg(test)]
mod tests {
    use cluster_seed::progress::Quiet;

    use super::*;

    fn scanned(bytes: &[u8]) -> Result<Scan, AwsError> {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("disk.raw");
        std::fs::write(&path, bytes).unwrap();
        scan(&path, &Quiet)
    }

    #[test]
    fn blocks_of_zeros_are_left_out() {
        let mut bytes = vec![0; 4 * BLOCK];
        bytes[BLOCK] = 1;
        bytes[4 * BLOCK - 1] = 1;
        let scan = scanned(&bytes).unwrap();
        assert_eq!(scan.blocks.iter().map(|b| b.index).collect::<Vec<_>>(), [1, 3]);
        assert_eq!((scan.size, scan.all_blocks(), scan.digest), (4 * BLOCK as u64, 4, Digest::of(&bytes)));
        assert_eq!(scan.blocks[0].digest, Digest::of(&bytes[BLOCK..2 * BLOCK]));
        assert_eq!(scanned(&vec![0; BLOCK]).unwrap().blocks(), 0);
    }

    #[test]
    fn the_last_block_is_filled_with_zeros() {
        // What the block before left in the buffer must not be sent.
        let bytes = vec![7; BLOCK + 1];
        let scan = scanned(&bytes).unwrap();
        let mut last = vec![0; BLOCK];
        last[0] = 7;
        assert_eq!((scan.all_blocks(), scan.blocks[1].digest, scan.digest), (2, Digest::of(&last), Digest::of(&bytes)));
    }

    #[test]
    fn an_empty_image_is_refused() {
        assert!(matches!(scanned(b""), Err(AwsError::Empty { .. })));
        assert!(matches!(scan(Utf8Path::new("/nowhere"), &Quiet), Err(AwsError::File(e)) if e.is_not_found()));
    }
}
