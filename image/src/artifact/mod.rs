//! The sealed artifact of a role: root file system, boot loaders, disk, chunks, signed manifest.

/// The chunks of the disk image, stored by digest.
pub(crate) mod chunk;

/// Reading the signed manifest.
pub(crate) mod manifest;

use std::fs;

use camino::Utf8Path;
use cluster_seed::arch::Arch;
use cluster_seed::ids::Digest;
use cluster_seed::manifest::{ArtifactManifest, ArtifactPackages, ArtifactSpec, Chunk, ROOT_LABEL};
use cluster_seed::progress::Progress;
use host::blobs::blob_path;
use host::files::{failed, read_limited};
use payload::assets;

use crate::disk::ext4::Ext4;
use crate::disk::{self, Disk, Layout, esp, grub};
use crate::emulation;
use crate::error::{Error, in_tree};
use crate::packages::index::Index;
use crate::program::read_agent;
use crate::roots::system::{self, Bootstrap, FSTAB, Recipe, STATE_LABEL, System};
use crate::roots::tools::ToolRoot;
use crate::spec::{DISK_STEP, ESP_SIZE, MAX_ROOT, Names, RECIPE, base_packages, root_size};
use crate::tree::{Meta, Tree};
use crate::{Inputs, store};
use chunk::ChunkError;

/// The installed packages, beside the manifest, for bills of materials.
const PACKAGES: &str = "packages.json";
/// Largest status file of dpkg, in bytes.
const MAX_STATUS: u64 = 256 << 20;
const MAX_LOADER: u64 = 16 << 20;
const GRUB_PC: &str = "usr/lib/grub/i386-pc";

/// What the artifact of this role is built from: its id is known before anything is built.
fn spec(snapshot: Digest, (role, arch): (&str, Arch), wanted: &Wanted<'_>, agent: &Digest) -> ArtifactSpec {
    let packages = wanted.packages.iter().map(|p| arch.package(p));
    let mut all: Vec<String> = base_packages(arch).into_iter().chain(packages).collect();
    all.sort();
    all.dedup();
    let mut payload = format!("{}\n{agent}\n{}", assets::digest(), assets::enabled_units().join("\n"));
    for unit in wanted.disabled {
        payload.push_str(&format!("\n-{unit}"));
    }
    if let Some((id, _)) = wanted.payload {
        payload.push_str(&format!("\npayload {id}"));
    }
    ArtifactSpec {
        recipe: RECIPE,
        role: role.to_owned(),
        arch: arch.to_string(),
        snapshot,
        packages: all,
        payload: Digest::of(payload.as_bytes()),
    }
}

/// What a role's root file system has besides the base system.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub packages: &'a [String],
    /// Units that their packages enable and that must not start by themselves.
    pub disabled: &'a [String],
    /// The payload that its nodes run first, so that they need not fetch it: its digest and its archive.
    pub payload: Option<(Digest, &'a Utf8Path)>,
}

/// Builds the artifact of a role for an architecture, unless it exists. Its manifest goes to `<artifacts>/<id>/`, its chunks to
/// `<blobs>`.
pub fn build_artifact(
    inputs: &Inputs,
    (role, arch): (&str, Arch),
    wanted: &Wanted<'_>,
    progress: &dyn Progress,
) -> Result<ArtifactManifest, Error> {
    let agent = read_agent(inputs.agent_of(arch)?, arch)?;
    let spec = spec(inputs.snapshot_id, (role, arch), wanted, &Digest::of(&agent));
    let id = spec.id();
    let place = inputs.dirs.artifacts.join(id.to_string());
    if let Some(manifest) = finished(inputs, id, &place) {
        return Ok(manifest);
    }
    emulation::check(arch)?;
    let index = Index::of(inputs.snapshot_dir, inputs.suite, arch)?;
    for package in &spec.packages {
        index.get(package, &format!("role {role}"))?;
    }
    let tools = ToolRoot::open(inputs, &Index::open(inputs.snapshot_dir, inputs.suite)?, progress)?;
    let (_guard, work) = store::workdir(&inputs.dirs.tmp, "artifact-")?;
    let made_of = MadeOf { spec: &spec, agent: &agent, wanted };
    let root = build_root(inputs, &made_of, (&index, &tools, &work), progress)?;
    let size = root_size(root.content);
    if size > MAX_ROOT {
        return Err(Error::Content(format!("the root file system needs {size} bytes; at most {MAX_ROOT} are allowed")));
    }
    let layout = Layout::new(size);
    let job = Job { index: &index, tools: &tools, work: &work, names: Names::of(id), layout, progress };
    progress.begin("creating the disk image", None);
    let image = job.create_disk()?;
    progress.end();
    progress.begin("splitting the disk image into chunks", Some(layout.disk));
    let chunked = chunk::split(&image, &inputs.dirs.blobs, &inputs.dirs.tmp, progress).map_err(|e| match e {
        ChunkError::Cancelled => Error::Cancelled,
        other => other.into(),
    })?;
    progress.end();
    let manifest = ArtifactManifest {
        id,
        spec,
        disk_size: chunked.size,
        min_disk: chunked.size.next_multiple_of(DISK_STEP),
        raw: chunked.raw,
        state_offset: layout.state.offset,
        state_size: layout.state.size,
        chunks: chunked.chunks,
    };
    manifest.check().map_err(|source| Error::Manifest { path: place.join(manifest::FILE), source })?;
    publish(inputs, &manifest, &work, &place)?;
    Ok(manifest)
}

