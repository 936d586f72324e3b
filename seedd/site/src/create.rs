//! Creating a site: everything is written to a temporary directory and renamed at the end, so a site is never incomplete.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};

use anyhow::{Context as _, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::cluster::ClusterSpec;
use host::files::open_dir;

use crate::hint::Hint as _;
use crate::keys::PublicKeys;
use crate::store::Store;
use crate::tls::ca::Permitted;
use crate::{Site, tls};

/// Input for a new site.
pub struct NewSite<'a> {
    /// The text of cluster.yaml, and its parsed form.
    pub text: &'a str,
    pub spec: &'a ClusterSpec,
    pub passphrase: &'a str,
    /// Unix seconds; dates the OpenPGP key.
    pub now: u64,
    /// Work factor of the passphrase (log2 N of scrypt): [`SCRYPT_LOG_N`](cluster_seed::secret::SCRYPT_LOG_N) except in tests.
    pub work: u8,
}

/// Creates the site. `finish` adds to it before it is renamed into place; if that fails, nothing is left.
///
/// # Errors
/// When the directory is not empty, when the passphrase is too short, and when writing fails.
pub fn create<T>(
    site: &Site,
    new: &NewSite<'_>,
    finish: impl FnOnce(&Site, &PublicKeys) -> Result<T>,
) -> Result<(PublicKeys, T)> {
    if site.exists() {
        return Err(anyhow!("{} already contains a site", site.data)).hint("use another --data; a site is never overwritten");
    }
    let place = aside(&site.data)?;
    let made = fill(&place, new, finish).and_then(|made| publish(&place, site).map(|()| made));
    let _ = fs::remove_dir_all(&place.data);
    made
}

fn fill<T>(place: &Site, new: &NewSite<'_>, finish: impl FnOnce(&Site, &PublicKeys) -> Result<T>) -> Result<(PublicKeys, T)> {
    place.make_folders()?;
    let planes: Vec<String> = new.spec.spec.networking.planes.keys().cloned().collect();
    let seconds = i64::try_from(new.now).context("reading the clock")?;
    let public = place.keys().create_with(new.work, new.passphrase, new.spec.metadata.name.as_str(), &planes, seconds)?;
    place.keys().make_ca(new.spec.metadata.name.as_str(), Permitted::of(new.spec, tls::hostname().as_deref()))?;
    host::files::write_atomic(&place.cluster_file(), new.text.as_bytes(), 0o644)?;
    let store = Store::open(&place.database()).context("creating the database")?;
    store.write(|tx| tx.set_epoch(1))?;
    drop(store);
    let more = finish(place, &public)?;
    Ok((public, more))
}

/// Renames the finished directory into place.
fn publish(place: &Site, site: &Site) -> Result<()> {
    // Owner and mode are set by the open folder, not by its name: the owner of the folder above could put a link there.
    let dir = open_dir(&place.data).with_context(|| format!("opening {}", place.data))?;
    // There may be hundreds of links and folders; one call syncs all of them.
    nix::unistd::syncfs(&dir).context("writing the new site to the disk")?;
    if let Ok(meta) = fs::metadata(&site.data) {
        // If the target is an existing empty directory, its owner and what it may do are kept. Others than root cannot give a directory.
        if nix::unistd::geteuid().is_root() {
            let (user, group) = (Some(meta.uid()), Some(meta.gid()));
            fchown(&dir, user, group).with_context(|| format!("giving {} its owner", place.data))?;
        }
        let mode = fs::Permissions::from_mode(meta.permissions().mode() & 0o7700);
        dir.set_permissions(mode).with_context(|| format!("protecting {}", place.data))?;
    }
    match fs::rename(&place.data, &site.data) {
        Ok(()) => {}
        // A mount point cannot be replaced: its entries are moved, the database last, because
        // its presence marks the site as complete.
        Err(e) if matches!(e.raw_os_error(), Some(nix::libc::EBUSY | nix::libc::EXDEV)) => move_entries(place, site)?,
        Err(e) => return Err(e).with_context(|| format!("creating {}", site.data)),
    }
    // A mount point's root may be open to all.
    site.protect()?;
    let parent = parent_of(&site.data);
    for dir in [parent, site.data.as_path()] {
        File::open(dir).and_then(|d| d.sync_all()).with_context(|| format!("writing {dir} to the disk"))?;
    }
    Ok(())
}

