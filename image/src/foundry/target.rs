//! How each target is made. Every maker writes into the job's `out` and returns the name of the file that is deployed.

use cluster_seed::foundry::Target;

use super::job::Job;
use super::{firecracker, node_iso, oci, packer};
use crate::error::Error;
use crate::iso;
use crate::iso::stage::Stage;

/// iPXE's script in a netboot bundle, one of the order's further files.
pub const PXE_SCRIPT: &str = "boot.ipxe";

pub(crate) fn make(job: &Job) -> Result<String, Error> {
    match job.order.target {
        Target::Raw => raw(job),
        Target::Qcow2 => job.qcow2(),
        Target::Vmdk => job.vmdk(),
        Target::Vhd => job.vhd(),
        Target::Vhdx => job.vhdx(),
        Target::Oci => oci::make(job),
        Target::FirecrackerBundle => firecracker::make(job),
        Target::PackerScaffold => packer::make(job),
        Target::PxeBundle => pxe_bundle(job),
        Target::NodeIso => node_iso::make(job),
    }
}

fn raw(job: &Job) -> Result<String, Error> {
    let (image, _) = job.disk()?;
    let primary = format!("{}.img", job.name);
    iso::deliver(&image, &job.out.join(&primary))?;
    Ok(primary)
}

/// The netboot set; the scripts are among the order's further files.
fn pxe_bundle(job: &Job) -> Result<String, Error> {
    let netboot = job.order.netboot;
    let from = job.inputs.dirs.netboot.join(netboot.id.to_string());
    let mut stage = Stage::new(job.out);
    for file in &netboot.files {
        stage.take_digest(&from.join(&file.name), &file.name, &file.sha256)?;
    }
    Ok(PXE_SCRIPT.to_owned())
}
