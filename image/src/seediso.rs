//! The seed medium: one hybrid ISO 9660 image that boots as CD and as stick, by BIOS, UEFI and UEFI with Secure Boot,
//! holding the seed's root, the darksite and the images. Its layout: [`cluster_seed::medium`].

use std::collections::BTreeMap;
use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::manifest::{ArtifactManifest, Chunk, NetbootManifest};
use cluster_seed::medium::{self, MediumManifest, SITE};
use cluster_seed::progress::Progress;
use cluster_seed::seal::key_text;

use crate::error::{Error, io};
use crate::index::Index;
use crate::seediso_assets::DOCS;
use crate::seediso_boot as boot;
use crate::seediso_root::{self as root, RootSpec};
use crate::seediso_stage::Stage;
use crate::spec::{ARCH, Names, RECIPE};
use crate::toolroot::ToolRoot;
use crate::{Inputs, chunk, esp, store};

const GRUB_PC: &str = "/usr/lib/grub/i386-pc";

/// What goes on a medium beside what [`Inputs`] names.
pub struct SeedMedium<'a> {
    /// The program that will run.
    pub seedd: &'a Utf8Path,
    pub version: &'a str,
    /// The maker's cluster.yaml.
    pub cluster: &'a Utf8Path,
    pub netboot: &'a NetbootManifest,
    /// By role.
    pub artifacts: &'a BTreeMap<String, ArtifactManifest>,
}

/// What was made.
#[derive(Debug)]
pub struct SeedIso {
    pub manifest: MediumManifest,
    /// Bytes of the image.
    pub size: u64,
    /// Of them the root file system, kernel and initramfs: the medium without its darksite and images.
    pub system: u64,
}

/// Builds the medium as the file `out`. Same inputs, same bytes.
pub fn build_seed_iso(inputs: &Inputs, what: &SeedMedium, out: &Utf8Path, progress: &dyn Progress) -> Result<SeedIso, Error> {
    let index = Index::open(inputs.snapshot_dir, inputs.suite)?;
    let tools = ToolRoot::open(inputs, &index, progress)?;
    let seedd = root::read_program(what.seedd)?;
    let spec = RootSpec::new(inputs.snapshot_id, &seedd, what.version);
    let image = root::build(inputs, &index, &tools, (&seedd, what.version), progress)?;
    let (_guard, work) = store::workdir(&inputs.dirs.tmp, "seediso-")?;
    progress.begin("gathering what goes on the medium", None);
    let mut stage = Stage::new(&work.join("iso"));
    gather(inputs, what, &image, &mut stage, progress)?;
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
    manifest.check().map_err(|e| Error::Content(format!("the medium cannot be listed: {e}")))?;
    store::write_sealed(&stage.place(medium::MANIFEST)?, &manifest, inputs.site_key)?;
    let job = Job { inputs, what, index: &index, tools: &tools, work: &work, id, progress };
    progress.begin("making the medium", None);
    job.add_boot(&mut stage)?;
    job.make_image()?;
    progress.end();
    let built = work.join("out.iso");
    let size = fs::metadata(&built).map_err(io("measure", &built))?.len();
    deliver(&built, out)?;
    let length = |name: &str| what.netboot.files.iter().find(|f| f.name == name).map_or(0, |f| f.size);
    let root = manifest.file(medium::ROOT).map_or(0, |f| f.size);
    Ok(SeedIso { manifest, size, system: root + boot::ESP.size + length("vmlinuz") + length("initrd.img") })
}

/// Everything that the manifest lists.
fn gather(inputs: &Inputs, what: &SeedMedium, image: &Utf8Path, stage: &mut Stage, progress: &dyn Progress) -> Result<(), Error> {
    stage.take(image, medium::ROOT)?;
    for (name, text) in DOCS.iter().filter(|(n, _)| n.starts_with("kubedos/")) {
        stage.write(name, text)?;
    }
    stage.take(what.cluster, &format!("{SITE}/{}", medium::CLUSTER))?;
    stage.take(inputs.keyring, &format!("{SITE}/{}", medium::RELEASE_KEYRING))?;
    let netboot = format!("netboot/{}", what.netboot.id);
    stage.take_folder(&inputs.dirs.netboot.join(what.netboot.id.to_string()), &format!("{SITE}/{netboot}"), progress)?;
    // Packages lie in the pool and, as a data directory has them, among the blobs: once on the medium, by two names.
    let snapshot = format!("{SITE}/snapshots/{}", inputs.snapshot_id);
    let digests = stage.take_folder(inputs.snapshot_dir, &snapshot, progress)?;
    for digest in digests.iter().filter(|d| chunk::blob_path(&inputs.dirs.blobs, d).is_file()) {
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
            stage.take_digest(&chunk::blob_path(&inputs.dirs.blobs, stored), &blob_name(stored), stored)?;
        }
    }
    Ok(())
}

fn blob_name(digest: &Digest) -> String {
    let hex = digest.to_string();
    format!("{SITE}/blobs/sha256/{}/{hex}", &hex[..2])
}

/// Moves the finished image to where it was wanted, also onto another file system.
fn deliver(built: &Utf8Path, out: &Utf8Path) -> Result<(), Error> {
    let folder = out.parent().filter(|p| !p.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
    fs::create_dir_all(folder).map_err(io("make", folder))?;
    let part = out.with_file_name(format!(".{}.part", out.file_name().unwrap_or("seed.iso")));
    let moved = fs::rename(built, &part).or_else(|e| match e.kind() {
        std::io::ErrorKind::CrossesDevices => fs::copy(built, &part).map(|_| ()),
        _ => Err(e),
    });
    moved.map_err(io("write", &part))?;
    fs::File::open(&part).and_then(|f| f.sync_all()).map_err(io("write", &part))?;
    fs::rename(&part, out).map_err(io("rename to", out))?;
    store::sync_dir(folder)
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

    /// What firmware and GRUB read. It is not in the manifest: it came before anybody could check it.
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
        esp::make(self.index, self.tools, self.work, &Names::of(self.id), boot::ESP, &stub, self.progress)?;
        let mut argv =
            vec!["grub-mkimage", "-O", "i386-pc-eltorito", "-d", GRUB_PC, "-p", "/boot/grub", "-o", "/work/eltorito.img"];
        argv.extend(boot::CORE_MODULES);
        self.run("making GRUB's core image", &argv)?;
        stage.take(&self.work.join("eltorito.img"), boot::ELTORITO)
    }

    fn make_image(&self) -> Result<(), Error> {
        let words = boot::xorriso(&boot::iso_date(self.index.epoch));
        self.run("making the ISO", &words.iter().map(String::as_str).collect::<Vec<_>>())?;
        let path: Utf8PathBuf = self.work.join("out.iso");
        // The disk's signature, by which the kernel names its partitions.
        let signature = &Names::of(self.id).uuid("disk signature")[..4];
        let patched = fs::OpenOptions::new().write(true).open(&path).and_then(|mut file| {
            file.seek(SeekFrom::Start(boot::MBR_SIGNATURE))?;
            file.write_all(signature)?;
            file.sync_all()
        });
        patched.map_err(io("write", &path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_arrives_whole_and_alone() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        fs::write(dir.join("built"), b"image").unwrap();
        deliver(&dir.join("built"), &dir.join("new/folder/seed.iso")).unwrap();
        assert_eq!(fs::read(dir.join("new/folder/seed.iso")).unwrap(), b"image");
        assert_eq!(dir.join("new/folder").read_dir_utf8().unwrap().count(), 1);
        assert!(!dir.join("built").exists());
    }
}
