//! Convergence on the node: asks the seed for orders, runs the plays of its role from the site's payload, and reports.

pub mod places;

// What is stored, and the conversation with the seed.
pub mod exchange;
pub mod held;
pub mod hostkey;
pub mod pki;

// The payload.
pub mod fetch;
pub mod unpack;

// One run.
pub mod ansible;
pub mod live;
pub mod plays;
pub mod runner;
pub mod salt;
pub mod vars;

// The checks of a node.
pub mod checks;

// The loop, and what it shows.
pub mod agent;
pub mod next;
pub mod rounds;
pub mod status;
