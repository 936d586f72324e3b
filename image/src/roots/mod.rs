//! Root file systems.

/// The snapshot's own tools, and running programs in them.
pub(crate) mod tools;

/// The system of a role or of the seed: packages installed, everything that differs between builds removed.
pub(crate) mod system;
