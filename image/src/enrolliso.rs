//! The enrollment medium: a small ISO image with the agent and the site's public key. A machine that boots from it takes nothing
//! from the network that is not checked against that key (docs/netboot.md).

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::manifest::{NetbootManifest, ROOT_LABEL};
use cluster_seed::medium::{ENROLL_VOLUME, EnrollManifest};
use cluster_seed::progress::{Progress, Quiet};
use cluster_seed::seal::key_text;
use cluster_seed::site_key;
use host::files::{create_dirs, digest_file};
use serde::Serialize;

use crate::error::Error;
use crate::iso::boot::{MENU_END, MENU_HEAD};
use crate::iso::stage::Stage;
use crate::iso::{Bootable, copy, deliver};
use crate::packages::index::Index;
use crate::roots::tools::ToolRoot;
use crate::spec::{ARCH, RECIPE};
use crate::{Inputs, store};

/// Of the loader for BIOS, to start an installed node: its root is found by label, its disk by the MBR.
pub(crate) const MODULES: &[&str] = &["chain", "ext2"];
/// The kernel's COMMAND_LINE_SIZE, with the final zero (x86, arch/x86/include/asm/setup.h).
const MAX_CMDLINE: usize = 2048;
/// Largest manifest in bytes.
const MAX_MANIFEST: u64 = 16 << 10;
const README: &str = include_str!("../assets/enroll-readme.txt");

/// The content of a medium besides [`Inputs`].
pub struct EnrollMedium<'a> {
    /// Name of the site, a label of a-z, 0-9 and -.
    pub site: &'a str,
    /// Base URL of the seed, `http://ADDRESS[:PORT]`.
    pub seed: &'a str,
    /// Kernel parameters, checked and escaped: consoles and the operator's own.
    pub parameters: &'a str,
    pub netboot: &'a NetbootManifest,
}

/// A finished medium.
#[derive(Debug)]
pub struct EnrollIso {
    pub file: Utf8PathBuf,
    pub manifest: EnrollManifest,
    /// The site's public key as on the medium, in hex.
    pub site_key: String,
}

/// What a medium is built from; its id is the sha256 of this as JSON. The loaders come from the snapshot.
#[derive(Serialize)]
struct Spec<'a> {
    recipe: u32,
    kind: &'static str,
    snapshot: Digest,
    /// Kernel and initramfs.
    files: Vec<Digest>,
    menu: &'a str,
    readme: &'a str,
}

/// Builds the medium as `enroll-ID.iso` in `media`, unless it is there and intact. With `out`, also as that file.
/// Same inputs, same bytes.
pub fn build_enroll_iso(
    inputs: &Inputs,
    what: &EnrollMedium,
    media: &Utf8Path,
    out: Option<&Utf8Path>,
    progress: &dyn Progress,
) -> Result<EnrollIso, Error> {
    let site_key = key_text(&inputs.site_key.verifying_key());
    let (menu, readme) = (menu(what, &site_key)?, readme(what, &site_key));
    let names = ["vmlinuz", "initrd.img"];
    let files = what.netboot.files.iter().filter(|f| names.contains(&f.name.as_str())).map(|f| f.sha256).collect();
    let (snapshot, kind) = (inputs.snapshot_id, "enrollment");
    let spec = Spec { recipe: RECIPE, kind, snapshot, files, menu: &menu, readme: &readme };
    let id = Digest::of(&serde_json::to_vec(&spec)?);
    let file = media.join(format!("enroll-{}.iso", id.short()));
    let manifest = match finished(inputs, id, &file) {
        Some(manifest) => manifest,
        None => build(inputs, what, (id, &menu, &readme), &file, progress)?,
    };
    let file = match out {
        Some(out) => copy(&file, out, host::files::PUBLIC).map(|()| out.to_owned())?,
        None => file,
    };
    Ok(EnrollIso { file, manifest, site_key })
}

