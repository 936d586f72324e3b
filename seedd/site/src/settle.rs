//! The last step of an import. The import takes effect when the database commits; the files are moved into place afterwards.
//! If the importer was killed in between, the next process that opens the site moves them.

use std::fs::{self, File};

use anyhow::{Context as _, Result};
use camino::Utf8Path;
use cluster_seed::capsule::Tree;
use host::files::{self, PRIVATE, Start, read_limited};

use crate::store::Store;
use crate::{Site, setting};

/// Folder of the data directory with the files of an import that are not in place yet.
pub const STAGED: &str = "import.ready";
/// File in that folder: the capsule's id.
pub const ID: &str = "id";
/// Folder in that folder: replaced files, until all files are in place.
const REPLACED: &str = "replaced";
/// Lock held while a site's files are replaced.
const LOCK: &str = "tmp/import.lock";

/// Moves the files of a committed import into place. Usually there is nothing to do, which is cheap.
pub fn settle(site: &Site, store: &Store) -> Result<()> {
    let staged = site.join(STAGED);
    if !staged.exists() {
        return Ok(());
    }
    let path = site.join(LOCK);
    let lock = files::open(&path, Start::Keep, PRIVATE).with_context(|| format!("opening {path}"))?;
    lock.lock().with_context(|| format!("locking {path}"))?;
    if !committed(&staged, store)? {
        return Ok(());
    }
    let replaced = staged.join(REPLACED);
    fs::create_dir_all(&replaced).with_context(|| format!("creating {replaced}"))?;
    for tree in Tree::ALL {
        let from = staged.join(tree.as_str());
        if !from.is_dir() {
            continue;
        }
        for entry in from.read_dir_utf8().with_context(|| format!("listing {from}"))? {
            let name = entry?.file_name().to_owned();
            put(&from.join(&name), &site.join(tree.as_str()).join(&name), &replaced.join(format!("{}-{name}", tree.as_str())))?;
        }
    }
    put(&staged.join("cluster.yaml"), &site.cluster_file(), &replaced.join("cluster.yaml"))?;
    put(&staged.join("keys"), &site.join("keys"), &replaced.join("keys"))?;
    nix::unistd::syncfs(&File::open(&site.data)?).context("writing the imported site to the disk")?;
    // Renamed first: a partly deleted folder must not look like an import.
    let gone = site.join("tmp").join("import.done");
    if gone.exists() {
        fs::remove_dir_all(&gone).with_context(|| format!("removing {gone}"))?;
    }
    fs::rename(&staged, &gone).with_context(|| format!("removing {staged}"))?;
    fs::remove_dir_all(&gone).with_context(|| format!("removing {gone}"))
}

/// True if the database has the rows of the staged import.
pub fn committed(staged: &Utf8Path, store: &Store) -> Result<bool> {
    let id = read_limited(&staged.join(ID), 128).unwrap_or_default();
    let imported = store.setting(setting::IMPORTED)?;
    Ok(!id.is_empty() && imported.is_some_and(|held| held.as_bytes() == id))
}

/// Moves `from` to `to`, and what was there to `aside`. Safe to run again after an interruption at any step.
fn put(from: &Utf8Path, to: &Utf8Path, aside: &Utf8Path) -> Result<()> {
    if !from.exists() {
        return Ok(());
    }
    if fs::symlink_metadata(to).is_ok() {
        if fs::symlink_metadata(aside).is_ok() {
            let meta = fs::symlink_metadata(aside)?;
            let gone = if meta.is_dir() { fs::remove_dir_all(aside) } else { fs::remove_file(aside) };
            gone.with_context(|| format!("removing {aside}"))?;
        }
        fs::rename(to, aside).with_context(|| format!("moving {to} aside"))?;
    } else if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| format!("creating {parent}"))?;
    }
    fs::rename(from, to).with_context(|| format!("moving {to} into place"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID_TEXT: &str = "0123";

    /// A site whose import was committed and not placed.
    fn waiting() -> (tempfile::TempDir, Site, Store) {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(&camino::Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap());
        site.make_folders().unwrap();
        let store = Store::open(&site.database()).unwrap();
        store.set(setting::IMPORTED, ID_TEXT).unwrap();
        let write = |path: &str, text: &str| {
            let path = site.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for place in ["", "import.ready/"] {
            for name in ["cluster.yaml", "keys/public.json", "netboot/aa/netboot.json"] {
                write(&format!("{place}{name}"), if place.is_empty() { "old" } else { "new" });
            }
        }
        write("import.ready/artifacts/bb/manifest.json", "new");
        write("import.ready/id", ID_TEXT);
        (dir, site, store)
    }

    fn assert_new(site: &Site) {
        for name in ["cluster.yaml", "keys/public.json", "netboot/aa/netboot.json", "artifacts/bb/manifest.json"] {
            assert_eq!(fs::read_to_string(site.join(name)).unwrap(), "new", "{name}");
        }
        assert!(!site.join(STAGED).exists());
    }

    #[test]
    fn it_goes_on_from_every_step_it_may_have_been_killed_in() {
        type Step = fn(&Site);
        fn away(site: &Site, from: &str, to: &str) {
            fs::create_dir_all(site.join("import.ready/replaced")).unwrap();
            fs::rename(site.join(from), site.join("import.ready/replaced").join(to)).unwrap();
        }
        let steps: [Step; 5] = [
            |_| (),
            |s| away(s, "netboot/aa", "netboot-aa"),
            |s| away(s, "keys", "keys"),
            |s| {
                away(s, "keys", "keys");
                fs::rename(s.join("import.ready/keys"), s.join("keys")).unwrap();
            },
            // Killed twice at the same place.
            |s| {
                away(s, "cluster.yaml", "cluster.yaml");
                fs::write(s.join("cluster.yaml"), "old").unwrap();
            },
        ];
        for killed_after in steps {
            let (_keep, site, store) = waiting();
            killed_after(&site);
            settle(&site, &store).unwrap();
            assert_new(&site);
            settle(&site, &store).unwrap();
        }
    }

    #[test]
    fn what_was_not_committed_is_not_placed() {
        let (_keep, site, store) = waiting();
        store.set(setting::IMPORTED, "another").unwrap();
        settle(&site, &store).unwrap();
        assert_eq!(fs::read_to_string(site.join("keys/public.json")).unwrap(), "old");
        fs::remove_file(site.join(STAGED).join(ID)).unwrap();
        store.set(setting::IMPORTED, "").unwrap();
        settle(&site, &store).unwrap();
        assert_eq!(fs::read_to_string(site.cluster_file()).unwrap(), "old");
    }
}
