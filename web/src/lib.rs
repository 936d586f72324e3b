//! Pages, JSON API, boot scripts and file serving.

pub mod api;
