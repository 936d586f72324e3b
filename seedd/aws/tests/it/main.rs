//! The crate from outside: against a small AWS of our own, which is as strict as the documents say, and against moto, which reads
//! requests by AWS's own models.

mod cloud;
mod http;
mod killed;
mod moto;
mod refused;
mod resumed;
mod started;
mod support;
mod uploaded;