/// The artifact, if an earlier run finished it and nothing is missing since.
fn finished(inputs: &Inputs, id: Digest, place: &Utf8Path) -> Option<ArtifactManifest> {
    let manifest = manifest::read_manifest(place, &inputs.site_key.verifying_key()).ok()?;
    (manifest.id == id && chunks_present(&manifest, &inputs.dirs.blobs)).then_some(manifest)
}

struct MadeOf<'a> {
    spec: &'a ArtifactSpec,
    agent: &'a [u8],
    wanted: &'a Wanted<'a>,
}

fn build_root(
    inputs: &Inputs,
    of: &MadeOf<'_>,
    (index, tools, work): (&Index, &ToolRoot, &Utf8Path),
    progress: &dyn Progress,
) -> Result<System, Error> {
    progress.begin("building the root file system", None);
    let base = Bootstrap {
        tools,
        work,
        suite: inputs.suite,
        components: &index.components,
        keyring: inputs.keyring,
        packages: &of.spec.packages,
        arch: index.arch,
        fstab: FSTAB,
        paths: &[],
    };
    let root = system::build(
        &Recipe { base, agent: of.agent, epoch: index.epoch, disabled: of.wanted.disabled, payload: of.wanted.payload },
        progress,
    )?;
    progress.end();
    tracing::info!(kernel = %root.kernel, content = root.content, "root file system built");
    Ok(root)
}

fn publish(inputs: &Inputs, manifest: &ArtifactManifest, work: &Utf8Path, place: &Utf8Path) -> Result<(), Error> {
    let out = work.join("out");
    fs::create_dir(&out).map_err(failed("creating directory", &out))?;
    store::write_sealed(&out.join(manifest::FILE), manifest, inputs.site_key)?;
    let packages = installed(&Tree::new(&work.join("root")))?;
    store::write_sealed(&out.join(PACKAGES), &ArtifactPackages { artifact: manifest.id, packages }, inputs.site_key)?;
    if place.exists() {
        // It was checked first: it is damaged, incomplete or signed by another key.
        fs::remove_dir_all(place).map_err(failed("removing", place))?;
    }
    store::publish(&out, place)
}

/// The packages installed in the root according to dpkg, as `name version architecture`, sorted.
fn installed(root: &Tree) -> Result<Vec<String>, Error> {
    let status = "var/lib/dpkg/status";
    let bytes = root.read(status, MAX_STATUS).map_err(in_tree(root.root()))?;
    let text = String::from_utf8_lossy(&bytes);
    let field = |stanza: &str, name: &str| stanza.lines().find_map(|l| l.strip_prefix(name)).map(str::trim).map(str::to_owned);
    let line = |stanza: &str| {
        let installed = field(stanza, "Status:")? == "install ok installed";
        let parts = [field(stanza, "Package:")?, field(stanza, "Version:")?, field(stanza, "Architecture:")?];
        installed.then(|| parts.join(" "))
    };
    let mut lines: Vec<String> = text.split("\n\n").filter_map(line).collect();
    lines.sort();
    Ok(lines)
}

fn chunks_present(manifest: &ArtifactManifest, blobs: &Utf8Path) -> bool {
    manifest.chunks.iter().all(|c| match c {
        Chunk::Zero => true,
        Chunk::Zstd { stored, stored_size, .. } => {
            fs::metadata(blob_path(blobs, stored)).is_ok_and(|m| m.len() == u64::from(*stored_size))
        }
    })
}

