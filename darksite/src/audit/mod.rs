//! Reads what was published or is about to be: is it intact, does it contain a secret, what is in it.

pub mod verify;

pub mod lint;

pub mod sbom;

pub mod kubernetes;
