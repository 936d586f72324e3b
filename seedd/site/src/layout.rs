//! A site on disk: the layout of the data directory.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::cluster::{ClusterSpec, MAX_SPEC, SpecError};
use cluster_seed::ids::{Digest, Hostname};
use cluster_seed::overlay::{self, Change, Overlay};
use cluster_seed::repo::RepoMode;
use host::files::{Access, open_device, open_dir, read_limited, read_with_owner, write_atomic, write_like};
use nix::libc::O_DIRECTORY;

use crate::hint::Hint as _;

/// Name of the daemon's control socket.
pub const CONTROL_SOCKET: &str = "seedd.sock";

/// The cluster.yaml that was replaced.
const FORMER: &str = "cluster.yaml.former";

/// Folders of a data directory.
const FOLDERS: &[&str] =
    &["blobs/sha256", "snapshots", "proofs", "extras", "payloads", "artifacts", "netboot", "cache", "keys", "tmp"];

/// The data directory.
#[derive(Debug, Clone)]
pub struct Site {
    pub data: Utf8PathBuf,
    /// Overrides `darksite.mode` of cluster.yaml.
    repo_mode: Option<RepoMode>,
}

impl Site {
    pub fn new(data: &Utf8Path) -> Self {
        Site { data: data.to_owned(), repo_mode: None }
    }

    /// Overrides where nodes get their packages from (`darksite.mode` of cluster.yaml), if given.
    pub fn with_repo_mode(self, repo_mode: Option<RepoMode>) -> Self {
        Site { repo_mode, ..self }
    }

    pub fn join(&self, name: &str) -> Utf8PathBuf {
        self.data.join(name)
    }

    pub fn cluster_file(&self) -> Utf8PathBuf {
        self.join("cluster.yaml")
    }

    pub fn database(&self) -> Utf8PathBuf {
        self.join("seed.db")
    }

    pub fn control_socket(&self) -> Utf8PathBuf {
        self.join(CONTROL_SOCKET)
    }

    pub fn blob(&self, digest: Digest) -> Utf8PathBuf {
        let hex = digest.to_string();
        self.data.join("blobs/sha256").join(&hex[..2]).join(&hex)
    }

    pub fn exists(&self) -> bool {
        self.database().exists()
    }

    /// Creates what is missing, and [protects](Self::protect) it.
    pub fn make_folders(&self) -> Result<()> {
        for folder in FOLDERS {
            fs::create_dir_all(self.join(folder)).with_context(|| format!("creating {}", self.join(folder)))?;
        }
        self.protect()
    }

    /// Closes the data directory to everybody but its owner; versions before left it readable. Nobody else needs it:
    /// machines, apt and time clients get what they may have over the network.
    ///
    /// The data directory itself may be a link. In it root follows none: its owner could make root close any folder of the system.
    pub fn protect(&self) -> Result<()> {
        let is_root = nix::unistd::geteuid().is_root();
        for folder in ["", "keys", "tmp"] {
            let path = self.join(folder);
            let open = match is_root && !folder.is_empty() {
                true => open_dir(&path),
                false => open_device(&path, Access::Read, O_DIRECTORY),
            };
            let open = open.with_context(|| format!("looking at {path}"));
            let open = match is_root && path.is_symlink() {
                true => open.hint(
                    "as root, seedd follows no link in the data directory: mount the folder there instead (mount --bind)",
                )?,
                false => open?,
            };
            let mode = open.metadata().with_context(|| format!("looking at {path}"))?.permissions().mode();
            if mode & 0o077 != 0 {
                let closed = fs::Permissions::from_mode(mode & 0o7700);
                open.set_permissions(closed).with_context(|| format!("protecting {path}"))?;
            }
        }
        Ok(())
    }

    /// The file that overrides the underlay of cluster.yaml at this location.
    pub fn overlay_file(&self) -> Utf8PathBuf {
        self.join("overlay.yaml")
    }

    /// cluster.yaml, with the overlay of this location if there is one.
    pub fn spec(&self) -> Result<ClusterSpec> {
        self.spec_from(&self.cluster_file()).map(|(spec, _)| spec)
    }