/// Creates the disk image around the root file system in `work/root`.
struct Job<'a> {
    index: &'a Index,
    tools: &'a ToolRoot,
    work: &'a Utf8Path,
    names: Names,
    layout: Layout,
    progress: &'a dyn Progress,
}

impl Job<'_> {
    fn run(&self, step: &'static str, argv: &[&str]) -> Result<(), Error> {
        self.tools.run(step, self.work, argv, self.progress).map(|_| ())
    }

    fn create_disk(&self) -> Result<camino::Utf8PathBuf, Error> {
        let ext4 = Ext4 { tools: self.tools, work: self.work, names: &self.names };
        ext4.create("root", ROOT_LABEL, self.layout.root.size, self.progress)?;
        let state = Tree::new(&self.work.join("state"));
        let meta = Meta { mode: 0o700, owner: Some((0, 0)), mtime: self.index.epoch };
        state.dir("", meta).map_err(in_tree(state.root()))?;
        ext4.create("state", STATE_LABEL, self.layout.state.size, self.progress)?;
        let config = grub::esp_config(&self.names.uuid_text("root file system"), disk::ROOT);
        let kind = esp::Kind { fat: "32", cluster: "1", size: ESP_SIZE };
        esp::create(self.index, self.tools, self.work, &self.names, kind, &config, self.progress)?;

        let image = self.work.join("disk.img");
        let mut disk = Disk::create(&image, &self.layout, &self.names, self.index.arch)?;
        // Only a PC has a BIOS. Elsewhere its partition stays empty: all disks have the same layout.
        if self.index.arch == Arch::Amd64 {
            let core = self.create_core()?;
            let mut mbr = disk.first_sector()?;
            let boot = self.tools.read(&format!("{GRUB_PC}/boot.img"), MAX_LOADER)?;
            grub::patch_boot(&mut mbr, &boot, self.layout.bios_boot)?;
            disk.put(0, &mbr)?;
            disk.put(self.layout.bios_boot.offset, &grub::patch_core(&core, self.layout.bios_boot)?)?;
        }
        for (extent, name) in [(self.layout.esp, "esp.img"), (self.layout.state, "state.img"), (self.layout.root, "root.img")] {
            let path = self.work.join(name);
            disk.put_file(extent, &path)?;
            fs::remove_file(&path).map_err(failed("removing", &path))?;
        }
        disk.finish()?;
        Ok(image)
    }

    fn create_core(&self) -> Result<Vec<u8>, Error> {
        let prefix = format!("(,gpt{})/boot/grub", disk::ROOT);
        let modules = format!("/{GRUB_PC}");
        let mut argv = vec!["grub-mkimage", "-O", "i386-pc", "-d", &modules, "-p", &prefix, "-o", "/work/core.img"];
        argv.extend(grub::CORE_MODULES);
        self.run("creating GRUB's core image", &argv)?;
        let path = self.work.join("core.img");
        Ok(read_limited(&path, MAX_LOADER)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spec_sorts_its_packages_and_changes_with_every_input() {
        let of = |arch: Arch, role, packages: &[&str], agent: &[u8]| {
            let packages: Vec<String> = packages.iter().map(|p| (*p).to_owned()).collect();
            let wanted = Wanted { packages: &packages, disabled: &[], payload: None };
            spec(Digest::of(b"snapshot"), (role, arch), &wanted, &Digest::of(agent))
        };
        let base = |role, packages: &[&str], agent: &[u8]| of(Arch::Amd64, role, packages, agent);
        let a = base("web", &["zsh", "apt"], b"agent");
        assert_eq!(a, base("web", &["apt", "zsh", "zsh"], b"agent"));
        assert!(a.packages.windows(2).all(|w| w[0] < w[1]));
        for other in [base("db", &["zsh"], b"agent"), base("web", &[], b"agent"), base("web", &["zsh"], b"other")] {
            assert_ne!(a.id(), other.id());
        }
        let arm64 = of(Arch::Arm64, "web", &["zsh", "linux-headers-amd64"], b"agent");
        assert_eq!(arm64.arch, "arm64");
        for package in ["linux-image-arm64", "linux-headers-arm64", "zsh"] {
            assert!(arm64.packages.iter().any(|p| p == package), "{package}");
        }
    }
}
