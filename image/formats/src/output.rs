use std::fs::Permissions;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};

use camino::{Utf8Path, Utf8PathBuf};
use host::files::{FileError, PUBLIC, failed, sync_dir};
use tempfile::{Builder, NamedTempFile};

use crate::Error;
use crate::raw::is_zero;

/// Bytes that are written or left as a hole together: a block of the usual file systems.
const BLOCK: usize = 4096;

/// A file that gets its name when it is complete. Dropped earlier, it is removed.
pub(crate) struct Output {
    file: NamedTempFile,
    path: Utf8PathBuf,
    /// Where [`Output::append`] writes.
    pub end: u64,
}

fn folder(path: &Utf8Path) -> &Utf8Path {
    path.parent().filter(|p| !p.as_str().is_empty()).unwrap_or(Utf8Path::new("."))
}

impl Output {
    /// Creates a temporary file in the folder of `path`, named `.NAME.….part`.
    pub fn create(path: &Utf8Path) -> Result<Self, Error> {
        let prefix = format!(".{}.", path.file_name().unwrap_or("image"));
        let permissions = Permissions::from_mode(PUBLIC);
        let file = Builder::new().prefix(&prefix).suffix(".part").permissions(permissions).tempfile_in(folder(path));
        let file = file.map_err(failed("creating a temporary file for", path))?;
        Ok(Output { file, path: path.to_owned(), end: 0 })
    }

    pub fn write_at(&self, at: u64, bytes: &[u8]) -> Result<(), Error> {
        Ok(self.file.as_file().write_all_at(bytes, at).map_err(failed("writing", &self.path))?)
    }

    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.write_at(self.end, bytes)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Writes `bytes` at `at` without its blocks of zeros. The file must have a hole there.
    pub fn write_sparse(&self, at: u64, bytes: &[u8]) -> Result<(), Error> {
        let (mut at, mut rest) = (at, bytes);
        while let Some(first) = rest.chunks(BLOCK).next() {
            let zero = is_zero(first);
            let run: usize = rest.chunks(BLOCK).take_while(|block| is_zero(block) == zero).map(<[u8]>::len).sum();
            if !zero {
                self.write_at(at, &rest[..run])?;
            }
            at += run as u64;
            rest = &rest[run..];
        }
        Ok(())
    }

    /// Sets the size to `size` bytes, flushes the file and gives it its name.
    pub fn finish(self, size: u64) -> Result<(), Error> {
        let file = self.file.as_file();
        file.set_len(size).and_then(|()| file.sync_all()).map_err(failed("writing", &self.path))?;
        let path = self.path;
        self.file.persist(&path).map_err(|e| -> FileError { failed("renaming to", &path)(e.error) })?;
        Ok(sync_dir(folder(&path))?)
    }
}