    /// The same as if `file` were this site's cluster.yaml, and the text that was read.
    pub fn spec_from(&self, file: &Utf8Path) -> Result<(ClusterSpec, String)> {
        let text = read_text(file)?;
        let spec = self.spec_of(&text)?.map_err(|e| spec_error(file, e))?;
        Ok((spec, text))
    }

    /// The same as if `text` were this site's cluster.yaml; a problem in the text has its position there.
    pub fn spec_of(&self, text: &str) -> Result<Result<ClusterSpec, SpecError>> {
        let base = match ClusterSpec::parse(text) {
            Ok(base) => base,
            Err(problem) => return Ok(Err(problem)),
        };
        let path = self.overlay_file();
        let mut spec = match path.exists() {
            true => read_overlay(&path)?.apply(&base).map_err(|e| spec_error(&path, e))?,
            false => base,
        };
        spec.spec.darksite.mode = self.repo_mode.unwrap_or(spec.spec.darksite.mode);
        Ok(Ok(spec))
    }

    /// The text of cluster.yaml as it is.
    pub fn cluster_text(&self) -> Result<String> {
        read_text(&self.cluster_file())
    }

    /// Replaces cluster.yaml and keeps the file that was there; false if the text is the same.
    pub fn replace_cluster_text(&self, text: &str) -> Result<bool> {
        let own = self.cluster_file();
        let (former, held) = read_with_owner(&own, MAX_SPEC as u64)?;
        if former == text.as_bytes() {
            return Ok(false);
        }
        // The seed's own user has to read what root writes here.
        write_like(&self.join(FORMER), &former, &held)?;
        write_like(&own, text.as_bytes(), &held)?;
        Ok(true)
    }

    /// Stores the overlay from `file` for the next start; `None` removes it. Returns the changes. Nothing is written if there are
    /// no changes or `only_look` is set.
    pub fn set_overlay(&self, file: Option<&Utf8Path>, only_look: bool) -> Result<Vec<Change>> {
        let text = file.map(read_text).transpose()?;
        self.set_overlay_text(file.map_or("", Utf8Path::as_str), text.as_deref(), only_look)
    }

    /// Like [`Site::set_overlay`], with the overlay's text; `name` is used in errors.
    pub fn set_overlay_text(&self, name: &str, text: Option<&str>, only_look: bool) -> Result<Vec<Change>> {
        let base = read_spec(&self.cluster_file())?;
        let held = self.spec()?;
        let name = Utf8Path::new(name);
        let wanted = match text {
            Some(text) => {
                let overlay = Overlay::parse(text).map_err(|e| spec_error(name, e))?;
                overlay.apply(&base).map_err(|e| spec_error(name, e))?
            }
            None => base,
        };
        let changes = overlay::changes(&held.spec.networking.underlay, &wanted.spec.networking.underlay);
        if changes.is_empty() || only_look {
            return Ok(changes);
        }
        match text {
            Some(text) => write_atomic(&self.overlay_file(), text.as_bytes(), 0o644)?,
            None => fs::remove_file(self.overlay_file()).with_context(|| format!("removing {}", self.overlay_file()))?,
        }
        Ok(changes)
    }
}

/// Entries of a folder whose names are digests.
pub fn ids(folder: &Utf8Path) -> Result<Vec<Digest>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in folder.read_dir_utf8().with_context(|| format!("listing {folder}"))? {
        found.extend(entry?.file_name().parse::<Digest>().ok());
    }
    found.sort();
    Ok(found)
}

/// Reads and checks a cluster.yaml; errors contain file, line and column.
pub fn read_spec(path: &Utf8Path) -> Result<ClusterSpec> {
    let text = read_text(path)?;
    ClusterSpec::parse(&text).map_err(|e| spec_error(path, e))
}

fn read_text(path: &Utf8Path) -> Result<String> {
    let bytes = read_limited(path, MAX_SPEC as u64)?;
    String::from_utf8(bytes).with_context(|| format!("reading {path} as UTF-8"))
}

fn read_overlay(path: &Utf8Path) -> Result<Overlay> {
    let text = read_text(path)?;
    Overlay::parse(&text).map_err(|e| spec_error(path, e))
}

