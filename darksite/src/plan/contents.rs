//! Which file is in which package (`Contents`, read by apt-file), for the snapshot's packages.
//!
//! Upstream's lists are hundreds of megabytes unpacked: they are read line by line, and only the lines we need are kept.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::sync::Arc;

use crate::error::Error;
use crate::format::texts::IndexText;
use crate::plan::draft::Draft;
use crate::upstream::suite::{Reader, Suite};

/// Bytes of an unpacked list; Debian main has about 600 MB for all architectures.
pub const MAX_CONTENTS: u64 = 4 << 30;
/// Bytes of one line; Debian's longest lists about a thousand packages.
const MAX_LINE: u64 = 1 << 20;

/// Adds `COMPONENT/Contents-ARCH` for every component and architecture, including `all`.
pub(crate) fn add(draft: &mut Draft, reader: &Reader<'_>, suites: &[Suite]) -> Result<(), Error> {
    let lock = &draft.plan.lock;
    let mut made = Vec::new();
    for component in &lock.components {
        let names = |arch: &str| -> HashSet<&str> {
            let ours = lock.packages.iter().filter(|p| p.component == *component && p.arch == arch);
            ours.map(|p| p.name.as_str()).collect()
        };
        for arch in lock.architectures.iter().map(String::as_str).chain(["all"]) {
            let path = format!("{component}/Contents-{arch}");
            let names = names(arch);
            let mut lines = Vec::new();
            for suite in suites.iter().filter(|_| !names.is_empty()) {
                filter(&path, &names, reader, suite, &mut lines)?;
            }
            lines.sort_unstable();
            lines.dedup();
            made.push((path, lines.concat()));
        }
    }
    for (path, text) in made {
        let number = draft.plan.texts.add(Arc::new(text));
        let stanzas = draft.plan.texts.lines_of(number);
        draft.plan.indexes.push(IndexText { path, stanzas });
    }
    Ok(())
}

/// Collects the lines of one suite's list that name a package of ours: `path section/package,section/package`.
fn filter(path: &str, names: &HashSet<&str>, reader: &Reader<'_>, suite: &Suite, lines: &mut Vec<String>) -> Result<(), Error> {
    let name = format!("{path}.gz");
    let Some(listed) = suite.release.files.get(&name) else { return Ok(()) };
    let (bytes, url) = reader.file(suite, &name, listed)?;
    let failed = |source| Error::Unpack { url: url.clone(), source };
    let mut text = BufReader::new(flate2::read::MultiGzDecoder::new(&bytes[..]).take(MAX_CONTENTS));
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut text).take(MAX_LINE).read_until(b'\n', &mut line).map_err(failed)? == 0 {
            return Ok(());
        }
        let Ok(text) = std::str::from_utf8(&line) else { continue };
        let Some((file, packages)) = text.trim_end().rsplit_once([' ', '\t']) else { continue };
        let ours = |p: &&str| names.contains(p.rsplit('/').next().unwrap_or_default());
        let kept: Vec<&str> = packages.split(',').filter(ours).collect();
        if !kept.is_empty() {
            lines.push(format!("{} {}\n", file.trim_end(), kept.join(",")));
        }
    }
}