fn move_entries(place: &Site, site: &Site) -> Result<()> {
    for entry in fs::read_dir(&place.data).context("listing the new site")? {
        let entry = entry?;
        let target = site.data.join(entry.file_name().to_string_lossy().as_ref());
        if entry.file_name() != "seed.db" {
            fs::rename(entry.path(), &target).with_context(|| format!("creating {target}"))?;
        }
    }
    fs::rename(place.database(), site.database()).context("moving the database into place")
}

fn parent_of(data: &Utf8Path) -> &Utf8Path {
    data.parent().filter(|p| !p.as_str().is_empty()).unwrap_or(Utf8Path::new("."))
}

fn aside(data: &Utf8Path) -> Result<Site> {
    if data.exists() && data.read_dir().with_context(|| format!("reading {data}"))?.next().is_some() {
        return Err(anyhow!("{data} is not empty")).hint("use an empty or new directory for --data");
    }
    let parent = parent_of(data);
    fs::create_dir_all(parent).with_context(|| format!("creating {parent}"))?;
    let place = parent.join(format!("{}{}.new", prefix(data), std::process::id()));
    fs::create_dir(&place).with_context(|| format!("creating {place}"))?;
    Ok(Site::new(&place))
}

fn prefix(data: &Utf8Path) -> String {
    format!(".{}.", data.file_name().unwrap_or("site"))
}

/// Deletes what an interrupted attempt left beside `data`. The caller must know that no other process is creating a
/// site there.
pub fn clean(data: &Utf8Path) -> Result<()> {
    let (parent, prefix) = (parent_of(data), prefix(data));
    if !parent.is_dir() {
        return Ok(());
    }
    let left = |name: &str| {
        let number = name.strip_prefix(prefix.as_str()).and_then(|n| n.strip_suffix(".new"));
        number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    let entries = parent.read_dir_utf8().with_context(|| format!("reading {parent}"))?;
    let found: Vec<Utf8PathBuf> =
        entries.filter_map(|e| Some(e.ok()?.into_path())).filter(|p| p.file_name().is_some_and(left)).collect();
    for path in found {
        fs::remove_dir_all(&path).with_context(|| format!("deleting {path}, left by an interrupted attempt"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::default_cluster_yaml;

    fn attempt(site: &Site, finish: impl FnOnce(&Site, &PublicKeys) -> Result<()>) -> Result<()> {
        let text = default_cluster_yaml("site-a");
        let spec = ClusterSpec::parse(&text).unwrap();
        let new = NewSite { text: &text, spec: &spec, passphrase: "correct horse", now: 1_760_000_000, work: 10 };
        create(site, &new, finish).map(|_| ())
    }

    #[test]
    fn a_site_appears_wholly_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let parent = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        let site = Site::new(&parent.join("site"));
        let failed = attempt(&site, |place, _| {
            assert!(place.exists() && !site.data.exists());
            Err(anyhow!("cut off"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "cut off");
        assert_eq!(parent.read_dir_utf8().unwrap().count(), 0, "nothing is left behind");

        fs::create_dir(parent.join(".site.77.new")).unwrap();
        fs::create_dir(parent.join(".site.x.new")).unwrap();
        clean(&site.data).unwrap();
        assert!(!parent.join(".site.77.new").exists() && parent.join(".site.x.new").exists());

        attempt(&site, |_, _| Ok(())).unwrap();
        assert!(site.exists() && site.keys().unseal("correct horse").is_ok());
        let again = attempt(&site, |_, _| Ok(()));
        assert!(again.unwrap_err().to_string().contains("already contains a site"));
        let other = Site::new(&parent.join(".site.x.new"));
        fs::write(other.data.join("f"), "").unwrap();
        assert!(attempt(&other, |_, _| Ok(())).unwrap_err().to_string().contains("is not empty"));
    }
}