fn spec_error(path: &Utf8Path, e: SpecError) -> anyhow::Error {
    let place = if e.line > 0 { format!("{path}:{}:{}", e.line, e.column) } else { path.to_string() };
    let error: Result<()> = Err(anyhow!("{place}: {}", e.message));
    match e.hint {
        Some(hint) => error.hint(hint),
        None => error.hint("`seedd cluster check` checks it without changing anything"),
    }
    .err()
    .unwrap_or_else(|| anyhow!("{place}"))
}

/// The seed's own name among the nodes.
pub fn seed_hostname(spec: &ClusterSpec) -> Result<Hostname> {
    format!("seed.{}", spec.spec.networking.domain).parse().context("forming the seed's host name")
}

/// The commented file that `seedd init` writes.
pub fn default_cluster_yaml(name: &str) -> String {
    include_str!("cluster.yaml").replace("@NAME@", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_init_writes_is_a_good_one() {
        let spec = ClusterSpec::parse(&default_cluster_yaml("site-a")).unwrap();
        assert_eq!(spec.metadata.name.as_str(), "site-a");
        let planes: Vec<_> = spec.spec.networking.planes.keys().cloned().collect();
        assert_eq!(planes, ["wg1", "wg2", "wg3"]);
    }

    #[test]
    fn a_replaced_file_is_kept_and_a_problem_has_its_position() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(Utf8Path::from_path(dir.path()).unwrap());
        let text = default_cluster_yaml("site-a");
        fs::write(site.cluster_file(), &text).unwrap();
        assert!(!site.replace_cluster_text(&text).unwrap() && !site.join(FORMER).exists());
        let changed = format!("{text}# a comment\n");
        assert!(site.replace_cluster_text(&changed).unwrap());
        assert_eq!((site.cluster_text().unwrap(), fs::read_to_string(site.join(FORMER)).unwrap()), (changed, text));
        let problem = site.spec_of("apiVersion: kubedos/v1alpha1\nkind: Nothing\n").unwrap().unwrap_err();
        assert!(problem.line > 0, "{problem}");
    }

    /// Root would keep a copy of it that the seed's user can read.
    #[test]
    fn a_cluster_file_that_is_a_link_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(Utf8Path::from_path(dir.path()).unwrap());
        let elsewhere = site.join("elsewhere");
        fs::write(&elsewhere, "of root\n").unwrap();
        std::os::unix::fs::symlink(&elsewhere, site.cluster_file()).unwrap();
        assert!(site.replace_cluster_text(&default_cluster_yaml("site-a")).is_err());
        assert!(!site.join(FORMER).exists() && site.cluster_file().is_symlink());
        assert_eq!(fs::read_to_string(elsewhere).unwrap(), "of root\n");
    }

    #[test]
    fn an_overlay_is_kept_shown_and_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(Utf8Path::from_path(dir.path()).unwrap());
        fs::write(site.cluster_file(), default_cluster_yaml("site-a")).unwrap();
        let file = site.join("b.yaml");
        let good = "apiVersion: kubedos/v1alpha1\nkind: UnderlayOverlay\nunderlay:\n  subnet: 10.45.0.0/24\n  seed: 10.45.0.1\n  \
                    pool: {first: 10.45.0.100, last: 10.45.0.199}\n";
        fs::write(&file, good).unwrap();
        assert_eq!(site.set_overlay(Some(&file), true).unwrap().len(), 3);
        assert!(!site.overlay_file().exists(), "it only looked");
        assert_eq!(site.set_overlay(Some(&file), false).unwrap().len(), 3);
        assert_eq!(site.spec().unwrap().spec.networking.underlay.seed.value.to_string(), "10.45.0.1");
        assert!(site.set_overlay(Some(&file), false).unwrap().is_empty(), "twice is once");
        fs::write(&file, good.replace("10.45.0.0/24", "10.78.0.0/16")).unwrap();
        let refused = site.set_overlay(Some(&file), false).unwrap_err().to_string();
        assert!(refused.contains("b.yaml:4:") && refused.contains("overlaps plane wg1"), "{refused}");
        assert_eq!(site.spec().unwrap().spec.networking.underlay.seed.value.to_string(), "10.45.0.1", "the old one stays");
        assert_eq!(site.set_overlay(None, false).unwrap().len(), 3);
        assert_eq!(site.spec().unwrap().spec.networking.underlay.seed.value.to_string(), "10.44.0.1");
    }
}
