//! OVA (DMTF DSP0243 1.1, section 5.3): an OVF package as one tar file.

use std::fs::File;
use std::io::Read as _;

use camino::Utf8Path;
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use host::files::{digest_file, failed};
use tar::{EntryType, Header};

use crate::names::check_name;
use crate::output::Output;
use crate::ovf::{self, Disk, Machine};
use crate::{Error, Written};

#[derive(Clone, Copy)]
pub struct Package<'a> {
    /// Name of the package; its files are NAME.ovf, NAME.mf and NAME-disk1.vmdk.
    pub name: &'a str,
    /// The disk, a streamOptimized VMDK.
    pub vmdk: &'a Utf8Path,
    /// Size of its virtual disk in bytes.
    pub capacity: u64,
    pub machine: &'a Machine<'a>,
    /// Modification time of the files, in Unix seconds.
    pub modified: u64,
}

/// POSIX gives 11 octal digits to the size of a file (IEEE 1003.1, "ustar Interchange Format").
const MAX_FILE: u64 = (8 << 30) - 1;
const BLOCK: u64 = 512;
/// tar(1) fills up to a multiple of it.
const RECORD: u64 = 20 * BLOCK;

fn header(name: &str, size: u64, modified: u64) -> Result<Header, Error> {
    if size > MAX_FILE {
        return Err(Error::TooLarge { what: "a file in an OVA", size, limit: MAX_FILE });
    }
    let mut header = Header::new_ustar();
    let why = "it is too long for a tar archive";
    header.set_path(name).map_err(|_| Error::Value { what: "a file name", value: name.to_owned(), why })?;
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(modified.min(MAX_FILE));
    header.set_cksum();
    Ok(header)
}

fn append(out: &mut Output, name: &str, bytes: &[u8], modified: u64) -> Result<(), Error> {
    out.append(header(name, bytes.len() as u64, modified)?.as_bytes())?;
    out.append(bytes)?;
    out.end = out.end.next_multiple_of(BLOCK);
    Ok(())
}

/// Copies the disk, which has `size` bytes by its header.
fn append_disk(out: &mut Output, path: &Utf8Path, size: u64, progress: &dyn Progress) -> Result<(), Error> {
    let reading = failed("reading", path);
    let mut file = File::open(path).map_err(&reading)?;
    let mut buffer = vec![0; 1 << 20];
    let mut left = size;
    while left > 0 {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let part = &mut buffer[..left.min(1 << 20) as usize];
        file.read_exact(part).map_err(&reading)?;
        out.append(part)?;
        left -= part.len() as u64;
        progress.advance(part.len() as u64);
    }
    Ok(())
}

/// The two texts of a package. Beside the disk, as NAME.ovf and NAME.mf, they are the package in its other form: a directory.
#[derive(Debug, Clone)]
pub struct Texts {
    pub descriptor: String,
    pub manifest: String,
}

/// Writes an OVA: descriptor, manifest, disk. `out` is the file to create or replace.
///
/// # Errors
/// If a file cannot be read or written, a name or size does not fit, or the work was cancelled; then `out` is as it was before.
pub fn write(out: &Utf8Path, package: &Package<'_>, progress: &dyn Progress) -> Result<(Written, Texts), Error> {
    let name = check_name("the name of a package", package.name)?;
    let file_name = format!("{name}-disk1.vmdk");
    let size = File::open(package.vmdk).and_then(|f| f.metadata()).map_err(failed("reading", package.vmdk))?.len();
    // Before the disk is hashed, which takes minutes.
    header(&file_name, size, package.modified)?;
    progress.begin("hashing the disk", Some(size));
    let (size, digest) = digest_file(package.vmdk, progress)?;
    progress.end();
    let disk = Disk { file_name: &file_name, size, capacity: package.capacity };
    let descriptor = ovf::descriptor(package.machine, &disk)?;
    let descriptor_name = format!("{name}.ovf");
    let manifest = ovf::manifest(&[(&descriptor_name, Digest::of(descriptor.as_bytes())), (&file_name, digest)])?;
    progress.begin("writing the OVA", Some(size));
    let mut file = Output::create(out)?;
    append(&mut file, &descriptor_name, descriptor.as_bytes(), package.modified)?;
    append(&mut file, &format!("{name}.mf"), manifest.as_bytes(), package.modified)?;
    file.append(header(&file_name, size, package.modified)?.as_bytes())?;
    append_disk(&mut file, package.vmdk, size, progress)?;
    // Two blocks of zeros end the archive.
    let size = (file.end.next_multiple_of(BLOCK) + 2 * BLOCK).next_multiple_of(RECORD);
    file.finish(size)?;
    progress.end();
    Ok((Written { size, capacity: package.capacity }, Texts { descriptor, manifest }))
}
