//! Classifies errors of a lower layer for its callers.

/// The class of an error, by what the caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The requested object does not exist; the noun completes "no such …".
    Missing(&'static str),
    /// It was modified concurrently; the noun completes "the … was modified concurrently".
    Raced(&'static str),
    /// Nothing the caller can do: for the log.
    Internal,
}

/// Lets an API turn an error into its own by `?` although it cannot name the error's type: the store's crate implements
/// this, the API's crate converts every `Fault`.
pub trait Fault: std::error::Error + Send + Sync + 'static {
    fn kind(&self) -> FaultKind;
}
