//! A seed that runs from its medium: set-up in a browser before there is a site, then the daemon.

pub mod run;
pub mod setup;
