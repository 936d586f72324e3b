//! The pages. They work without JavaScript; with it, the cells that changed are patched when an event arrives.

pub(crate) mod about;
pub(crate) mod agree;
pub(crate) mod approve_many;
pub(crate) mod assets;
pub(crate) mod audit;
pub(crate) mod bulk;
pub(crate) mod charts;
pub(crate) mod clock;
pub(crate) mod code;
pub(crate) mod confirm;
pub(crate) mod converge;
pub(crate) mod countersign;
pub(crate) mod dhcp;
pub(crate) mod docs;
pub(crate) mod first_setup;
pub(crate) mod images;
pub(crate) mod jobs;
pub(crate) mod join_tokens;
pub(crate) mod login;
pub(crate) mod look;
pub(crate) mod machine;
pub(crate) mod machines;
pub(crate) mod mesh;
pub(crate) mod note;
pub(crate) mod overview;
pub(crate) mod packages;
pub(crate) mod people;
pub(crate) mod plan;
pub(crate) mod planes;
pub(crate) mod power;
pub(crate) mod settings;
pub(crate) mod sheet;
pub(crate) mod site;

mod decision;
mod fields;
mod needs;
mod qr;
mod shell;
mod timeline;
mod typed;
mod view;
mod work;

#[cfg(test)]
mod design_tests;
