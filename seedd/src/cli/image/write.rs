//! `seedd image write`

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use anyhow::{Context as _, Result, anyhow};
use appliance::console::text::disk_size;
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use cluster_seed::medium;
use host::files::{Access, PUBLIC, Start, open, open_device};
use site::hint::Hint as _;
use transfer::stick::content;
use transfer::stick::copy::{Device, copy};
use transfer::stick::survey::{Precious, Survey, Target, Unfit};

use crate::cli::args::SiteArgs;
use crate::cli::prompt::confirm;
use crate::terminal::{Terminal, watch_signals};

const FIND_OUT: &str = "`seedd image write` without --to lists the disks of this machine";

#[derive(Args)]
pub struct Write {
    #[command(flatten)]
    args: SiteArgs,
    /// Seed or enrollment medium to write, an .iso file [default: the newest seed medium in DIR/media]
    image: Option<Utf8PathBuf>,
    /// Disk to write to, for example /dev/sdb. Everything on it is lost
    #[arg(long, value_name = "DEVICE")]
    to: Option<Utf8PathBuf>,
    /// Skip the confirmation prompt
    #[arg(long)]
    yes: bool,
    /// Accept a regular file instead of a device
    #[arg(long)]
    file_ok: bool,
    /// Accept an image that is neither
    #[arg(long)]
    any_image: bool,
}

