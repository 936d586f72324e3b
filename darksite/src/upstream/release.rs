//! Fetches the signed Release file of a suite: `InRelease`, or `Release` with `Release.gpg`.

use crate::upstream::fetch::{self, Fetch, FetchError};
use crate::upstream::trust::{self, MAX_INRELEASE};

/// Bytes of a `Release.gpg`.
const MAX_SIGNATURES: u64 = 256 << 10;

/// Returns the file in a form that [`trust::verify_inrelease`] reads, and its address. `dir` is the folder's address.
pub fn fetch(from: &dyn Fetch, dir: &str) -> Result<(Vec<u8>, String), FetchError> {
    let url = fetch::join(dir, "InRelease");
    match fetch::get_all(from, &url, MAX_INRELEASE as u64) {
        Ok(bytes) if trust::open(&bytes).is_ok() => Ok((bytes, url)),
        // Some servers answer with a page of their own instead of 404.
        Ok(bytes) => Ok(pair(from, dir)?.unwrap_or((bytes, url))),
        Err(e) if e.is_missing() => pair(from, dir)?.ok_or(e),
        Err(e) => Err(e),
    }
}

/// Release and its detached signatures; None if the server does not have both.
fn pair(from: &dyn Fetch, dir: &str) -> Result<Option<(Vec<u8>, String)>, FetchError> {
    let url = fetch::join(dir, "Release");
    let get = |url: &str, limit| match fetch::get_all(from, url, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.is_missing() => Ok(None),
        Err(e) => Err(e),
    };
    let Some(release) = get(&url, MAX_INRELEASE as u64)? else { return Ok(None) };
    let Some(signatures) = get(&format!("{url}.gpg"), MAX_SIGNATURES)? else { return Ok(None) };
    Ok(trust::join(&release, &signatures).map(|joined| (joined, url)))
}
