//! An error with a hint for the reader.

use std::collections::HashSet;
use std::error::Error;
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

impl Error for Hinted {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
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
    all(error, &|_| None).into_iter().next()
}

/// Every hint of a chain once, the innermost first; `own` knows those of errors that have one of their own.
pub fn all(error: &anyhow::Error, own: &dyn Fn(&(dyn Error + 'static)) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut next: Option<&(dyn Error + 'static)> = Some(error.as_ref());
    while let Some(e) = next {
        let (hint, inner) = match e.downcast_ref::<Hinted>() {
            // It stands for the error that it wraps, which is not its source.
            Some(hinted) => (Some(hinted.hint.clone()), Some(hinted.error.as_ref())),
            None => (own(e), e.source()),
        };
        found.extend(hint);
        next = inner;
    }
    found.reverse();
    let mut seen = HashSet::new();
    found.retain(|hint| seen.insert(hint.clone()));
    found
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
        let twice: anyhow::Result<()> = Err(e).hint("and that").hint("and that");
        let e = twice.unwrap_err();
        assert_eq!((of(&e).as_deref(), all(&e, &|_| None)), (Some("do this"), vec!["do this".to_owned(), "and that".to_owned()]));
        assert_eq!(format!("{e:#}"), "outer: inner");
    }
}
