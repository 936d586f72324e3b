//! Pages, JSON API, boot scripts and file serving.
//!
//! Two routers that share nothing but the [`api::SeedApi`] behind them: [`machine::machine_router`] for the netboot
//! segment, where everything is public or protects itself by signatures, and [`operator::operator_router`] for people.
//! [`server::serve`] runs either of them with the limits that a listener needs.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod api;
pub mod auth;
pub mod dates;
pub mod error;
pub mod files;
pub mod first_setup;
pub mod limits;
pub mod machine;
pub mod meter;
pub mod operator;
pub mod server;
pub mod site_api;

mod api_flight;
mod api_packages;
mod api_power;
mod call;
mod etag;
mod extract;
mod handover;
mod headers;
mod json;
mod json_power;
mod pages;
mod registry;
mod safe_json;
mod safe_path;
mod server_fast;
mod server_fast_cache;
mod server_fast_head;
mod server_fast_open;
mod server_peers;
mod server_socket;
mod server_tls;
mod site_json;
mod sse;

#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod files_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod machine_tests;
#[cfg(test)]
mod mock;
#[cfg(test)]
mod mock_data;
#[cfg(test)]
mod mock_site;
#[cfg(test)]
mod operator_tests;
#[cfg(test)]
mod site_tests;
#[cfg(test)]
mod warning_tests;

pub use first_setup::first_setup_router;
pub use machine::machine_router;
pub use operator::{OperatorOptions, operator_router};
#[doc(hidden)]
pub use server_fast_head::read_head;
