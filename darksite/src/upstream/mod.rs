//! Everything that comes from a mirror: addresses, bytes, signatures, suites and packages. It reads from the network, from
//! local mirrors and from the cache, and writes blobs.

pub mod fetch;
pub mod http;
pub mod mirror;
pub mod netrc;
pub mod registry;

pub mod keyring;
pub mod trust;

pub mod listed;
pub mod release;
pub mod unpack;

pub mod pool;
pub mod suite;
