//! What is sent to machines and their controllers.

/// A certificate's key, weaknesses and fingerprint.
pub mod certificate;

/// Which certificate is believed.
pub mod pin;

/// One request and its answer.
pub mod https;

/// Wake-on-LAN.
pub mod wake;
