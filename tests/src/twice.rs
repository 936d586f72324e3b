//! The images built a second time, elsewhere: the same snapshot gives the same bytes.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::netns::{Netns, PREFIX};
use crate::seedd::Seedd;
use crate::site::Template;
use crate::tool;

/// Directories whose content the second build makes anew: the results, and the tools it works with.
const MADE: [&str; 3] = ["artifacts", "netboot", "cache"];

/// Builds the netboot image and every role's artifact from a copy that has the keys and the snapshot only. Their ids
/// are digests over every byte that is booted or written to a disk.
pub fn run(template: &Template, work: &Path, logs: &Path) -> Result<()> {
    let first = ids(&template.seedd)?;
    let seedd = template.copy(&work.join("another/place/for/data"))?;
    for dir in MADE {
        fs::remove_dir_all(seedd.data.join(dir)).with_context(|| format!("removing {dir} of the copy"))?;
    }
    let ns = Netns::lab(&format!("{PREFIX}{}-twice", std::process::id()), work)?;
    seedd.image_build(&ns, &logs.join("image-build.log")).context("the second build")?;
    for dir in &MADE[..2] {
        let made = fs::read_dir(seedd.data.join(dir)).with_context(|| format!("reading {dir}"))?.count();
        ensure!(made > 0, "the second build made nothing in {dir}");
    }
    let second = ids(&seedd)?;
    ensure!(first == second, "two builds differ: {first:?} and {second:?}");
    ns.must_be_quiet()
}

/// Ids of the netboot set and of every artifact in use.
fn ids(seedd: &Seedd) -> Result<Vec<String>> {
    let said = tool::run_owned(&seedd.argv(&["image", "list", "--json"]))?;
    let list: Value = serde_json::from_str(&said).context("reading the list of images")?;
    let artifacts = list["artifacts"].as_array().context("a list without artifacts")?;
    let all = artifacts.iter().map(|a| &a["id"]).chain([&list["netboot"]]);
    all.map(|id| id.as_str().map(str::to_owned).context("an image without an id")).collect()
}
