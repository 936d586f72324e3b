//! Random bytes from the kernel (getrandom(2)).

/// The kernel could not provide random bytes.
#[derive(Debug, thiserror::Error)]
#[error("reading random bytes from the kernel")]
pub struct RandomError(#[source] getrandom::Error);

/// Fills `bytes` with random bytes.
pub fn fill(bytes: &mut [u8]) -> Result<(), RandomError> {
    getrandom::fill(bytes).map_err(RandomError)
}

/// `N` random bytes: 32 for keys, nonces and tokens, 16 for ids.
pub fn bytes<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}
