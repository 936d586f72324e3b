//! A site on disk: the data directory and what lies where.

use std::fs;

use anyhow::{Context as _, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::cluster::{ClusterSpec, MAX_SPEC, SpecError};
use cluster_seed::ids::{Digest, Hostname};

use crate::fsio::read_limited;
use crate::hint::Hint as _;
use crate::keys::KeyDir;
use crate::store::Store;

/// Folders of a data directory.
const FOLDERS: &[&str] = &["blobs/sha256", "snapshots", "artifacts", "netboot", "cache", "keys", "tmp"];

/// Names of settings in the database.
pub mod setting {
    pub const SNAPSHOT: &str = "snapshot";
    pub const NETBOOT: &str = "netboot";
    /// Followed by the role's name.
    pub const ARTIFACT: &str = "artifact:";
    pub const PEERS: &str = "peers";
    pub const EPOCH: &str = "epoch";
}

/// The data directory.
#[derive(Debug, Clone)]
pub struct Site {
    pub data: Utf8PathBuf,
}

impl Site {
    pub fn new(data: &Utf8Path) -> Self {
        Site { data: data.to_owned() }
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

    pub fn keys(&self) -> KeyDir {
        KeyDir::new(&self.join("keys"))
    }

    pub fn control_socket(&self) -> Utf8PathBuf {
        self.join("seedd.sock")
    }

    pub fn blob(&self, digest: Digest) -> Utf8PathBuf {
        let hex = digest.to_string();
        self.data.join("blobs/sha256").join(&hex[..2]).join(&hex)
    }

    pub fn exists(&self) -> bool {
        self.database().exists()
    }

    pub fn make_folders(&self) -> Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        for folder in FOLDERS {
            fs::create_dir_all(self.join(folder)).with_context(|| format!("making {}", self.join(folder)))?;
        }
        for private in ["keys", "tmp"] {
            let mode = fs::Permissions::from_mode(0o700);
            fs::set_permissions(self.join(private), mode).with_context(|| format!("protecting {private}"))?;
        }
        Ok(())
    }

    pub fn open_store(&self) -> Result<Store> {
        if !self.exists() {
            return Err(anyhow!("{} holds no site", self.data)).hint("make one with `seedd init`, or name it with --data");
        }
        Store::open(&self.database()).with_context(|| format!("opening seed database {}", self.database()))
    }

    pub fn spec(&self) -> Result<ClusterSpec> {
        read_spec(&self.cluster_file())
    }
}

/// Reads and checks a cluster.yaml; an error names file, line and column.
pub fn read_spec(path: &Utf8Path) -> Result<ClusterSpec> {
    let bytes = read_limited(path, MAX_SPEC as u64)?;
    let text = String::from_utf8(bytes).with_context(|| format!("reading {path} as UTF-8"))?;
    ClusterSpec::parse(&text).map_err(|e| spec_error(path, e))
}

fn spec_error(path: &Utf8Path, e: SpecError) -> anyhow::Error {
    let place = if e.line > 0 { format!("{path}:{}:{}", e.line, e.column) } else { path.to_string() };
    let error: Result<()> = Err(anyhow!("{place}: {}", e.message));
    match e.hint {
        Some(hint) => error.hint(hint),
        None => error.hint("`seedd cluster check` reads it without changing anything"),
    }
    .err()
    .unwrap_or_else(|| anyhow!("{place}"))
}

/// The seed's own name among the nodes.
pub fn seed_hostname(spec: &ClusterSpec) -> Result<Hostname> {
    format!("seed.{}", spec.spec.networking.domain).parse().context("naming the seed")
}

/// The comment-rich file that `seedd init` writes.
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
}