/// The manifest of a medium that an earlier run finished, if its image is intact.
fn finished(inputs: &Inputs, id: Digest, file: &Utf8Path) -> Option<EnrollManifest> {
    let key = inputs.site_key.verifying_key();
    let manifest: EnrollManifest = host::sealed::read(&manifest_of(file), &key, MAX_MANIFEST).ok()?;
    let intact = || digest_file(file, &Quiet).is_ok_and(|found| found == (manifest.size, manifest.sha256));
    (manifest.id == id && intact()).then_some(manifest)
}

fn manifest_of(file: &Utf8Path) -> Utf8PathBuf {
    file.with_extension("json")
}

fn build(
    inputs: &Inputs,
    what: &EnrollMedium,
    (id, menu, readme): (Digest, &str, &str),
    file: &Utf8Path,
    progress: &dyn Progress,
) -> Result<EnrollManifest, Error> {
    let index = Index::open(inputs.snapshot_dir, inputs.suite)?;
    let tools = ToolRoot::open(inputs, &index, progress)?;
    let (_guard, work) = store::workdir(&inputs.dirs.tmp, "enrolliso-")?;
    let mut stage = Stage::new(&work.join("iso"));
    stage.write("README.txt", readme.as_bytes())?;
    let (volume, modules) = (ENROLL_VOLUME, MODULES);
    let iso = Bootable { dirs: inputs.dirs, index: &index, tools: &tools, work: &work, id, volume, modules, progress };
    let built = iso.create(&mut stage, what.netboot, menu)?;
    let (size, sha256) = digest_file(&built, &Quiet)?;
    let (snapshot, netboot) = (inputs.snapshot_id, what.netboot.id);
    let manifest = EnrollManifest { id, arch: ARCH.to_owned(), snapshot, netboot, size, sha256 };
    let signed = work.join("manifest.json");
    store::write_sealed(&signed, &manifest, inputs.site_key)?;
    create_dirs(file.parent().unwrap_or(file))?;
    // The manifest last: without it the image counts as unfinished.
    deliver(&built, file)?;
    deliver(&signed, &manifest_of(file))?;
    Ok(manifest)
}

/// GRUB's menu. An installed node starts from its disk, as it does when its firmware tries the network first; otherwise a medium
/// that stays in the drive would enroll the machine again after the installation.
pub(crate) fn menu(what: &EnrollMedium, key: &str) -> Result<String, Error> {
    let EnrollMedium { site, seed, parameters, .. } = what;
    // Of a repeated parameter the last counts, so the key is at the end.
    let line = format!("kubedos.seed={seed} {parameters} panic=30 {}={key}", site_key::PARAMETER);
    let line = line.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    if line.len() >= MAX_CMDLINE {
        return Err(Error::Content(format!("the kernel command line is longer than {} characters", MAX_CMDLINE - 1)));
    }
    let find = format!("search --no-floppy --label --set=disk {ROOT_LABEL}");
    Ok(format!(
        "{MENU_HEAD}if {find}; then
    set default=local
fi
menuentry 'Enroll at {site} (site key {}...)' --id enroll {{
    echo 'Kubedos enrollment medium of site {site}'
    echo 'Site key {key}'
    linux /boot/vmlinuz {line}
    initrd /boot/initrd.img
}}
menuentry 'Start from the local disk' --id local {{
    if {find}; then
        if [ \"$grub_platform\" = pc ]; then
            regexp --set=1:disk '^([^,]+),' \"$disk\"
            set root=\"$disk\"
            chainloader +1
        else
            set root=\"$disk\"
            set prefix=($root)/boot/grub
            configfile ($root)/boot/grub/grub.cfg
        fi
    else
        echo 'Kubedos: no disk of this machine has an installed node.'
        sleep 10
    fi
}}
{MENU_END}",
        &key[..key.len().min(16)]
    ))
}

fn readme(what: &EnrollMedium, key: &str) -> String {
    format!("{README}Site      {}\nSite key  {key}\nSeed      {}\n", what.site, what.seed)
}

#[cfg(test)]
mod tests;
