//! The seed medium: one hybrid ISO 9660 image that boots from CD and USB stick, by BIOS, UEFI and UEFI with Secure Boot. It
//! contains the seed's root, the darksite and the images, in the layout of [`cluster_seed::medium`].

/// How the medium boots.
mod boot;

/// The seed's own root file system.
mod root;

/// Our files in that root, and documents on the medium.
mod assets;

/// The directory that becomes the ISO.
mod stage;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};

use camino::Utf8Path;
use cluster_seed::ids::Digest;
use cluster_seed::manifest::{ArtifactManifest, Chunk, NetbootManifest};
use cluster_seed::medium::{self, MediumManifest, SITE};
use cluster_seed::progress::Progress;
use cluster_seed::seal::key_text;
use host::blobs::blob_path;
use host::files::{create_dirs, failed, sync_dir};

use crate::disk::esp;
use crate::error::Error;
use crate::packages::index::Index;
use crate::program::read_seedd;
use crate::roots::tools::ToolRoot;
use crate::spec::{ARCH, Names, RECIPE};
use crate::{Inputs, store};
use assets::DOCS;
use root::RootSpec;
use stage::Stage;

const GRUB_PC: &str = "/usr/lib/grub/i386-pc";

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
    let job = Job { inputs, what, index: &index, tools: &tools, work: &work, id, progress };
    progress.begin("creating the ISO image", None);
    job.add_boot(&mut stage)?;
    job.create_image()?;
    progress.end();
    let built = work.join("out.iso");
    let size = fs::metadata(&built).map_err(failed("reading the size of", &built))?.len();
    deliver(&built, out)?;
    let length = |name: &str| what.netboot.files.iter().find(|f| f.name == name).map_or(0, |f| f.size);
    let root = manifest.file(medium::ROOT).map_or(0, |f| f.size);
    Ok(SeedIso { manifest, size, system: root + boot::ESP.size + length("vmlinuz") + length("initrd.img") })
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

/// Moves the finished image to `out`, which may be on another file system.
fn deliver(built: &Utf8Path, out: &Utf8Path) -> Result<(), Error> {
    let folder = out.parent().filter(|p| !p.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
    create_dirs(folder)?;
    let part = out.with_file_name(format!(".{}.part", out.file_name().unwrap_or("seed.iso")));
    let moved = fs::rename(built, &part).or_else(|e| match e.kind() {
        std::io::ErrorKind::CrossesDevices => fs::copy(built, &part).map(|_| ()),
        _ => Err(e),
    });
    moved.and_then(|()| fs::File::open(&part)?.sync_all()).map_err(failed("writing", &part))?;
    fs::rename(&part, out).map_err(failed("renaming to", out))?;
    Ok(sync_dir(folder)?)
}

struct Job<'a> {
    inputs: &'a Inputs<'a>,
    what: &'a SeedMedium<'a>,
    index: &'a Index,
    tools: &'a ToolRoot,
    work: &'a Utf8Path,
    id: Digest,
    progress: &'a dyn Progress,
}

impl Job<'_> {
    fn run(&self, step: &'static str, argv: &[&str]) -> Result<(), Error> {
        self.tools.run(step, self.work, argv, self.progress).map(|_| ())
    }

    /// Adds what firmware and GRUB read. It is not in the manifest, since it is used before anything can verify it.
    fn add_boot(&self, stage: &mut Stage) -> Result<(), Error> {
        let netboot = self.inputs.dirs.netboot.join(self.what.netboot.id.to_string());
        for name in ["vmlinuz", "initrd.img"] {
            stage.take(&netboot.join(name), &format!("boot/{name}"))?;
        }
        let key = key_text(&self.inputs.site_key.verifying_key());
        stage.write("boot/grub/grub.cfg", boot::menu(&key, self.what.version, self.id).as_bytes())?;
        stage.write(&boot::mark(self.id), b"")?;
        let stub = boot::stub(self.id);
        for name in esp::CONFIGS {
            stage.write(name, stub.as_bytes())?;
        }
        for (name, text) in DOCS.iter().filter(|(n, _)| !n.starts_with("kubedos/")) {
            stage.write(name, text)?;
        }
        esp::create(self.index, self.tools, self.work, &Names::of(self.id), boot::ESP, &stub, self.progress)?;
        let mut argv =
            vec!["grub-mkimage", "-O", "i386-pc-eltorito", "-d", GRUB_PC, "-p", "/boot/grub", "-o", "/work/eltorito.img"];
        argv.extend(boot::CORE_MODULES);
        self.run("creating GRUB's core image", &argv)?;
        stage.take(&self.work.join("eltorito.img"), boot::ELTORITO)
    }

    fn create_image(&self) -> Result<(), Error> {
        let date = boot::iso_date(self.index.epoch).ok_or_else(|| Error::Content("the snapshot's Date is invalid".to_owned()))?;
        let words = boot::xorriso(&date);
        self.run("creating the ISO image", &words.iter().map(String::as_str).collect::<Vec<_>>())?;
        let path = self.work.join("out.iso");
        // The disk signature, which the kernel identifies partitions by.
        let signature = &Names::of(self.id).uuid("disk signature")[..4];
        let patched = fs::OpenOptions::new().write(true).open(&path).and_then(|mut file| {
            file.seek(SeekFrom::Start(boot::MBR_SIGNATURE))?;
            file.write_all(signature)?;
            file.sync_all()
        });
        Ok(patched.map_err(failed("writing", &path))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_moved_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        fs::write(dir.join("built"), b"image").unwrap();
        deliver(&dir.join("built"), &dir.join("new/folder/seed.iso")).unwrap();
        assert_eq!(fs::read(dir.join("new/folder/seed.iso")).unwrap(), b"image");
        assert_eq!(dir.join("new/folder").read_dir_utf8().unwrap().count(), 1);
        assert!(!dir.join("built").exists());
    }
}
