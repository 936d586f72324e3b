//! The seed from outside: one program, so that everything is linked once.

mod support;

mod admin;
mod adopt;
mod appliance;
mod arm64;
mod capsule;
mod capsule_hostile;
mod console;
mod control;
mod controllers;
mod controllers_tls;
mod converge;
mod earlier;
mod enrollment;
mod epoch;
mod flight;
mod hints;
mod hole_16;
mod holes;
mod killed;
mod life;
mod lists;
mod outputs;
mod pairing;
mod power;
mod private;
mod prompt;
mod proxmox;
mod registry;
mod rotate;
mod same_medium;
mod state;
mod stick;
mod strangers;
mod tokens;
