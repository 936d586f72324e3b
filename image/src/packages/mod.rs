//! The snapshot's packages.

/// Which packages there are, what they need, where their files are.
pub(crate) mod index;

/// Unpacking a Debian package below a directory.
pub(crate) mod deb;
