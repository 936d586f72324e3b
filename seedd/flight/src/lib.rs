//! The boot flight recorder: what machines said on the wire and how they were answered, kept in memory and as events, and
//! what that means for a machine that does not boot.

pub mod diagnosis;
pub mod recorder;
