//! The node medium: an enrollment medium with the artifacts of every role and the snapshot on it. Only enrollment needs the
//! network; what is installed comes from the medium.

use std::collections::BTreeSet;

use cluster_seed::foundry::Target;
use cluster_seed::manifest::{ArtifactManifest, Chunk};
use cluster_seed::medium::{DARKSITE, NODE_VOLUME, chunk_path};
use cluster_seed::seal::key_text;
use host::blobs::blob_path;
use host::files::PRIVATE;

use super::job::Job;
use crate::enrolliso::{self, EnrollMedium};
use crate::error::Error;
use crate::iso::stage::Stage;
use crate::iso::{Bootable, deliver};
use crate::netboot::initramfs::Initramfs;

const README: &str = include_str!("../../assets/node-readme.txt");
/// An initramfs, loaded after the netboot set's, with the settings that a machine enrolls by.
const JOIN_IMAGE: &str = "boot/join.img";
/// Their place in the RAM system.
const JOIN: &str = "etc/kubedos/join.json";

/// Makes the medium in `out`.
pub fn make(job: &Job) -> Result<String, Error> {
    debug_assert_eq!(job.order.target, Target::NodeIso);
    let (order, progress) = (job.order, job.progress);
    let mut stage = Stage::new(&job.work.join("iso"));
    stage.write("README.txt", README.as_bytes())?;
    stage.write(JOIN_IMAGE, &join_image(order.join)?)?;
    progress.begin("adding the snapshot", None);
    stage.take_folder(job.inputs.snapshot_dir, DARKSITE, progress)?;
    progress.end();
    add_artifacts(job, &mut stage)?;
    let what = EnrollMedium { site: order.site, seed: order.seed, parameters: order.parameters, netboot: order.netboot };
    let menu = enrolliso::menu(&what, &key_text(&job.inputs.site_key.verifying_key()))?;
    let menu = menu.replace("initrd /boot/initrd.img\n", &format!("initrd /boot/initrd.img /{JOIN_IMAGE}\n"));
    let (dirs, index, tools, work) = (job.inputs.dirs, job.index, job.tools, job.work);
    let iso = Bootable { dirs, index, tools, work, id: job.id, volume: NODE_VOLUME, modules: enrolliso::MODULES, progress };
    let built = iso.create(&mut stage, order.netboot, &menu)?;
    let primary = format!("{}.iso", job.name);
    deliver(&built, &job.out.join(&primary))?;
    Ok(primary)
}

fn join_image(join: &[u8]) -> Result<Vec<u8>, Error> {
    let mut files = Initramfs::default();
    files.file(JOIN, PRIVATE, join.to_vec());
    let mut image = Vec::new();
    files.write(&mut image).map_err(host::files::failed("writing", JOIN.into()))?;
    Ok(image)
}

/// Adds every stored chunk once.
fn add_artifacts(job: &Job, stage: &mut Stage) -> Result<(), Error> {
    let artifacts: Vec<&ArtifactManifest> = job.order.artifacts.values().collect();
    let stored = artifacts.iter().flat_map(|a| &a.chunks).filter_map(|c| match c {
        Chunk::Zstd { stored, .. } => Some(*stored),
        Chunk::Zero => None,
    });
    let stored: BTreeSet<_> = stored.collect();
    job.progress.begin("adding the artifacts", Some(stored.len() as u64));
    for digest in stored {
        if job.progress.cancelled() {
            return Err(Error::Cancelled);
        }
        stage.take_digest(&blob_path(&job.inputs.dirs.blobs, &digest), &chunk_path(&digest), &digest)?;
        job.progress.advance(1);
    }
    job.progress.end();
    Ok(())
}
