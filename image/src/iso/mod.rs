//! What all media have in common: a directory becomes one hybrid ISO 9660 image that boots from CD and USB stick, by BIOS, UEFI
//! and UEFI with Secure Boot, with the kernel and initramfs of a netboot set.

/// GRUB's configuration, and the arguments of xorriso.
pub(crate) mod boot;

/// The directory that becomes the ISO.
pub(crate) mod stage;

use std::fs;
use std::io::{self, Seek as _, SeekFrom, Write as _};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::manifest::NetbootManifest;
use cluster_seed::progress::Progress;
use host::files::{self, PUBLIC, Start, create_dirs, failed, open, sync_dir};

use crate::Dirs;
use crate::disk::esp;
use crate::error::Error;
use crate::packages::index::Index;
use crate::roots::tools::ToolRoot;
use crate::spec::Names;
use stage::Stage;

const GRUB_PC: &str = "/usr/lib/grub/i386-pc";

/// What turns `work/iso`, a [`Stage`], into an image.
pub(crate) struct Bootable<'a> {
    pub dirs: &'a Dirs,
    pub index: &'a Index,
    pub tools: &'a ToolRoot,
    pub work: &'a Utf8Path,
    /// Of the medium; names of file systems are derived from it.
    pub id: Digest,
    /// Volume id.
    pub volume: &'static str,
    /// Modules in GRUB's loader for BIOS besides [`boot::CORE_MODULES`].
    pub modules: &'a [&'static str],
    pub progress: &'a dyn Progress,
}

impl Bootable<'_> {
    /// Adds what firmware and GRUB read, and creates the image in `work`; its path. `menu` is GRUB's configuration.
    pub fn create(&self, stage: &mut Stage, netboot: &NetbootManifest, menu: &str) -> Result<Utf8PathBuf, Error> {
        self.progress.begin("creating the ISO image", None);
        add_files(stage, self.dirs, netboot, self.id, menu)?;
        self.add_loaders(stage)?;
        let image = self.press()?;
        self.progress.end();
        if self.progress.cancelled() {
            return Err(Error::Cancelled);
        }
        Ok(image)
    }

    fn run(&self, step: &'static str, argv: &[&str]) -> Result<(), Error> {
        self.tools.run(step, self.work, argv, self.progress).map(|_| ())
    }

    fn add_loaders(&self, stage: &mut Stage) -> Result<(), Error> {
        let names = Names::of(self.id);
        esp::create(self.index, self.tools, self.work, &names, boot::ESP, &boot::stub(self.id), self.progress)?;
        let mut argv =
            vec!["grub-mkimage", "-O", "i386-pc-eltorito", "-d", GRUB_PC, "-p", "/boot/grub", "-o", "/work/eltorito.img"];
        argv.extend(boot::CORE_MODULES.iter().chain(self.modules));
        self.run("creating GRUB's core image", &argv)?;
        stage.take(&self.work.join("eltorito.img"), boot::ELTORITO)
    }

    fn press(&self) -> Result<Utf8PathBuf, Error> {
        let date = boot::iso_date(self.index.epoch).ok_or_else(|| Error::Content("the snapshot's Date is invalid".to_owned()))?;
        let words = boot::xorriso(self.volume, &date);
        self.run("creating the ISO image", &words.iter().map(String::as_str).collect::<Vec<_>>())?;
        let path = self.work.join("out.iso");
        // The disk signature, which the kernel identifies partitions by.
        let signature = &Names::of(self.id).uuid("disk signature")[..4];
        let patched = open(&path, Start::Keep, PUBLIC).and_then(|mut file| {
            file.seek(SeekFrom::Start(boot::MBR_SIGNATURE))?;
            file.write_all(signature)?;
            file.sync_all()
        });
        patched.map_err(failed("writing", &path))?;
        Ok(path)
    }
}

/// Adds the kernel, the initramfs and GRUB's configuration.
pub(crate) fn add_files(stage: &mut Stage, dirs: &Dirs, netboot: &NetbootManifest, id: Digest, menu: &str) -> Result<(), Error> {
    let from = dirs.netboot.join(netboot.id.to_string());
    for name in ["vmlinuz", "initrd.img"] {
        let listed = netboot.files.iter().find(|f| f.name == name);
        let listed = listed.ok_or_else(|| Error::Content(format!("the netboot set has no {name}")))?;
        stage.take_digest(&from.join(name), &format!("boot/{name}"), &listed.sha256)?;
    }
    stage.write("boot/grub/grub.cfg", menu.as_bytes())?;
    stage.write(&boot::mark(id), b"")?;
    let stub = boot::stub(id);
    esp::CONFIGS.iter().try_for_each(|name| stage.write(name, stub.as_bytes()))
}

/// Moves the finished image to `out`, which may be on another file system.
pub(crate) fn deliver(built: &Utf8Path, out: &Utf8Path) -> Result<(), Error> {
    place(out, &|part| match fs::rename(built, part) {
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => files::copy(built, part).map(drop),
        moved => moved,
    })
}

/// Copies a finished image to `out`, which never has more permissions than `mode`.
pub(crate) fn copy(from: &Utf8Path, out: &Utf8Path, mode: u32) -> Result<(), Error> {
    place(out, &|part| files::copy_as(from, part, mode).map(drop))
}

/// `write` gets a temporary name beside `out`, which gets its own name once it is complete.
fn place(out: &Utf8Path, write: &dyn Fn(&Utf8Path) -> io::Result<()>) -> Result<(), Error> {
    let folder = out.parent().filter(|p| !p.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
    create_dirs(folder)?;
    let part = out.with_file_name(format!(".{}.part", out.file_name().unwrap_or("medium.iso")));
    let written = write(&part).and_then(|()| fs::File::open(&part)?.sync_all());
    if written.is_err() {
        // It may not have been created.
        let _ = fs::remove_file(&part);
    }
    written.map_err(failed("writing", &part))?;
    fs::rename(&part, out).map_err(failed("renaming to", out))?;
    Ok(sync_dir(folder)?)
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

    #[test]
    fn a_copy_that_fails_leaves_nothing_and_one_that_works_leaves_both() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        assert!(copy(&dir.join("absent"), &dir.join("out/x.iso"), 0o600).is_err());
        let half = |part: &Utf8Path| fs::write(part, b"half").and(Err(io::Error::from(io::ErrorKind::StorageFull)));
        assert!(place(&dir.join("out/x.iso"), &half).is_err());
        assert_eq!(dir.join("out").read_dir_utf8().unwrap().count(), 0);
        fs::write(dir.join("built"), b"image").unwrap();
        copy(&dir.join("built"), &dir.join("out/x.iso"), 0o600).unwrap();
        assert_eq!(fs::read(dir.join("out/x.iso")).unwrap(), fs::read(dir.join("built")).unwrap());
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(dir.join("out/x.iso")).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}
