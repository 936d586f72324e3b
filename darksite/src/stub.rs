//! Indexes that some clients ask for and that a snapshot does not need: published with nothing in them, so that nobody asks
//! for what is not there (AppStream data, "dep11").

use std::io::{self, Write as _};

use crate::lock::SnapshotLock;

/// Sizes of icons that appstream's apt configuration names.
const ICONS: [&str; 3] = ["48x48", "64x64", "128x128"];

/// Path below `dists/<suite>/` and bytes of every stub.
pub fn files(lock: &SnapshotLock) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for component in &lock.components {
        for arch in &lock.architectures {
            let name = format!("{component}/dep11/Components-{arch}.yml");
            // The header alone, as appstream-generator(1) writes it.
            let origin = format!("kubedos-{}-{}", lock.suite, component.replace('/', "-"));
            let text = format!("---\nFile: DEP-11\nVersion: '1.0'\nOrigin: {origin}\n");
            let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
            xz.write_all(text.as_bytes())?;
            files.push((format!("{name}.gz"), gzip(text.as_bytes())?));
            files.push((format!("{name}.xz"), xz.finish()?));
            files.push((name, text.into_bytes()));
        }
        for size in ICONS {
            let name = format!("{component}/dep11/icons-{size}.tar");
            // An empty tar archive: two blocks of zeros.
            let tar = vec![0; 1024];
            files.push((format!("{name}.gz"), gzip(&tar)?));
            files.push((name, tar));
        }
    }
    Ok(files)
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut gz = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::new(6));
    gz.write_all(bytes)?;
    gz.finish()
}
