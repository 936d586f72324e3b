//! The lab: a network of its own, real machines under QEMU, and everything that drives the product through its
//! public interfaces, the way its users do.

pub mod api;
pub mod appliance;
pub mod browser;
pub mod checks;
pub mod clock;
pub mod console;
pub mod daemon;
pub mod demo;
pub mod dirs;
pub mod drill;
pub mod fake_agent;
pub mod fleet;
pub mod journey;
pub mod liar;
pub mod member;
pub mod netns;
pub mod pages;
pub mod protocol;
pub mod qmp;
pub mod refusals;
pub mod say;
pub mod screen;
pub mod second_site;
pub mod seedd;
pub mod site;
pub mod stop;
pub mod summary;
pub mod tampering;
pub mod tool;
pub mod trust;
pub mod twice;
pub mod vm;
