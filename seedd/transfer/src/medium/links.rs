//! Names on a medium, and links to its files.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Context as _, Result};
use camino::Utf8Path;

/// A relative path without `.` or `..`, of at most 4096 bytes.
pub(crate) fn is_clean(name: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    name.len() <= 4096 && name.split('/').all(plain)
}

/// Makes `link` point to `target`. A file of the site is kept; an older link is replaced.
pub(crate) fn link(target: &Utf8Path, link: &Utf8Path) -> Result<()> {
    let make = || -> std::io::Result<()> {
        match fs::symlink_metadata(link) {
            Ok(meta) if !meta.is_symlink() => return Ok(()),
            Ok(_) if fs::read_link(link)? == target.as_std_path() => return Ok(()),
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                fs::create_dir_all(link.parent().unwrap_or(link))?;
            }
            Err(e) => return Err(e),
        }
        let temporary = link.with_file_name(format!(".{}.{}.part", link.file_name().unwrap_or("link"), std::process::id()));
        match fs::remove_file(&temporary) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            _ => symlink(target, &temporary)?,
        }
        fs::rename(&temporary, link)
    };
    make().with_context(|| format!("linking {link} to {target}"))
}
