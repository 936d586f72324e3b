//! Problems in cluster.yaml, and where they are.

use serde_saphyr::Spanned;

/// A problem in cluster.yaml, and its position (1-based; 0 if it concerns the file in general).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct SpecError {
    pub line: u64,
    pub column: u64,
    pub message: String,
    pub hint: Option<String>,
}

pub(crate) fn at<T>(spanned: &Spanned<T>, message: String, hint: &str) -> SpecError {
    let hint = (!hint.is_empty()).then(|| hint.to_owned());
    SpecError { line: spanned.referenced.line(), column: spanned.referenced.column(), message, hint }
}

pub(crate) fn whole(message: String, hint: &str) -> SpecError {
    SpecError { line: 0, column: 0, message, hint: (!hint.is_empty()).then(|| hint.to_owned()) }
}

/// Reads YAML; an error has its place.
pub(crate) fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, SpecError> {
    serde_saphyr::from_str(text).map_err(|e| {
        let (line, column) = e.location().map_or((0, 0), |l| (l.line(), l.column()));
        SpecError { line, column, message: e.without_snippet().to_string(), hint: None }
    })
}

/// Debian policy 5.6.1.
pub(crate) fn is_package_name(name: &str) -> bool {
    name.len() >= 2
        && name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.'))
}
