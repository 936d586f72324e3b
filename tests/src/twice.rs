//! Builds the images a second time, elsewhere: the same snapshot produces the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use cluster_seed::ids::Digest;
use serde_json::Value;

use crate::dirs::RunDirs;
use crate::netns::{Netns, PREFIX};
use crate::seedd::Seedd;
use crate::site::Template;
use crate::tool;

/// Directories whose content the second build makes anew: the results, and the tools it works with.
const MADE: [&str; 3] = ["artifacts", "netboot", "cache"];
/// Files that must be among the compared ones.
const EXPECTED: [&str; 3] = ["manifest.json", "vmlinuz", "initrd.img"];

/// Builds the netboot image and every role's artifact from a copy that has the keys and the snapshot only. An id is of
/// no use here, it is the digest of what went in: what counts are the files of the netboot set, and the manifests,
/// which have the digest of the whole disk and of every chunk.
pub fn run(template: &Template, work: &Path, logs: &Path) -> Result<()> {
    let first = digests(&template.seedd)?;
    let seedd = template.copy(&work.join("another/place/for/data"))?;
    for dir in MADE {
        fs::remove_dir_all(seedd.data.join(dir)).with_context(|| format!("removing {dir} of the copy"))?;
    }
    let ns = Netns::lab(&format!("{PREFIX}{}-twice", std::process::id()), work)?;
    seedd.image_build(&ns, &logs.join("image-build.log")).context("the second build")?;
    let second = digests(&seedd)?;
    let differ = differences(&first, &second);
    ensure!(differ.is_empty(), "two builds differ in {}", differ.join(", "));
    ns.must_be_quiet()
}

/// Builds the seed's medium a second time, elsewhere and with tools made anew, and compares every byte.
pub fn medium(dirs: &RunDirs, template: &Template) -> Result<()> {
    let first = template.seed_iso(dirs)?;
    let (work, logs) = dirs.part("medium-twice")?;
    let seedd = template.copy(&work.join("another/place/for/data"))?;
    fs::remove_dir_all(seedd.data.join("cache")).context("removing the copy's tools")?;
    let ns = Netns::lab(&format!("{PREFIX}{}-medium", std::process::id()), &work)?;
    let second = work.join("second.iso");
    seedd.iso_build(&ns, &second, &logs.join("iso-build.log")).context("the second build")?;
    let differ = tool::outcome(&tool::words(&["cmp", &first.to_string_lossy(), &second.to_string_lossy()]))?;
    ensure!(differ.code == 0, "two builds of the medium differ: {}{}", differ.stdout.trim(), differ.stderr.trim());
    ns.must_be_quiet()
}

/// Digest of every file of the images in use, by its path in the data directory.
fn digests(seedd: &Seedd) -> Result<BTreeMap<String, Digest>> {
    let said = tool::run_owned(&seedd.argv(&["image", "list", "--json"]))?;
    let list: Value = serde_json::from_str(&said).context("reading the list of images")?;
    let artifacts = list["artifacts"].as_array().context("a list without artifacts")?;
    let ids = artifacts.iter().map(|a| ("artifacts", &a["id"])).chain([("netboot", &list["netboot"])]);
    let mut found = BTreeMap::new();
    for (kind, id) in ids {
        let dir = PathBuf::from(kind).join(id.as_str().context("an image without an id")?);
        for entry in fs::read_dir(seedd.data.join(&dir)).with_context(|| format!("reading {}", dir.display()))? {
            let path = entry.context("reading an image")?.path();
            let name = dir.join(path.file_name().unwrap_or_default()).to_string_lossy().into_owned();
            let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            found.insert(name, Digest::of(&bytes));
        }
    }
    for name in EXPECTED {
        ensure!(found.keys().any(|path| path.ends_with(&format!("/{name}"))), "no {name} among the images");
    }
    Ok(found)
}

/// Paths that only one of them has, or that have other bytes.
fn differences(first: &BTreeMap<String, Digest>, second: &BTreeMap<String, Digest>) -> Vec<String> {
    let paths = first.keys().chain(second.keys().filter(|path| !first.contains_key(*path)));
    paths.filter(|path| first.get(*path) != second.get(*path)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bytes_and_files_of_one_side_are_differences() {
        let set = |files: &[(&str, &[u8])]| files.iter().map(|(n, b)| ((*n).to_owned(), Digest::of(b))).collect();
        let first = set(&[("a", b"1"), ("b", b"2"), ("c", b"3")]);
        assert!(differences(&first, &first).is_empty());
        assert_eq!(differences(&first, &set(&[("a", b"1"), ("b", b"x"), ("d", b"4")])), ["b", "c", "d"]);
    }
}
