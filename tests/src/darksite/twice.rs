//! One lock, built twice by the program itself.

use anyhow::{Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};

use super::Bench;
use crate::seedd::Seedd;
use crate::{say, tool};

/// `SOURCE_DATE_EPOCH` of the two builds, years apart.
const EPOCHS: [&str; 2] = ["1000000000", "1800000000"];

/// Both sites have the same keys, since signatures follow from keys; everything else is fetched and made anew.
pub fn identical(bench: &Bench) -> Result<()> {
    let passphrase = bench.work.join("passphrase");
    std::fs::write(&passphrase, "lab only\n")?;
    let (first, second) = (bench.work.join("first"), bench.work.join("second"));
    let seedd = Seedd::new(first.as_std_path(), passphrase.as_std_path())?;
    seedd.init()?;
    tool::run(&["cp", "-a", first.as_str(), second.as_str()])?;
    let lock = bench.work.join("site.lock");
    tool::run_owned(&seedd.argv(&["darksite", "plan", "--lock", lock.as_str()]))?;
    let mut trees = Vec::new();
    for (data, epoch) in [&first, &second].into_iter().zip(EPOCHS) {
        let mut argv = tool::words(&["env", &format!("SOURCE_DATE_EPOCH={epoch}")]);
        argv.extend(seedd.on(data.as_std_path()).darksite_argv());
        argv.push(format!("--locked={lock}"));
        tool::run_owned(&argv)?;
        let dir = data.join("snapshots");
        trees.push((dir.clone(), files(&dir)?));
    }
    let ((a, one), (b, two)) = (&trees[0], &trees[1]);
    ensure!(one == two, "the two trees do not hold the same files");
    ensure!(one.len() > 200, "only {} files", one.len());
    for name in one {
        let same = std::fs::read(a.join(name))? == std::fs::read(b.join(name))?;
        ensure!(same, "{name} differs");
    }
    say::line(&format!("{} files are the same, byte by byte", one.len()));
    Ok(())
}

/// Paths of all files below a directory, sorted.
fn files(root: &Utf8Path) -> Result<Vec<Utf8PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in dir.read_dir_utf8()? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => open.push(entry.into_path()),
                false => found.push(entry.path().strip_prefix(root)?.to_owned()),
            }
        }
    }
    found.sort();
    Ok(found)
}
