//! Writes the sealed artifact to the disk that the operator chose: verifies every chunk before it is written, places the
//! identity, and writes the first MiB last, so that a disk that was not fully verified never boots.

pub mod chunks;
pub mod medium;
pub mod place;

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::agent::ReportBody;
use cluster_seed::arch::Arch;
use cluster_seed::ids::Digest;
use cluster_seed::machine::Disk;
use cluster_seed::manifest::{ArtifactManifest, ManifestError};
use cluster_seed::seal::{SealError, Sealed, SigningKey, VerifyingKey, key_from_text};
use cluster_seed::secret::Secret;
use cluster_seed::trouble::Trouble;

use crate::console::Console;
use crate::http::{Http, HttpError, Wait, retry};
use crate::install::chunks::{ChunkError, HEAD, Stream, THREADS, write_zeros};
use crate::layout::STATIC_NETWORK;
use crate::ram::session::Approved;
use crate::report::{ReportError, Reporter, UNTIL_HEARD};
use crate::state::{StateError, StateFile, state_files};
use host::clock::Stopwatch;
use host::files::{Access, FileError, PRIVATE, open_device, write_atomic};
use host::hardware;

/// Shortest time between two progress reports.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);
/// Largest manifest read, in bytes.
const MAX_MANIFEST: u64 = 32 << 20;
/// Attempts to get the manifest.
const MANIFEST_TRIES: u32 = 60;

