//! What is said of the images.

/// Values of configuration and annotations.
pub struct About<'a> {
    pub site: &'a str,
    pub role: &'a str,
    /// Version of the output.
    pub version: &'a str,
    /// As Debian and OCI call it: `amd64`.
    pub arch: &'a str,
    /// Seconds since 1970; no time in the images is later.
    pub epoch: u64,
}
