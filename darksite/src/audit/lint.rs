//! Searches what is about to be published for private keys and password hashes, also inside tar, deb, gzip, xz and zstd.
//!
//! It finds accidents, not deliberately hidden secrets: data that cannot be unpacked is searched in its packed form.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use camino::{Utf8Path, Utf8PathBuf};
pub use cluster_seed::leak::secrets;
use host::ar;

/// Levels of nested archives that are opened.
pub const MAX_DEPTH: usize = 5;
/// Unpacked bytes searched for one file.
pub const MAX_BYTES: u64 = 64 << 30;
/// Findings reported for one file.
pub const MAX_FINDINGS: usize = 20;
/// Bytes searched at once.
const WINDOW: usize = 256 << 10;
/// Bytes of a window that are searched again with the next: the longest pattern fits.
const OVERLAP: usize = 8 << 10;

/// Something that must not be published.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, and the names inside archives, separated by `!`.
    pub place: String,
    pub what: &'static str,
}

#[derive(Debug, thiserror::Error)]
pub enum LintError {
    #[error("reading {path}")]
    Read {
        path: Utf8PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{place} unpacks to more than {MAX_BYTES} bytes")]
    TooLarge { place: String },
}

struct Look {
    found: Vec<Finding>,
    left: u64,
}

/// Searches a file; findings call it `name`.
pub fn file(path: &Utf8Path, name: &str) -> Result<Vec<Finding>, LintError> {
    let failed = |source| LintError::Read { path: path.to_owned(), source };
    let opened = File::open(path).map_err(failed)?;
    reader(name, Box::new(opened)).map_err(|e| match e.kind() {
        io::ErrorKind::FileTooLarge => LintError::TooLarge { place: name.to_owned() },
        _ => failed(e),
    })
}

/// Searches bytes in memory.
pub fn bytes(name: &str, content: &[u8]) -> Vec<Finding> {
    // Reading from memory does not fail, and no asset unpacks to more than the limit.
    reader(name, Box::new(io::Cursor::new(content.to_vec()))).unwrap_or_default()
}

fn reader(name: &str, from: Box<dyn Read>) -> io::Result<Vec<Finding>> {
    let mut look = Look { found: Vec::new(), left: MAX_BYTES };
    look.any(name, from, 0)?;
    look.found.sort();
    look.found.dedup();
    look.found.truncate(MAX_FINDINGS);
    Ok(look.found)
}

impl Look {
    fn any(&mut self, place: &str, from: Box<dyn Read + '_>, depth: usize) -> io::Result<()> {
        let mut from = BufReader::with_capacity(WINDOW, from);
        // A single read may return fewer bytes.
        let mut head = Vec::new();
        Read::by_ref(&mut from).take(512).read_to_end(&mut head)?;
        let all = io::Cursor::new(head.clone()).chain(from);
        if depth >= MAX_DEPTH {
            return self.plain(place, all);
        }
        let inner = format!("{place}!");
        match () {
            () if head.starts_with(b"\x1f\x8b") => self.packed(&inner, flate2::bufread::MultiGzDecoder::new(all), depth),
            () if head.starts_with(b"\xfd7zXZ\0") => {
                self.packed(&inner, liblzma::bufread::XzDecoder::new_multi_decoder(all), depth)
            }
            () if head.starts_with(b"\x28\xb5\x2f\xfd") => match zstd::stream::read::Decoder::with_buffer(all) {
                Ok(unpacked) => self.packed(&inner, unpacked, depth),
                Err(_) => Ok(()),
            },
            () if head.starts_with(ar::MAGIC) => self.ar(&inner, all, depth),
            () if head.get(257..262) == Some(b"ustar") => self.tar(&inner, all, depth),
            () => self.plain(place, all),
        }
    }

    /// Damaged data is searched up to the damage.
    fn packed(&mut self, place: &str, unpacked: impl Read, depth: usize) -> io::Result<()> {
        self.any(place, Box::new(Lenient(unpacked)), depth + 1)
    }

    fn ar(&mut self, place: &str, mut from: impl BufRead, depth: usize) -> io::Result<()> {
        let mut magic = [0; ar::MAGIC.len()];
        from.read_exact(&mut magic)?;
        let mut header = [0; ar::HEADER];
        while from.read_exact(&mut header).is_ok() {
            let Some(header) = ar::Header::parse(&header) else { return self.plain(place, from) };
            let mut member = (&mut from).take(header.size);
            self.any(&format!("{place}{}", header.name), Box::new(&mut member), depth + 1)?;
            io::copy(&mut member, &mut io::sink())?;
            io::copy(&mut (&mut from).take(header.padded() - header.size), &mut io::sink())?;
        }
        Ok(())
    }

    fn tar(&mut self, place: &str, from: impl Read, depth: usize) -> io::Result<()> {
        let mut archive = tar::Archive::new(from);
        for entry in archive.entries()? {
            // A damaged archive is searched up to the damage.
            let Ok(mut entry) = entry else { return Ok(()) };
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if entry.header().entry_type().is_file() {
                self.any(&format!("{place}{}", name.trim_start_matches("./")), Box::new(Lenient(&mut entry)), depth + 1)?;
            }
        }
        Ok(())
    }

    fn plain(&mut self, place: &str, mut from: impl BufRead) -> io::Result<()> {
        let mut window: Vec<u8> = Vec::with_capacity(WINDOW + OVERLAP);
        loop {
            let piece = from.fill_buf()?;
            let n = piece.len();
            window.extend_from_slice(piece);
            from.consume(n);
            self.left = self.left.checked_sub(n as u64).ok_or(io::ErrorKind::FileTooLarge)?;
            if n > 0 && window.len() < WINDOW {
                continue;
            }
            for what in secrets(&window) {
                self.found.push(Finding { place: place.trim_end_matches('!').to_owned(), what });
            }
            if n == 0 || self.found.len() > 2 * MAX_FINDINGS {
                return Ok(());
            }
            window.drain(..window.len().saturating_sub(OVERLAP));
        }
    }
}

/// Ends at the first error of its source.
struct Lenient<R>(R);

impl<R: Read> Read for Lenient<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buf) {
            Err(e) if e.kind() == io::ErrorKind::FileTooLarge => Err(e),
            Err(_) => Ok(0),
            good => good,
        }
    }
}

#[cfg(test)]
mod tests;
