//! The snapshot's packages.

/// Which packages there are, what they need, where their files are.
pub(crate) mod index;

/// Unpacking the files of a package below a directory.
pub(crate) mod unpack;
