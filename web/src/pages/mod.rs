//! The pages. They work without JavaScript; with it, marked regions are fetched again when an event arrives.

pub(crate) mod assets;
pub(crate) mod charts;
pub(crate) mod clock;
pub(crate) mod code;
pub(crate) mod converge;
pub(crate) mod first_setup;
pub(crate) mod images;
pub(crate) mod login;
pub(crate) mod machine;
pub(crate) mod mesh;
pub(crate) mod overview;
pub(crate) mod packages;
pub(crate) mod plan;
pub(crate) mod power;
pub(crate) mod site;

mod decision;
mod shell;
mod typed;
mod view;
mod work;
