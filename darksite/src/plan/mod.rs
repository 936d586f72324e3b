//! Which packages a snapshot contains, and why. It decides; bytes come from [`crate::upstream`].

pub mod request;
pub mod resolve;
pub mod why;

pub mod draft;

mod choose;
mod contents;
mod installer;
mod translation;

pub mod from_roots;

pub mod companion;
pub mod from_lock;

pub mod diff;
pub mod explain;
