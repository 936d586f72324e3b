use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use camino::Utf8Path;
use host::files::failed;
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use crate::Error;

/// Bytes of a sector, in the raw image and in every format.
pub(crate) const SECTOR: u64 = 512;

/// A raw disk image.
pub(crate) struct Raw<'a> {
    pub path: &'a Utf8Path,
    file: File,
    /// Bytes; a multiple of [`SECTOR`], not 0.
    pub size: u64,
}

impl<'a> Raw<'a> {
    pub fn open(path: &'a Utf8Path) -> Result<Self, Error> {
        let opening = failed("opening", path);
        let file = File::open(path).map_err(&opening)?;
        let size = file.metadata().map_err(&opening)?.len();
        if size == 0 || !size.is_multiple_of(SECTOR) {
            return Err(Error::Source { path: path.to_owned(), size });
        }
        Ok(Raw { path, file, size })
    }

    /// The size of a virtual disk that holds this image and was asked to have `wanted` bytes.
    pub fn virtual_size(&self, wanted: Option<u64>) -> Result<u64, Error> {
        match wanted {
            None => Ok(self.size),
            Some(wanted) if !wanted.is_multiple_of(SECTOR) => Err(Error::Unaligned { wanted }),
            Some(wanted) if wanted < self.size => Err(Error::Shrink { wanted, size: self.size }),
            Some(wanted) => Ok(wanted),
        }
    }

    /// Fills `buf` from offset `at`; what is after the end of the image is zero.
    pub fn read(&self, at: u64, buf: &mut [u8]) -> Result<(), Error> {
        let there = self.size.saturating_sub(at).min(buf.len() as u64) as usize;
        self.file.read_exact_at(&mut buf[..there], at).map_err(failed("reading", self.path))?;
        buf[there..].fill(0);
        Ok(())
    }

    /// Turns an error of a compressor into one that names the image.
    pub fn compressing(&self) -> impl Fn(io::Error) -> Error + use<> {
        let path = self.path.to_owned();
        move |source| Error::Compress { path: path.clone(), source }
    }

    /// Offset of the first byte at or after `at` that is not in a hole; `None` if the rest is a hole (lseek(2), SEEK_DATA).
    pub fn next_data(&self, at: u64) -> Result<Option<u64>, Error> {
        match lseek(&self.file, at as i64, Whence::SeekData) {
            Ok(found) => Ok(Some(found as u64)),
            Err(Errno::ENXIO) => Ok(None),
            // Not every file system knows holes.
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(Some(at)),
            Err(errno) => Err(failed("finding data in", self.path)(io::Error::from(errno)).into()),
        }
    }
}

const ZEROS: [u8; 4096] = [0; 4096];

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(ZEROS.len()).all(|chunk| chunk == &ZEROS[..chunk.len()])
}
