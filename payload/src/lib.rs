//! The agent of a machine: in RAM it enrolls and installs, on disk it brings up the planes and runs the play.

pub mod tool;
pub mod assets;
