//! What an error of a lower layer means to a caller, without naming the layers above it.

/// By what the caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// What was asked for does not exist; the noun completes "no such …".
    Missing(&'static str),
    /// Somebody else changed it first; the noun completes "the … has changed meanwhile".
    Raced(&'static str),
    /// Nothing the caller can help: for the log.
    Internal,
}

/// Lets an API turn an error into its own by `?` although it cannot name the error's type: the store's crate implements
/// this, the API's crate converts every `Fault`.
pub trait Fault: std::error::Error + Send + Sync + 'static {
    fn kind(&self) -> FaultKind;
}
