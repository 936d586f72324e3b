//! Empty indexes (AppStream data, "dep11"): a snapshot does not need them, but some clients request them.

use std::io::{self, Write as _};

use crate::format::lock::SnapshotLock;

/// Icon sizes in appstream's apt configuration.
const ICONS: [&str; 3] = ["48x48", "64x64", "128x128"];

/// Path below `dists/<suite>/` and bytes of every stub.
pub fn files(lock: &SnapshotLock) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for component in &lock.components {
        for arch in &lock.architectures {
            let name = format!("{component}/dep11/Components-{arch}.yml");
            // Only the header, as appstream-generator(1) writes it.
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
