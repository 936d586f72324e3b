//! The limit of every text.

/// Most characters of a serial number, a place, a pattern, or the value of a label: as many as of a fact.
pub const MAX_FIELD: usize = crate::machine::MAX_TEXT;
