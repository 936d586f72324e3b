//! The list of machines and nodes: their stages, what is asked of the list, and what an operator notes about a machine.

/// Names by a pattern.
mod name;

/// Labels and places.
mod note;

/// What is asked of the list.
mod query;

/// Stages of a machine's life.
mod stage;

pub use name::{DEFAULT_PATTERN, MAX_PATTERN, Named, NoName, suggest};
pub use note::{Label, MAX_LABEL, MAX_LABELS, MAX_PLACE, NoteError, place};
pub use query::{Field, MAX_QUERY, MAX_TERMS, PAGE, Query, Sort, Term};
pub use stage::Stage;
