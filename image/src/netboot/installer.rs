//! Debian's netboot installer from the snapshot: its kernel, and its initrd with the snapshot's certificate added, so that
//! it verifies our signatures as it would verify Debian's.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write as _};

use camino::Utf8Path;
use cluster_seed::progress::Progress;
use host::files::{failed, read_limited, write_synced};

use super::initramfs::Initramfs;
use crate::error::Error;
use crate::packages::index::Index;
use crate::packages::unpack::{UnpackError, data_tar};
use crate::store;

/// The package with the installer of Debian 13.
pub const INSTALLER_PACKAGE: &str = "debian-installer-13-netboot-amd64";
/// Directory of the text installer in that package.
const FOLDER: &str = "usr/lib/debian-installer/images/13/amd64/text/debian-installer/amd64";
/// Largest of its files, in bytes.
const MAX_FILE: u64 = 512 << 20;
/// Largest agent and certificate, in bytes.
const MAX_INPUT: u64 = 256 << 20;
/// Where net-retriever and debootstrap look for certificates; debian-archive-keyring-udeb does not overwrite them.
const KEYRINGS: &[&str] = &["usr/share/keyrings/archive.gpg", "usr/share/keyrings/archive.pgp"];
/// Copies the certificate to the new system, for apt.
const HOOK: &str = "usr/lib/post-base-installer.d/05kubedos";
const HOOK_TEXT: &str = "#!/bin/sh\nset -e\nmkdir -p /target/etc/apt/trusted.gpg.d\n\
                         cp /usr/share/keyrings/archive.gpg /target/etc/apt/trusted.gpg.d/kubedos.gpg\n";

/// What the installer is prepared from.
pub struct InstallerInputs<'a> {
    pub snapshot_dir: &'a Utf8Path,
    pub suite: &'a str,
    /// Binary certificate that the snapshot is signed by.
    pub keyring: &'a Utf8Path,
    /// The static agent, which the installer copies to the new system.
    pub agent: &'a Utf8Path,
    pub tmp: &'a Utf8Path,
}

/// Writes `linux`, `initrd.gz` and `kubedos-node` to a new directory at `to`; an existing one is replaced.
pub fn prepare_installer(inputs: &InstallerInputs, to: &Utf8Path, progress: &dyn Progress) -> Result<(), Error> {
    progress.begin("preparing the installer from the snapshot", None);
    let index = Index::open(inputs.snapshot_dir, inputs.suite)?;
    let (path, file) = index.open_deb(index.get(INSTALLER_PACKAGE, "the installer")?)?;
    let mut found = read_files(file).map_err(|source| Error::Unpack { path: path.clone(), source })?;
    let mut take = |name: &str| found.remove(name).ok_or_else(|| Error::Content(format!("{path} has no {FOLDER}/{name}")));
    let (linux, mut initrd) = (take("linux")?, take("initrd.gz")?);
    initrd.extend_from_slice(&addition(&read_limited(inputs.keyring, MAX_INPUT)?)?);
    let agent = read_limited(inputs.agent, MAX_INPUT)?;
    let (_guard, work) = store::workdir(inputs.tmp, "installer-")?;
    let out = work.join("out");
    fs::create_dir(&out).map_err(failed("creating directory", &out))?;
    for (name, bytes) in [("linux", &linux), ("initrd.gz", &initrd), ("kubedos-node", &agent)] {
        write_synced(&out.join(name), bytes)?;
    }
    if to.exists() {
        fs::rename(to, work.join("old")).map_err(failed("replacing", to))?;
    }
    store::publish(&out, to)?;
    progress.end();
    Ok(())
}

fn read_files(deb: fs::File) -> Result<BTreeMap<String, Vec<u8>>, UnpackError> {
    let mut found = BTreeMap::new();
    for entry in data_tar(deb)?.entries()? {
        let mut entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
        let Some(name) = name.strip_prefix(FOLDER).map(|n| n.trim_start_matches('/')) else { continue };
        if !["linux", "initrd.gz"].contains(&name) || !entry.header().entry_type().is_file() {
            continue;
        }
        if entry.size() > MAX_FILE {
            return Err(UnpackError::TooLarge);
        }
        let name = name.to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        found.insert(name, bytes);
    }
    Ok(found)
}

/// A second archive to append to the initrd; the kernel unpacks both (Documentation/driver-api/early-userspace).
fn addition(keyring: &[u8]) -> Result<Vec<u8>, Error> {
    let mut archive = Initramfs::default();
    for name in KEYRINGS {
        archive.file(name, 0o644, keyring.to_vec());
    }
    archive.file(HOOK, 0o755, HOOK_TEXT.as_bytes().to_vec());
    let mut gz = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::new(6));
    let compressed = archive.write(&mut gz).and_then(|()| gz.flush()).and_then(|()| gz.finish());
    Ok(compressed.map_err(failed("compressing", Utf8Path::new("initrd.gz")))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addition_is_an_archive_with_the_certificate_and_is_the_same_every_time() {
        let one = addition(b"certificate").unwrap();
        assert_eq!(one, addition(b"certificate").unwrap());
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&one[..]).read_to_end(&mut plain).unwrap();
        assert!(plain.starts_with(b"070701"));
        let text = String::from_utf8_lossy(&plain);
        for word in ["usr/share/keyrings/archive.gpg", "usr/share/keyrings/archive.pgp", "certificate", HOOK, "TRAILER!!!"] {
            assert!(text.contains(word), "{word}");
        }
    }
}
