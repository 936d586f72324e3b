//! Outputs: what an artifact becomes for machines that are not netbooted from the seed. Every output is a directory with its
//! files, a bill of materials, its provenance and a signed manifest of them all.

/// The disk image with the settings that a machine finds its seed by.
mod image;

/// What to make.
mod order;

/// Times of the snapshot as texts.
mod time;

/// One output being made.
mod job;

/// How each target is made.
mod target;

/// Disk images of hypervisors.
mod disks;

/// Kernel, initramfs and file systems for Firecracker.
mod firecracker;

/// The uncompressed kernel.
mod vmlinux;

/// The medium that enrolls and installs machines.
mod node_iso;

/// Packer's template.
mod packer;

/// The root file system as OCI images.
pub mod oci;

/// Who made an output from what (in-toto, SLSA).
mod provenance;

/// Checking an output on any machine.
pub mod verify;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::foundry::{MANIFEST_ENDING, MAX_MANIFEST, OutputManifest, OutputSpec, RECIPE, Target};
use cluster_seed::ids::Digest;
use cluster_seed::manifest::BootFile;
use cluster_seed::progress::Progress;
use cluster_seed::seal::VerifyingKey;
use host::files::{create_dirs, digest_file, failed, write_synced};

use crate::error::Error;
use crate::packages::index::Index;
use crate::roots::tools::ToolRoot;
use crate::spec::ARCH;
use crate::{Inputs, store};
use time::version;

pub use disks::COMPRESSION;
pub use order::Order;
pub use target::PXE_SCRIPT;

/// Ending of the bill of materials, SPDX 2.3 as JSON.
pub const SBOM_ENDING: &str = ".spdx.json";
/// Ending of the provenance, a DSSE envelope with an in-toto statement.
pub const PROVENANCE_ENDING: &str = ".provenance.json";

/// A finished output.
#[derive(Debug)]
pub struct Output {
    pub dir: Utf8PathBuf,
    pub manifest: OutputManifest,
    /// It was made before, and nothing was done.
    pub cached: bool,
}

impl Output {
    /// The file that is deployed.
    pub fn primary(&self) -> Utf8PathBuf {
        self.dir.join(&self.manifest.primary)
    }
}

fn spec(inputs: &Inputs, order: &Order, epoch: u64) -> Result<OutputSpec, Error> {
    let artifact = order.artifact.filter(|_| order.target.of_role());
    let mut spec = OutputSpec {
        recipe: RECIPE,
        target: order.target,
        site: order.site.to_owned(),
        role: artifact.map(|a| a.spec.role.clone()),
        node: order.node.map(str::to_owned),
        contains_secret: order.private,
        version: version(epoch)?,
        arch: ARCH.to_owned(),
        artifact: artifact.map(|a| a.id),
        raw: artifact.map(|a| a.raw),
        snapshot: inputs.snapshot_id,
        join: Digest::of(if order.target.has_settings() { order.join } else { b"" }),
        options: order.options.clone(),
    };
    if !order.target.of_role() {
        spec.set_netboot(order.netboot.id);
        spec.options.insert("parameters".to_owned(), order.parameters.to_owned());
    }
    if order.target == Target::NodeIso {
        order.artifacts.iter().for_each(|(role, artifact)| spec.set_artifact(role, artifact.id));
    }
    for (name, bytes) in &order.extra {
        spec.options.insert(format!("file {name}"), Digest::of(bytes).to_string());
    }
    Ok(spec)
}

/// Makes an output, unless it was made before. Same inputs, same bytes.
pub fn build_output(inputs: &Inputs, order: &Order, progress: &dyn Progress) -> Result<Output, Error> {
    let epoch = Index::epoch_of(inputs.snapshot_dir, inputs.suite)?;
    let spec = spec(inputs, order, epoch)?;
    let (id, name) = (spec.id(), spec.name());
    let dir = order.outputs.join(&name);
    if let Some(manifest) = finished(inputs, id, &dir) {
        return Ok(Output { dir, manifest, cached: true });
    }
    let index = Index::open(inputs.snapshot_dir, inputs.suite)?;
    let tools = ToolRoot::open(inputs, &index, progress)?;
    let (_guard, work) = store::workdir(&inputs.dirs.tmp, "output-")?;
    let out = work.join("out");
    create_dirs(&out)?;
    let job = job::Job { inputs, order, index: &index, tools: &tools, work: &work, out: &out, name: &name, id, progress };
    let primary = target::make(&job)?;
    for (name, bytes) in &order.extra {
        write_synced(&out.join(name), bytes)?;
    }
    write_synced(&out.join(format!("{name}{SBOM_ENDING}")), order.sbom.as_bytes())?;
    let tools = job.tools_used();
    let made = provenance::Made { spec: &spec, version: order.version, tools: &tools };
    let subjects = files_of(&out, progress)?;
    let envelope = provenance::envelope(&made, &subjects, inputs.site_key)?;
    write_synced(&out.join(format!("{name}{PROVENANCE_ENDING}")), &envelope)?;
    let files = files_of(&out, progress)?;
    let manifest = OutputManifest { id, spec, files, primary, tools };
    manifest.check().map_err(|why| Error::Content(why.to_string()))?;
    store::write_sealed(&out.join(format!("{name}{MANIFEST_ENDING}")), &manifest, inputs.site_key)?;
    if order.private {
        close(&out)?;
    }
    if dir.exists() {
        // It was checked first: it is damaged, incomplete or signed by another key.
        fs::remove_dir_all(&dir).map_err(failed("removing", &dir))?;
    }
    store::publish(&out, &dir)?;
    Ok(Output { dir, manifest, cached: false })
}

