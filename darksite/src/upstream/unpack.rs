//! The forms in which a mirror has an index.

use std::io::{self, Read};

/// Endings in the order of preference.
pub const FORMS: [&str; 6] = [".xz", ".zst", ".gz", ".bz2", ".lzma", ""];

/// Memory that decoding one .lzma file may take, in bytes: its header names the size of the dictionary.
const LZMA_MEMORY: u64 = 128 << 20;

/// Unpacks bytes with one of the endings of [`FORMS`], every stream and frame in them, up to `limit` bytes.
pub fn unpack(ending: &str, bytes: Vec<u8>, limit: u64) -> io::Result<Vec<u8>> {
    let packed = &bytes[..];
    let reader: Box<dyn Read + '_> = match ending {
        ".xz" => Box::new(liblzma::read::XzDecoder::new_multi_decoder(packed)),
        ".gz" => Box::new(flate2::read::MultiGzDecoder::new(packed)),
        ".zst" => Box::new(zstd::stream::read::Decoder::with_buffer(packed)?),
        ".bz2" => Box::new(bzip2::read::MultiBzDecoder::new(packed)),
        ".lzma" => {
            let stream = liblzma::stream::Stream::new_lzma_decoder(LZMA_MEMORY).map_err(io::Error::other)?;
            Box::new(liblzma::read::XzDecoder::new_stream(packed, stream))
        }
        _ => return Ok(bytes),
    };
    let mut out = Vec::new();
    reader.take(limit).read_to_end(&mut out)?;
    Ok(out)
}