/// A device number as the kernel prints it (makedev(3)).
fn number(device: u64) -> String {
    format!("{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device))
}

/// Devices that must not be overwritten.
fn precious(data: &Utf8Path, image: Option<&Utf8Path>) -> Vec<Precious> {
    // A data directory that does not exist yet counts where it would be created.
    let data = camino::absolute_utf8(data).unwrap_or_else(|_| data.to_owned());
    let data = data.ancestors().find(|p| p.exists());
    let places = [
        (Some(Utf8Path::new("/")), "the running system is on it"),
        (data, "the data directory is on it"),
        (Some(Utf8Path::new(medium::MOUNTED)), "the running seed's medium is on it"),
        (image, "the image itself is on it"),
    ];
    let of = |path: &Utf8Path, why| {
        let found = std::fs::metadata(path).ok()?;
        Some(Precious { number: number(found.dev()), why })
    };
    places.into_iter().filter_map(|(path, why)| of(path?, why)).collect()
}

impl Write {
    pub fn run(&self) -> Result<()> {
        let survey = Survey::new(Utf8Path::new("/"), precious(self.args.data(), self.image.as_deref()));
        let Some(to) = &self.to else { return self.list(&survey.targets()) };
        let image = match &self.image {
            Some(image) => image.clone(),
            None => newest(&self.args.data().join("media"))?,
        };
        let (mut source, len) = self.open_image(&image)?;
        let place = self.find(&survey, to, &image, len)?;
        if !self.yes {
            place.confirm(len)?;
        }
        watch_signals()?;
        let (write, read) = place.open()?;
        let device = Device { write: &write, read: &read, size: place.size(len) };
        let progress = Terminal::new();
        let copied = copy(&mut source, len, &device, &progress);
        drop(progress);
        let digest = copied
            .with_context(|| format!("writing {to}"))
            .hint(format!("{to} is incomplete and does not boot; write it again, or use another disk"))?;
        let value = serde_json::json!({"device": to, "bytes": len, "sha256": digest});
        let text = format!("{to}: {len} bytes written and verified, sha256 {digest}\nit can be removed now");
        self.args.show(&value, &text)
    }

    fn open_image(&self, path: &Utf8Path) -> Result<(File, u64)> {
        let mut file = File::open(path).with_context(|| format!("opening {path}"))?;
        let meta = file.metadata().with_context(|| format!("reading {path}"))?;
        if !meta.is_file() || meta.len() == 0 {
            return Err(anyhow!("{path} is not an image: it is empty or not a regular file"));
        }
        let mut head = Vec::new();
        (&mut file).take(content::HEAD as u64).read_to_end(&mut head).with_context(|| format!("reading {path}"))?;
        let volume = content::volume_id(&head);
        let known = [medium::VOLUME, medium::ENROLL_VOLUME];
        if !volume.is_some_and(|v| known.contains(&v.as_str())) && !self.any_image {
            let is = content::of(&head).unwrap_or_else(|| "unknown content".to_owned());
            return Err(anyhow!("{path} is not a Kubedos medium ({is})")).hint("use --any-image to write it anyway");
        }
        std::io::Seek::rewind(&mut file).with_context(|| format!("reading {path}"))?;
        Ok((file, meta.len()))
    }

    fn list(&self, targets: &[Target]) -> Result<()> {
        let value = serde_json::to_value(targets).context("listing the disks")?;
        self.args.show(&value, &table(targets))
    }

    fn find(&self, survey: &Survey, to: &Utf8Path, image: &Utf8Path, len: u64) -> Result<Place> {
        let found = match std::fs::metadata(to) {
            Ok(meta) => Some(meta),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && self.file_ok => None,
            Err(e) => return Err(e).with_context(|| format!("reading {to}")).hint(FIND_OUT),
        };
        if let Some(meta) = found.as_ref().filter(|m| m.file_type().is_block_device()) {
            let node = Utf8PathBuf::from(format!("/sys/dev/block/{}", number(meta.rdev())));
            let name = node.canonicalize_utf8().ok().and_then(|p| p.file_name().map(str::to_owned)).unwrap_or_default();
            if let Some(disk) = survey.disk_of_partition(&name) {
                return Err(Unfit::Partition { part: name, disk: disk.clone() }).hint(format!("use the whole disk: /dev/{disk}"));
            }
            let target = survey.target(&name).ok_or_else(|| Unfit::NotADisk(to.to_string())).hint(FIND_OUT)?;
            target.fit(len).hint(FIND_OUT)?;
            return Ok(Place::Disk { path: to.to_owned(), target });
        }
        let size = match &found {
            Some(meta) if !meta.is_file() || !self.file_ok => {
                return Err(Unfit::NotADisk(to.to_string())).hint(FIND_OUT);
            }
            Some(meta) => meta.len(),
            None => 0,
        };
        let same = |a: &std::fs::Metadata, b: &std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        if found.is_some_and(|meta| std::fs::metadata(image).is_ok_and(|i| same(&meta, &i))) {
            return Err(anyhow!("{to} is the image itself"));
        }
        if size > 0 && size < len {
            return Err(Unfit::TooSmall { name: to.to_string(), has: size, need: len }.into());
        }
        Ok(Place::File { path: to.to_owned(), size })
    }
}

/// The latest medium built.
fn newest(dir: &Utf8Path) -> Result<Utf8PathBuf> {
    let files = dir.read_dir_utf8().into_iter().flatten().flatten();
    let media = files.filter(|f| f.file_name().starts_with("seed-") && f.file_name().ends_with(".iso"));
    let newest = media.max_by_key(|f| f.metadata().and_then(|m| m.modified()).ok());
    newest
        .map(|f| f.into_path())
        .ok_or_else(|| anyhow!("no seed medium found in {dir}"))
        .hint("build one with `seedd image build --target seed-iso`")
}

/// One line per disk, with what identifies it.
fn table(targets: &[Target]) -> String {
    if targets.is_empty() {
        return "no disks found on this machine".to_owned();
    }
    let mut text = format!("{:<10} {:>8}  {:<24} {:<20} {:<9}  CONTENT", "DISK", "SIZE", "MODEL", "SERIAL", "REMOVABLE");
    for t in targets {
        let clean = |s: &str, n: usize| cluster_seed::machine::tame(s).chars().take(n).collect::<String>();
        let removable = if t.removable { "yes" } else { "no" };
        text.push_str(&format!(
            "\n{:<10} {:>8}  {:<24} {:<20} {removable:<9}  {}",
            t.name,
            disk_size(t.size),
            clean(&t.model, 24),
            clean(&t.serial, 20),
            t.content.as_deref().unwrap_or("unknown"),
        ));
        for word in t.uses.iter().map(String::as_str).chain(t.read_only.then_some("it is read-only")) {
            text.push_str(&format!("\n{:<10} cannot be used: {}", "", cluster_seed::machine::tame(word)));
        }
    }
    text
}

enum Place {
    Disk { path: Utf8PathBuf, target: Target },
    File { path: Utf8PathBuf, size: u64 },
}

impl Place {
    fn size(&self, len: u64) -> u64 {
        match self {
            Place::Disk { target, .. } => target.size,
            Place::File { size, .. } => (*size).max(len),
        }
    }

    /// Has the operator type the name of the device.
    fn confirm(&self, len: u64) -> Result<()> {
        let name = match self {
            Place::Disk { target, .. } => {
                eprintln!("{}", table(std::slice::from_ref(target)));
                target.name.clone()
            }
            Place::File { path, .. } => path.file_name().unwrap_or_default().to_owned(),
        };
        confirm(&format!("Writing {} erases everything on it.", disk_size(len)), &name)
    }

    /// Opens it for writing, exclusively, and for reading past the page cache where that is possible.
    fn open(&self) -> Result<(File, File)> {
        let (path, write) = match self {
            // On a block device O_EXCL without O_CREAT fails if the device is in use (open(2)).
            Place::Disk { path, .. } => (path, open_device(path, Access::Write, nix::libc::O_EXCL)),
            Place::File { path, .. } => (path, open(path, Start::Keep, PUBLIC)),
        };
        let write = write.with_context(|| format!("opening {path}")).hint(match self {
            Place::Disk { .. } => "run as root, and make sure that nothing else uses the disk",
            Place::File { .. } => "check that this user may write there",
        })?;
        let read = open_device(path, Access::Read, nix::libc::O_DIRECT);
        let read = read.or_else(|_| File::open(path)).with_context(|| format!("opening {path} to read it back"))?;
        Ok((write, read))
    }
}
