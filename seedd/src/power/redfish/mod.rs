//! Redfish (DMTF DSP0266, DSP0268), as controllers speak it. In reading order:

/// What JSON of a controller says: links, lists, allowed values, reasons. Pure.
pub mod json;

/// Why a request came to nothing.
pub mod fault;

/// Requests and their answers: sessions, redirects, ETags, tasks.
pub mod service;

/// The system that is the machine.
pub mod find;

/// Power on, off, cycle.
pub mod reset;

/// What the next start is from.
pub mod boot;

/// One virtual drive.
pub mod drive;

/// Which virtual drive takes an image.
pub mod media;

/// What an operator asked for.
pub mod act;
