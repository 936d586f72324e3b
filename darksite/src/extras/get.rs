//! Fetches files that are pinned by their digest only: the size is unknown, but limited.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::extras::SignatureSpec;
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use host::blobs::blob_path;
use host::files::{self, FileError, PUBLIC, Start, failed, open};
use jiff::Timestamp;
use pgp::composed::DetachedSignature;
use sha2::{Digest as _, Sha256};

use super::error::ExtrasError;
use crate::upstream::fetch::{self, Fetch, FetchError, MAX_TRIES};
use crate::upstream::keyring::Keyring;
use crate::upstream::pool;
use crate::upstream::trust::{Clock, detached, moment_of};

/// Bytes of one extra.
pub const MAX_EXTRA: u64 = 64 << 30;
/// Bytes of a detached signature.
const MAX_SIGNATURE: u64 = 256 << 10;
/// Bytes of a signed file: it is read into memory.
pub const MAX_SIGNED: u64 = 2 << 30;

/// Where bytes come from and go to.
pub(crate) struct Getter<'a> {
    pub fetch: &'a dyn Fetch,
    pub blobs: &'a Utf8Path,
    pub tmp: &'a Utf8Path,
    pub progress: &'a dyn Progress,
    pub clock: Clock,
}

/// Turns a path into an address.
pub(crate) fn address(url: &str) -> String {
    if url.starts_with('/') { format!("file://{url}") } else { url.to_owned() }
}

impl Getter<'_> {
    /// Fetches a file into the blob store; returns its path and size. Its digest is checked before it gets its name.
    pub fn blob(&self, url: &str, sha256: Digest) -> Result<(Utf8PathBuf, u64), ExtrasError> {
        let blob = blob_path(self.blobs, &sha256);
        if let Ok(meta) = fs::metadata(&blob)
            && meta.is_file()
        {
            return Ok((blob, meta.len()));
        }
        files::create_dirs(self.tmp)?;
        let part = self.tmp.join(format!("{sha256}.part"));
        let io = failed("writing", &part);
        let mut file = open(&part, Start::Keep, PUBLIC).map_err(&io)?;
        file.lock().map_err(&io)?;
        let url = address(url);
        let (mut tries, mut fresh) = (0, false);
        let size = loop {
            tries += 1;
            match self.attempt(&url, &mut file, &part) {
                Ok((found, size)) if found == sha256 => break size,
                Ok((found, _)) => {
                    file.set_len(0).map_err(&io)?;
                    // The part of an earlier run may be damaged: try once more from the start.
                    if fresh {
                        let _ = fs::remove_file(&part);
                        return Err(ExtrasError::Mismatch { url, found, expected: sha256 });
                    }
                    fresh = true;
                }
                Err(ExtrasError::Fetch(e)) if e.is_transient() && tries < MAX_TRIES => fetch::pause(tries),
                Err(e) => return Err(e),
            }
        };
        file.sync_all().map_err(&io)?;
        pool::place(&part, self.blobs, &sha256)?;
        Ok((blob, size))
    }

    /// One request: resumes after the part on disk; returns digest and size of the file.
    fn attempt(&self, url: &str, file: &mut File, part: &Utf8Path) -> Result<(Digest, u64), ExtrasError> {
        let io = failed("writing", part);
        let mut have = file.metadata().map_err(&io)?.len();
        let mut body = self.fetch.get(url, have)?;
        if body.offset != have {
            file.set_len(0).map_err(&io)?;
            have = 0;
        }
        let mut hash = Sha256::new();
        file.seek(SeekFrom::Start(0)).map_err(&io)?;
        let mut buffer = vec![0u8; 128 << 10];
        let mut start = Read::by_ref(file).take(have);
        loop {
            match start.read(&mut buffer).map_err(&io)? {
                0 => break,
                n => hash.update(&buffer[..n]),
            }
        }
        loop {
            if self.progress.cancelled() {
                return Err(FileError::Cancelled.into());
            }
            let read = body.reader.read(&mut buffer);
            let n = read.map_err(|source| FetchError::Read { url: url.to_owned(), source })?;
            if n == 0 {
                return Ok((Digest(hash.finalize().into()), have));
            }
            have += n as u64;
            if have > MAX_EXTRA {
                return Err(FetchError::TooLarge { url: url.to_owned(), limit: MAX_EXTRA }.into());
            }
            file.write_all(&buffer[..n]).map_err(&io)?;
            hash.update(&buffer[..n]);
            self.progress.advance(n as u64);
        }
    }

    /// Verifies a detached signature of a file; returns the certificate's fingerprint.
    pub fn signature(&self, url: &str, blob: &Utf8Path, spec: &SignatureSpec, keys: &Keyring) -> Result<String, ExtrasError> {
        let bad = |why: String| ExtrasError::Signature { url: url.to_owned(), why };
        let bytes = fetch::get_all(self.fetch, &address(&spec.url), MAX_SIGNATURE)?;
        let content = files::read_limited(blob, MAX_SIGNED)?;
        let mut why = "is not a detached OpenPGP signature".to_owned();
        // A file may have signatures by several keys.
        for DetachedSignature { signature } in detached(&bytes) {
            let at = match self.clock {
                Clock::At(now) => now,
                Clock::OfFile => moment_of(&signature, Timestamp::UNIX_EPOCH),
            };
            match keys.check(&signature, &content, at) {
                Ok(by) => return Ok(by),
                Err(rejected) => why = rejected.to_string(),
            }
        }
        Err(bad(why))
    }
}
