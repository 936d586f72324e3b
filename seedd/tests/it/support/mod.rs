//! What the tests set up: sites, media, capsules between sites, machines.

#[allow(dead_code, reason = "the seed needs a part of it")]
#[path = "../../../../darksite/tests/it/common/mod.rs"]
pub mod archive;
pub mod authenticator;
pub mod bmc;
pub mod capsules;
pub mod front;
#[path = "../../../../tests/shared/large_fleet.rs"]
pub mod large_fleet;
pub mod life;
pub mod medium;
#[path = "../../../../tests/shared/paired.rs"]
pub mod paired;
#[path = "../../../../tests/shared/places.rs"]
pub mod places;
pub mod receiver;
pub mod sites;
