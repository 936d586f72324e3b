//! A file as the body of an answer, handed over to a listener that can send it without copying it through this program.

use std::fs::File;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use camino::Utf8PathBuf;

use crate::files::etag::Validators;

/// In a request: the listener can send files itself, so the answer needs no body, only a [`Sendable`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct CanSend;

/// In an answer to such a request: its body.
#[derive(Debug, Clone)]
pub(crate) struct Sendable {
    pub(crate) file: Arc<File>,
    pub(crate) start: u64,
    pub(crate) len: u64,
    /// The complete file as it was opened.
    pub(crate) of: Arc<Opened>,
}

/// What is known about an opened file.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) path: Utf8PathBuf,
    pub(crate) validators: Validators,
    pub(crate) kind: &'static str,
    pub(crate) cache: &'static str,
    /// Device, inode, seconds and nanoseconds of its last change: they differ for another file under the same name.
    pub(crate) identity: (u64, u64, i64, i64),
}

/// How a file is requested.
pub(crate) struct Wanted {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) can_send: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Wanted {
    type Rejection = std::convert::Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let can_send = parts.extensions.get::<CanSend>().is_some();
        Ok(Wanted { method: parts.method.clone(), headers: parts.headers.clone(), can_send })
    }
}
