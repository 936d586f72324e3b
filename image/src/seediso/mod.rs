//! The seed medium: one hybrid ISO 9660 image that boots from CD and USB stick, by BIOS, UEFI and UEFI with Secure Boot. It
//! contains the seed's root, the darksite and the images, in the layout of [`cluster_seed::medium`].

/// What its boot menu offers.
mod menu;

/// The seed's own root file system.
mod root;

/// Our files in that root, and documents on the medium.
mod assets;

use std::collections::BTreeMap;
use std::fs;

use camino::Utf8Path;
use cluster_seed::ids::Digest;
use cluster_seed::manifest::{ArtifactManifest, Chunk, NetbootManifest};
use cluster_seed::medium::{self, MediumManifest, SITE};
use cluster_seed::progress::Progress;
use cluster_seed::seal::key_text;
use host::blobs::blob_path;
use host::files::failed;

use crate::error::Error;
use crate::iso::stage::Stage;
use crate::iso::{Bootable, deliver};
use crate::packages::index::Index;
use crate::program::read_seedd;
use crate::roots::tools::ToolRoot;
use crate::spec::{ARCH, RECIPE};
use crate::{Inputs, store};
use assets::DOCS;
use root::RootSpec;

/// The content of a medium besides [`Inputs`].
pub struct SeedMedium<'a> {
    /// The `seedd` executable that will run.
    pub seedd: &'a Utf8Path,
    pub version: &'a str,
    /// cluster.yaml of the site.
    pub cluster: &'a Utf8Path,
    pub netboot: &'a NetbootManifest,
    /// By role.
    pub artifacts: &'a BTreeMap<String, ArtifactManifest>,
}

/// A finished medium.
#[derive(Debug)]
pub struct SeedIso {
    pub manifest: MediumManifest,
    /// Size of the image in bytes.
    pub size: u64,
    /// Size of root file system, ESP, kernel and initramfs in bytes: the medium without its darksite and images.
    pub system: u64,
}

/// Builds the medium as the file `out`. Same inputs, same bytes.
pub fn build_seed_iso(inputs: &Inputs, what: &SeedMedium, out: &Utf8Path, progress: &dyn Progress) -> Result<SeedIso, Error> {
    let index = Index::open(inputs.snapshot_dir, inputs.suite)?;
    let tools = ToolRoot::open(inputs, &index, progress)?;
    let seedd = read_seedd(what.seedd)?;
    let spec = RootSpec::new(inputs.snapshot_id, &seedd, what.version);
    let image = root::build(inputs, &index, &tools, (&seedd, what.version), progress)?;
    let (_guard, work) = store::workdir(&inputs.dirs.tmp, "seediso-")?;
    progress.begin("collecting the files of the medium", None);
    let mut stage = Stage::new(&work.join("iso"));
    collect(inputs, what, &image, &mut stage, progress)?;
    progress.end();
    let files = stage.files();
    let sealed = (RECIPE, spec.id(), key_text(&inputs.site_key.verifying_key()), &files);
    let id = Digest::of(&serde_json::to_vec(&sealed)?);
    let manifest = MediumManifest {
        id,
        version: what.version.to_owned(),
        arch: ARCH.to_owned(),
        snapshot: inputs.snapshot_id,
        netboot: what.netboot.id,
        artifacts: what.artifacts.iter().map(|(role, m)| (role.clone(), m.id)).collect(),
        files,
    };
    manifest.check().map_err(|e| Error::Content(format!("the medium's manifest is invalid: {e}")))?;
    store::write_sealed(&stage.place(medium::MANIFEST)?, &manifest, inputs.site_key)?;
    for (name, text) in DOCS.iter().filter(|(n, _)| !n.starts_with("kubedos/")) {
        stage.write(name, text)?;
    }
    let (volume, modules) = (medium::VOLUME, &[][..]);
    let iso = Bootable { dirs: inputs.dirs, index: &index, tools: &tools, work: &work, id, volume, modules, progress };
    let key = key_text(&inputs.site_key.verifying_key());
    let built = iso.create(&mut stage, what.netboot, &menu::menu(&key, what.version, id))?;
    let size = fs::metadata(&built).map_err(failed("reading the size of", &built))?.len();
    deliver(&built, out)?;
    let length = |name: &str| what.netboot.files.iter().find(|f| f.name == name).map_or(0, |f| f.size);
    let root = manifest.file(medium::ROOT).map_or(0, |f| f.size);
    Ok(SeedIso { manifest, size, system: root + crate::iso::boot::ESP.size + length("vmlinuz") + length("initrd.img") })
}

/// Adds everything that the manifest lists.
fn collect(
    inputs: &Inputs,
    what: &SeedMedium,
    image: &Utf8Path,
    stage: &mut Stage,
    progress: &dyn Progress,
) -> Result<(), Error> {
    stage.take(image, medium::ROOT)?;
    for (name, text) in DOCS.iter().filter(|(n, _)| n.starts_with("kubedos/")) {
        stage.write(name, text)?;
    }
    stage.take(what.cluster, &format!("{SITE}/{}", medium::CLUSTER))?;
    stage.take(inputs.keyring, &format!("{SITE}/{}", medium::RELEASE_KEYRING))?;
    let netboot = format!("netboot/{}", what.netboot.id);
    stage.take_folder(&inputs.dirs.netboot.join(what.netboot.id.to_string()), &format!("{SITE}/{netboot}"), progress)?;
    // As in a data directory, packages are in the pool and among the blobs: once on the medium, under two names.
    let snapshot = format!("{SITE}/snapshots/{}", inputs.snapshot_id);
    let digests = stage.take_folder(inputs.snapshot_dir, &snapshot, progress)?;
    for digest in digests.iter().filter(|d| blob_path(&inputs.dirs.blobs, d).is_file()) {
        stage.again(digest, &blob_name(digest))?;
    }
    for manifest in what.artifacts.values() {
        let place = format!("artifacts/{}", manifest.id);
        stage.take_folder(&inputs.dirs.artifacts.join(manifest.id.to_string()), &format!("{SITE}/{place}"), progress)?;
        for stored in manifest.chunks.iter().filter_map(|c| if let Chunk::Zstd { stored, .. } = c { Some(stored) } else { None })
        {
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            stage.take_digest(&blob_path(&inputs.dirs.blobs, stored), &blob_name(stored), stored)?;
        }
    }
    Ok(())
}

/// Name of a blob on the medium.
fn blob_name(digest: &Digest) -> String {
    blob_path(&Utf8Path::new(SITE).join("blobs"), digest).into_string()
}
