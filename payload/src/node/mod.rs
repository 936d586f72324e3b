//! An installed node: from its first start to Converged, and the maintenance after that.

pub mod grow;

pub mod volume;

pub mod discover;

pub mod address;

pub mod join;

pub mod applied;
pub mod clock;
pub mod lists;
pub mod planes;
mod vips;

pub mod apply;
pub mod gate;

// The plays of its role.
pub mod converge;

pub mod said;
pub mod support;
