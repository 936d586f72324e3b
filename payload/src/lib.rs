//! The agent of a machine: in RAM it enrolls and installs, on disk it brings up the planes and runs the play.

pub mod apply;
pub mod assets;
pub mod chunks;
pub mod clock;
pub mod cmdline;
pub mod console;
pub mod dhcp;
pub mod enroll;
pub mod epoch;
pub mod gate;
pub mod http;
pub mod init;
pub mod install;
pub mod join;
pub mod medium;
pub mod modules;
pub mod place;
pub mod planes;
pub mod preseed;
pub mod ram;
pub mod report;
pub mod rescue;
pub mod seed_boot;
pub mod session;
pub mod state;
pub mod switch;
