//! An installed node: from its first start to Converged, and its part in the fleet from then on.

pub mod join;

pub mod clock;
pub mod lists;
pub mod planes;

pub mod gate;
pub mod play;

pub mod apply;