/// Copies an output, the manifest last, to a directory that does not exist yet or is an unfinished copy.
pub fn copy(output: &Output, to: &Utf8Path) -> Result<(), Error> {
    let manifest = format!("{}{MANIFEST_ENDING}", output.manifest.spec.name());
    let names = output.manifest.files.iter().map(|f| f.name.as_str()).chain([manifest.as_str()]);
    for name in names {
        let (from, to) = (output.dir.join(name), to.join(name));
        let mode = fs::metadata(&from).map_err(failed("reading", &from))?.permissions();
        crate::iso::copy(&from, &to, mode.mode())?;
        fs::set_permissions(&to, mode).map_err(failed("setting the mode of", &to))?;
    }
    Ok(())
}

/// The manifest of an output that an earlier run finished, if every file is there with its size. Its bytes are checked by
/// `seedd image verify`.
fn finished(inputs: &Inputs, id: Digest, dir: &Utf8Path) -> Option<OutputManifest> {
    intact(&inputs.site_key.verifying_key(), dir).filter(|manifest| manifest.id == id)
}

fn intact(key: &VerifyingKey, dir: &Utf8Path) -> Option<OutputManifest> {
    let path = dir.join(format!("{}{MANIFEST_ENDING}", dir.file_name()?));
    let manifest: OutputManifest = host::sealed::read(&path, key, MAX_MANIFEST).ok()?;
    manifest.check().ok()?;
    let there = |f: &BootFile| fs::metadata(dir.join(&f.name)).is_ok_and(|m| m.len() == f.size);
    manifest.files.iter().all(there).then_some(manifest)
}

/// Takes the permissions of group and others away from every file below a directory.
fn close(dir: &Utf8Path) -> Result<(), Error> {
    let mut names = Vec::new();
    list(dir, "", &mut names)?;
    for name in names {
        let path = dir.join(name);
        let mode = fs::metadata(&path).map_err(failed("reading", &path))?.permissions().mode();
        fs::set_permissions(&path, Permissions::from_mode(mode & 0o700)).map_err(failed("setting the mode of", &path))?;
    }
    Ok(())
}

/// The outputs in a directory whose manifest is signed by `key` and whose files are there with their sizes; sorted by name.
/// Directories that are something else are left out.
pub fn outputs(dir: &Utf8Path, key: &VerifyingKey) -> Result<Vec<Output>, Error> {
    let reading = failed("reading directory", dir);
    let entries = match dir.read_dir_utf8() {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(reading(e).into()),
    };
    let mut found = Vec::new();
    for entry in entries {
        let dir = entry.map_err(&reading)?.into_path();
        if let Some(manifest) = intact(key, &dir) {
            found.push(Output { dir, manifest, cached: true });
        }
    }
    found.sort_by(|a, b| a.dir.cmp(&b.dir));
    Ok(found)
}

/// All files below a directory, by path, sorted.
fn files_of(dir: &Utf8Path, progress: &dyn Progress) -> Result<Vec<BootFile>, Error> {
    let mut names = Vec::new();
    list(dir, "", &mut names)?;
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let (size, sha256) = digest_file(&dir.join(&name), progress)?;
            Ok(BootFile { name, size, sha256 })
        })
        .collect()
}

fn list(dir: &Utf8Path, below: &str, names: &mut Vec<String>) -> Result<(), Error> {
    let reading = failed("reading directory", dir);
    for entry in dir.read_dir_utf8().map_err(&reading)? {
        let entry = entry.map_err(&reading)?;
        let name = format!("{below}{}", entry.file_name());
        if entry.file_type().map_err(&reading)?.is_dir() {
            list(entry.path(), &format!("{name}/"), names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_with_a_token_are_for_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        fs::create_dir(dir.join("disks")).unwrap();
        for (name, mode) in [("disks/state.ext4", 0o644), ("start.sh", 0o755)] {
            fs::write(dir.join(name), "").unwrap();
            fs::set_permissions(dir.join(name), Permissions::from_mode(mode)).unwrap();
        }
        close(dir).unwrap();
        let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("disks/state.ext4"), mode("start.sh")), (0o600, 0o700));
    }
}
