//! What is sent to machines and their controllers.

pub mod https;
pub mod wake;
