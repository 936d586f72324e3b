//! The text formats of a Debian archive and of a lock file. Everything here is pure: text in, values out.

pub mod deb822;
pub mod relation;
pub mod version;

pub mod date;
pub mod layout;
pub mod sum;

pub mod index;
pub mod lock;
pub mod texts;
