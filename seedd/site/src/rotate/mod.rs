//! Changing the seed's own keys: those of planes, vault and release. The site key and the passphrase stay.
//!
//! The new files are staged in `keys/rotate/`. One transaction of the database takes over what belongs to them; that is the
//! moment of the change. Then the files are moved into place. Whoever opens the site after an interruption moves them, or
//! removes what was staged without a transaction. In between nobody uses the keys: the caller has them closed.

/// What is changed, and what came of it.
mod what;

/// Moving the files into place.
mod place;

/// The new keys and their files.
mod stage;

/// One change, from the first key to the last file.
mod run;

pub use place::settle;
pub use run::committed;
pub use what::{AfterStep, Changed, Choice, Rotated, Rotation};

#[cfg(test)]
mod tests;
