//! Outputs of the foundry: built, built again elsewhere with the same bytes, compared as other programs read them, verified, and
//! booted to nodes.

mod outputs;

pub mod start;

mod boots;

mod cloud;

mod bundles;

mod firecracker;

mod media;

mod packer;

use anyhow::Result;

use crate::dirs::RunDirs;
use crate::site::Template;
use crate::vm::Accel;

/// Every output, without booting one.
pub fn outputs(dirs: &RunDirs, template: &Template) -> Result<()> {
    outputs::run(dirs, template)
}

/// Machines that start from an output become nodes.
pub fn boots(dirs: &RunDirs, template: &Template, accel: Accel) -> Result<()> {
    boots::run(dirs, template, accel)
}

/// A netboot bundle that other programs serve.
pub fn bundles(dirs: &RunDirs, template: &Template, accel: Accel) -> Result<()> {
    bundles::run(dirs, template, accel)
}

/// The node medium.
pub fn media(dirs: &RunDirs, template: &Template, accel: Accel) -> Result<()> {
    media::run(dirs, template, accel)
}

/// Packer packs the image again.
pub fn packer(dirs: &RunDirs, template: &Template, accel: Accel) -> Result<()> {
    packer::run(dirs, template, accel)
}

/// The Firecracker bundle.
pub fn firecracker(dirs: &RunDirs, template: &Template, accel: Accel) -> Result<()> {
    firecracker::run(dirs, template, accel)
}
