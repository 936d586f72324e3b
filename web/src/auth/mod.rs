//! Who sent a request, and whether it may change something.
//!
//! Reading handlers take [`Session`] (JSON) or [`PageSession`] (pages). A handler that changes something needs an
//! [`crate::api::Actor`] for the call into the daemon, and only [`Change`], [`ChangeForm`] and [`ChangeFields`] give one: they prove that
//! the request has a session, that no other site sent it, and, if a cookie let it in, that it carries the session's CSRF
//! token. A browser never sends a bearer token on its own, so a request with one needs no CSRF token in its header.

mod change;
mod next;
mod session;
mod token;

pub(crate) use change::{Change, ChangeFields, ChangeForm};
pub(crate) use next::next_page;
pub(crate) use session::{NoPage, PageSession, Session, find};
pub(crate) use token::{bearer, cookie, forget_cookie};

#[cfg(test)]
pub(crate) use token::csrf;
