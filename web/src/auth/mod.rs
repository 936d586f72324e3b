//! Who sent a request, and whether it may change something.
//!
//! Every handler says in its signature which permission it needs. Reading handlers take [`Session`] (JSON) or [`PageSession`]
//! (pages), which ask for the permission to read, or [`SessionFor`] and [`PageFor`] with another one. A handler that changes something
//! needs an [`crate::api::Actor`] for the call into the daemon, and only [`Change`], [`ChangeForm`] and [`ChangeFields`] give one: they prove that the
//! request has a session or an API token with the permission that is their first parameter ([`may`]), that no other site sent it, and,
//! if a cookie let it in, that it carries the session's CSRF token. A browser never sends a bearer token on its own, so a request with
//! one needs no CSRF token in its header.

mod again;
mod change;
pub(crate) mod may;
mod next;
mod session;
mod token;

pub(crate) use change::{Change, ChangeFields, ChangeForm};
pub(crate) use next::next_page;
pub(crate) use session::{NoPage, PageFor, PageSession, Session, SessionFor, find};
pub(crate) use token::{bearer, cookie, forget_cookie};

#[cfg(test)]
pub(crate) use token::csrf;