#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error("this machine has no disk {0}")]
    NoDisk(String),
    #[error("disk {name} is not the approved disk: {what}")]
    OtherDisk { name: String, what: String },
    #[error("disk {name} has {size} bytes, the artifact needs {needed}")]
    DiskTooSmall { name: String, size: u64, needed: u64 },
    #[error("fetching the manifest")]
    FetchManifest(#[source] HttpError),
    #[error("the site key did not sign the manifest")]
    Seal(#[from] SealError),
    #[error("the manifest is inconsistent")]
    Manifest(#[from] ManifestError),
    #[error("the manifest describes artifact {found} instead of {ordered}")]
    OtherArtifact { found: Digest, ordered: Digest },
    #[error("the manifest places the state partition at byte {0}, in the part that is written last")]
    StateInHead(u64),
    #[error("the seed did not accept the start of the installation")]
    Began(#[source] ReportError),
    #[error("the artifact is for {0}, but this machine is {arch}", arch = std::env::consts::ARCH)]
    OtherArch(String),
    #[error("recording that the installation began")]
    Mark(#[source] FileError),
    #[error("cannot {action} {path}")]
    Disk { action: &'static str, path: Utf8PathBuf, source: io::Error },
    #[error("writing the artifact")]
    Chunk(#[from] ChunkError),
    #[error("preparing the identity")]
    Identity(#[from] StateError),
    #[error("placing the identity in the state partition: {0}")]
    Place(String),
}

impl InstallError {
    /// The name of the failed step.
    pub fn step(&self) -> &'static str {
        match self {
            Self::NoDisk(_) | Self::OtherDisk { .. } | Self::DiskTooSmall { .. } | Self::Disk { .. } => "disk",
            Self::FetchManifest(_)
            | Self::Seal(_)
            | Self::Manifest(_)
            | Self::OtherArtifact { .. }
            | Self::OtherArch(_)
            | Self::StateInHead(_) => "manifest",
            Self::Began(_) | Self::Mark(_) => "begin",
            Self::Chunk(_) => "chunks",
            Self::Identity(_) | Self::Place(_) => "identity",
        }
    }

    /// For code.
    pub fn cause(&self) -> Trouble {
        match self {
            Self::NoDisk(_) | Self::OtherDisk { .. } => Trouble::DiskMissing,
            Self::DiskTooSmall { .. } => Trouble::DiskTooSmall,
            Self::Disk { .. } | Self::Place(_) | Self::Chunk(ChunkError::Write { .. }) => Trouble::DiskBroken,
            Self::OtherArch(_) => Trouble::WrongArchitecture,
            Self::FetchManifest(_) | Self::Began(_) | Self::Chunk(ChunkError::Fetch { .. }) => Trouble::Network,
            Self::Seal(_)
            | Self::Manifest(_)
            | Self::OtherArtifact { .. }
            | Self::StateInHead(_)
            | Self::Chunk(ChunkError::Tampered { .. }) => Trouble::Untrusted,
            Self::Mark(_) | Self::Identity(_) => Trouble::Other,
        }
    }
}

/// Puts files into the file system at `offset` bytes of the disk.
pub type Place<'a> = &'a dyn Fn(&Utf8Path, u64, &[StateFile]) -> Result<(), String>;

/// One installation.
pub struct Install<'a> {
    pub http: &'a Http,
    pub console: &'a Console,
    pub reporter: &'a Reporter<'a>,
    /// Exists only after the seed has proved that it knows the code.
    pub approved: &'a Approved,
    pub node_key: &'a SigningKey,
    /// The parent of sys/block and dev: `/` on a machine.
    pub root: &'a Utf8Path,
    pub place: Place<'a>,
    /// A mounted node medium.
    pub medium: Option<&'a Utf8Path>,
    pub wait: Wait<'a>,
    /// The static address that the machine has, as a file for the installed system.
    pub network: Option<&'a str>,
    /// File to create once the seed has accepted the start; `None` if an earlier attempt did.
    pub announce: Option<&'a Utf8Path>,
}

impl Install<'_> {
    /// Installs and reports. On an error the disk is either untouched or has a first MiB of zeros.
    pub fn run(&self) -> Result<(), InstallError> {
        let started = Stopwatch::start();
        let disk = self.find_disk()?;
        let manifest = self.manifest()?;
        let needed = manifest.min_disk.max(manifest.disk_size);
        if disk.size < needed {
            return Err(InstallError::DiskTooSmall { name: disk.name, size: disk.size, needed });
        }
        let path = self.root.join("dev").join(&disk.name);
        let failed = |action, source| InstallError::Disk { action, path: path.clone(), source };
        let file = open_disk(&path).map_err(|e| failed("open", e))?;
        let mut handle = &file;
        let size = handle.seek(SeekFrom::End(0)).map_err(|e| failed("measure", e))?;
        if size != disk.size {
            let what = format!("it has {size} bytes, the kernel reported {}", disk.size);
            return Err(InstallError::OtherDisk { name: disk.name, what });
        }
        let mut files = state_files(self.approved.identity(), self.node_key)?;
        files.extend(self.network.map(|text| StateFile { name: STATIC_NETWORK, bytes: Secret::new(text.as_bytes().to_vec()) }));
        if let Some(mark) = self.announce {
            let began =
                ReportBody::InstallBegan { artifact: manifest.id, disk: disk.name.clone(), total: manifest.content_size() };
            self.reporter.deliver(began, UNTIL_HEARD).map_err(InstallError::Began)?;
            write_atomic(mark, b"", PRIVATE).map_err(InstallError::Mark)?;
        }
        self.console.step(&format!("install {} on {}", manifest.id.short(), disk.name));
        // The end too: its backup partition table would restore the old one.
        let wiped = wipe(&file, 0).and_then(|()| wipe(&file, size - HEAD.min(size)));
        wiped.map_err(|e| failed("wipe", e))?;
        let written = self.write(&file, &path, &manifest, &files);
        if let Err(e) = written {
            if let Err(again) = wipe(&file, 0) {
                tracing::error!(error = %again, "the first MiB could not be wiped");
            }
            return Err(e);
        }
        self.console.step("installed");
        let done = ReportBody::InstallDone { seconds: started.elapsed().as_secs() };
        if let Err(e) = self.reporter.deliver(done, UNTIL_HEARD) {
            // The disk is complete; the installed system will report it.
            self.console.error(&crate::http::chain(&e));
        }
        Ok(())
    }

    fn find_disk(&self) -> Result<Disk, InstallError> {
        let order = self.approved.order();
        // The list as it was reported: the seed chose the mark from it.
        let disks = hardware::gather(self.root, None).disks;
        let found = disks.iter().find(|d| d.name == order.disk);
        let disk = found.ok_or_else(|| InstallError::NoDisk(order.disk.clone()))?.clone();
        let other = |what| Err(InstallError::OtherDisk { name: disk.name.clone(), what });
        let Some(mark) = disk.mark(&disks) else {
            return other("another disk has the same size and no serial number".to_owned());
        };
        if mark != order.disk_serial || disk.size != order.disk_size {
            return other(format!(
                "approved: serial {:?}, {} bytes; found: serial {mark:?}, {} bytes",
                order.disk_serial, order.disk_size, disk.size
            ));
        }
        match disk.unfit() {
            Some(why) => other(why),
            None => Ok(disk),
        }
    }

    fn manifest(&self) -> Result<ArtifactManifest, InstallError> {
        self.console.step("manifest");
        let site: VerifyingKey = key_from_text(&self.approved.identity().info.site_key)?;
        let ordered = self.approved.order().artifact;
        let path = format!("/artifacts/{ordered}/manifest.json");
        let sealed: Sealed<ArtifactManifest> =
            retry(MANIFEST_TRIES, self.wait, || self.http.get_json(&path, MAX_MANIFEST)).map_err(InstallError::FetchManifest)?;
        let manifest = sealed.open(&site)?;
        manifest.check()?;
        if Arch::of_machine(std::env::consts::ARCH).is_some_and(|own| own.as_str() != manifest.spec.arch) {
            return Err(InstallError::OtherArch(manifest.spec.arch));
        }
        if manifest.id != ordered {
            return Err(InstallError::OtherArtifact { found: manifest.id, ordered });
        }
        if manifest.state_offset < HEAD {
            return Err(InstallError::StateInHead(manifest.state_offset));
        }
        Ok(manifest)
    }

    fn write(&self, file: &File, path: &Utf8Path, manifest: &ArtifactManifest, files: &[StateFile]) -> Result<(), InstallError> {
        let failed = |action| move |source| InstallError::Disk { action, path: path.to_owned(), source };
        let stream = Stream::new(self.http, manifest, file, self.medium, self.wait);
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            let stream = &stream;
            for _ in 0..THREADS {
                let sender = sender.clone();
                scope.spawn(move || stream.work(&sender));
            }
            drop(sender);
            self.report_progress(&receiver, manifest.content_size());
        });
        let head = stream.finish()?;
        self.console.step("flush");
        file.sync_all().map_err(failed("flush"))?;
        self.console.step("identity");
        (self.place)(path, manifest.state_offset, files).map_err(InstallError::Place)?;
        file.sync_all().map_err(failed("flush"))?;
        self.console.step("first MiB");
        // The boot sector is written last: after a power failure before it, the disk has no boot code.
        let sector = head.len().min(512);
        file.write_all_at(&head[sector..], sector as u64).and_then(|()| file.sync_all()).map_err(failed("write"))?;
        file.write_all_at(&head[..sector], 0).and_then(|()| file.sync_all()).map_err(failed("write"))
    }

    /// Reports progress until all threads are done.
    fn report_progress(&self, done: &Receiver<u64>, total: u64) {
        let (mut written, mut reported, mut at) = (0u64, 0u64, Stopwatch::start());
        loop {
            match done.recv_timeout(PROGRESS_EVERY) {
                Ok(bytes) => written += bytes,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let elapsed = at.elapsed();
            if elapsed >= PROGRESS_EVERY {
                let rate = (written - reported) * 1000 / u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
                let tenths = rate / 100_000;
                let percent = written * 100 / total.max(1);
                self.console.step(&format!("install {percent}% {}.{} MB/s", tenths / 10, tenths % 10));
                self.reporter.tell(ReportBody::InstallProgress { written, total, rate });
                (reported, at) = (written, Stopwatch::start());
            }
        }
    }
}

/// Exclusive, so that a disk in use by the kernel is refused (open(2): O_EXCL on a block device).
fn open_disk(path: &Utf8Path) -> io::Result<File> {
    let device = std::fs::metadata(path)?.file_type().is_block_device();
    let flags = if device { libc::O_EXCL } else { 0 };
    open_device(path, Access::Both, flags)
}

fn wipe(file: &File, at: u64) -> io::Result<()> {
    write_zeros(file, at, HEAD)?;
    file.sync_all()
}
