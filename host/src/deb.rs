//! Debian binary packages (deb(5)): an `ar` archive of `debian-binary`, `control.tar.*` and `data.tar.*`.

use std::io::{self, BufReader, Read};

use crate::ar;

/// Members of the outer archive.
pub const MAX_MEMBERS: u32 = 16;

/// Why a package cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    #[error("not a Debian package: {0}")]
    Format(&'static str),
    #[error("unknown compression {0:?}")]
    Compression(String),
    #[error("reading the package")]
    Read(#[from] io::Error),
}

/// Finds the archive `name` (`control.tar` or `data.tar`), whatever it is compressed with, and decompresses it.
///
/// The decompressed size is not limited: the caller limits what it reads.
pub fn member<'a>(mut deb: impl Read + 'a, name: &str) -> Result<Box<dyn Read + 'a>, DebError> {
    let mut magic = [0; ar::MAGIC.len()];
    deb.read_exact(&mut magic).map_err(|e| cut_short(e, "not an ar archive"))?;
    if &magic != ar::MAGIC {
        return Err(DebError::Format("not an ar archive"));
    }
    for at in 0..MAX_MEMBERS {
        let mut header = [0; ar::HEADER];
        deb.read_exact(&mut header).map_err(|e| cut_short(e, "the archive ends before the wanted member"))?;
        let header = ar::Header::parse(&header).ok_or(DebError::Format("a malformed ar header"))?;
        if at == 0 && header.name != "debian-binary" {
            return Err(DebError::Format("debian-binary is not the first member"));
        }
        if let Some(ending) = header.name.strip_prefix(name) {
            return decompress(ending, deb.take(header.size));
        }
        if io::copy(&mut (&mut deb).take(header.padded()), &mut io::sink())? != header.padded() {
            return Err(DebError::Format("a member is cut short"));
        }
    }
    Err(DebError::Format("too many members"))
}

fn cut_short(e: io::Error, why: &'static str) -> DebError {
    if e.kind() == io::ErrorKind::UnexpectedEof { DebError::Format(why) } else { DebError::Read(e) }
}

fn decompress<'a>(ending: &str, data: impl Read + 'a) -> Result<Box<dyn Read + 'a>, DebError> {
    let data = BufReader::with_capacity(256 << 10, data);
    Ok(match ending {
        "" => Box::new(data),
        ".xz" => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(data)),
        ".gz" => Box::new(flate2::bufread::MultiGzDecoder::new(data)),
        ".zst" => Box::new(zstd::stream::read::Decoder::with_buffer(data)?),
        other => return Err(DebError::Compression(other.chars().take(16).collect())),
    })
}

#[cfg(test)]
#[path = "deb_tests.rs"]
mod tests;
