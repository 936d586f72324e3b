//! The seed from outside: one program, so that everything is linked once.

#[allow(dead_code, reason = "the seed needs a part of it")]
#[path = "../../../darksite/tests/it/common/mod.rs"]
mod archive;
mod life_bench;
mod medium;
mod sites;

mod admin;
mod adopt;
mod appliance;
mod capsule;
mod capsule_hostile;
mod console;
mod control;
mod earlier;
mod enrollment;
mod epoch;
mod flight;
mod hole_16;
mod holes;
mod killed;
mod life;
mod power;
mod private;
mod registry;
mod same_medium;
mod state;
mod stick;
mod strangers;
