//! The screen on tty1 and the serial console of an appliance.

pub mod host;
pub mod plain;
pub mod qr;
pub mod render;
pub mod screen;
pub mod text;
pub mod ui;
pub mod view;
