//! The screen on tty1 and the serial line of an appliance.

pub mod host;
pub mod view;
