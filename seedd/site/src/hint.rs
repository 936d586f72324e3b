//! An error with a hint for the reader.

use std::fmt;

/// Wraps an error; `main` prints the chain, then `hint: …`.
#[derive(Debug)]
pub struct Hinted {
    error: anyhow::Error,
    hint: String,
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for Hinted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

pub trait Hint<T> {
    fn hint(self, hint: impl Into<String>) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Hint<T> for Result<T, E> {
    fn hint(self, hint: impl Into<String>) -> anyhow::Result<T> {
        self.map_err(|e| with(e, hint))
    }
}

/// An error with its hint.
pub fn with(error: impl Into<anyhow::Error>, hint: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Hinted { error: error.into(), hint: hint.into() })
}

/// The innermost hint of a chain.
pub fn of(error: &anyhow::Error) -> Option<String> {
    error.chain().filter_map(|e| e.downcast_ref::<Hinted>()).last().map(|h| h.hint.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn the_hint_survives_context() {
        let e: anyhow::Result<()> = Err(anyhow::anyhow!("inner")).hint("do this");
        let e = e.context("outer").unwrap_err();
        assert_eq!(of(&e).as_deref(), Some("do this"));
        assert_eq!(format!("{e:#}"), "outer: inner");
    }
}
