//! What the daemon is told: `/etc/kubedos-flow.json`, which the play `flow` writes, and the node's identity and peer list.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::cluster::CONTROL_PLANE;
use cluster_seed::ids::Hostname;
use cluster_seed::peers::PeersFile;
use host::files::{FileError, read_limited};
use payload::state::{NodeDir, StateError};
use serde::{Deserialize, Serialize};

use crate::names::Range;
use crate::ports::Ports;

/// Plane that Prometheus scrapes on, where it exists.
pub const METRICS_PLANE: &str = "wg2";
/// Largest file of settings, in bytes.
const MAX_CONFIG: u64 = 1 << 20;
/// Most ranges of addresses.
pub const MAX_RANGES: usize = 1024;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{path} is not valid")]
    Json { path: Utf8PathBuf, source: serde_json::Error },
    #[error("{path} has more than {MAX_RANGES} ranges")]
    Ranges { path: Utf8PathBuf },
    #[error("reading this node's identity and peer list")]
    State(#[from] StateError),
    #[error("{0} has no address on a plane for metrics")]
    NoAddress(Hostname),
}

/// Every key is optional.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Interface of the boot network; empty for the one with the node's address there.
    pub underlay: String,
    /// Addresses behind nodes, as pods.
    pub ranges: Vec<Range>,
    /// Ports that are allowed besides those of [`Allowed::defaults`](crate::ports::Allowed::defaults), per plane.
    pub allow: BTreeMap<String, Vec<Ports>>,
}

impl Config {
    /// The defaults if the file is missing.
    ///
    /// # Errors
    /// If it cannot be read, or has unknown keys.
    pub fn read(path: &Utf8Path) -> Result<Self, ConfigError> {
        let bytes = match read_limited(path, MAX_CONFIG) {
            Err(e) if e.is_not_found() => return Ok(Config::default()),
            bytes => bytes?,
        };
        let config: Config =
            serde_json::from_slice(&bytes).map_err(|source| ConfigError::Json { path: path.to_owned(), source })?;
        if config.ranges.len() > MAX_RANGES {
            return Err(ConfigError::Ranges { path: path.to_owned() });
        }
        Ok(config)
    }
}

/// This node among its peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    pub me: Hostname,
    pub peers: PeersFile,
    /// TCP port of the seed's HTTP server.
    pub seed_port: u16,
}

impl Site {
    /// From the node's state directory; the list is verified.
    ///
    /// # Errors
    /// If there is no identity, or no list that the site signed.
    pub fn of_node(dir: &Utf8Path) -> Result<Self, ConfigError> {
        let dir = NodeDir::new(dir);
        let identity = dir.identity()?;
        let peers = dir.peers(&identity)?;
        Ok(Site { seed_port: port_of(&identity.info.seed_url), me: identity.info.hostname, peers })
    }

    /// From a file without a signature, `{"me": "n1.lan", "peers": {…}}`: for tests and for hosts without Kubedos.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of_file(path: &Utf8Path) -> Result<Self, ConfigError> {
        #[derive(Deserialize)]
        struct Unsigned {
            me: Hostname,
            peers: PeersFile,
        }
        let json = |source| ConfigError::Json { path: path.to_owned(), source };
        let Unsigned { me, peers } = serde_json::from_slice(&read_limited(path, MAX_CONFIG)?).map_err(json)?;
        Ok(Site { me, peers, seed_port: port_of("") })
    }

    /// This node's address for metrics.
    ///
    /// # Errors
    /// If the list has none.
    pub fn metrics_address(&self) -> Result<Ipv4Addr, ConfigError> {
        let own = self.peers.nodes.get(&self.me).map(|node| &node.addresses);
        let found = own.and_then(|addresses| addresses.get(METRICS_PLANE).or_else(|| addresses.get(CONTROL_PLANE)));
        found.copied().ok_or_else(|| ConfigError::NoAddress(self.me.clone()))
    }

    /// This node's address on the boot network.
    pub fn endpoint(&self) -> Option<IpAddr> {
        self.peers.nodes.get(&self.me)?.endpoint.map(IpAddr::V4)
    }
}

/// Of `http://10.44.0.1:8080`; 80 if the URL names none.
fn port_of(url: &str) -> u16 {
    let authority = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
    authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(80)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::peers;

    #[test]
    fn the_port_of_the_seed() {
        for (url, port) in
            [("http://10.44.0.1", 80), ("http://10.44.0.1:8080", 8080), ("http://10.44.0.1:8080/x", 8080), ("", 80)]
        {
            assert_eq!(port_of(url), port, "{url}");
        }
    }

    #[test]
    fn settings_are_optional_and_strict() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("flow.json");
        assert_eq!(Config::read(&path).unwrap(), Config::default());
        for (text, good) in [
            ("{}", true),
            (r#"{"underlay":"ens3","allow":{"wg2":["tcp/9999"]}}"#, true),
            (r#"{"ranges":[{"cidr":"10.244.3.0/24","node":"n3.lan","plane":"wg3"}]}"#, true),
            (r#"{"allow":{"wg2":["9999"]}}"#, false),
            (r#"{"undrlay":"ens3"}"#, false),
            ("", false),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(Config::read(&path).is_ok(), good, "{text}");
        }
        let range = r#"{"cidr":"10.0.0.0/24","node":"n3.lan","plane":"wg3"}"#;
        for n in [MAX_RANGES, MAX_RANGES + 1] {
            std::fs::write(&path, format!(r#"{{"ranges":[{}]}}"#, vec![range; n].join(","))).unwrap();
            assert_eq!(Config::read(&path).is_ok(), n == MAX_RANGES);
        }
    }

    #[test]
    fn metrics_are_on_the_metrics_plane_or_the_first() {
        let mut site = Site { me: "n1.lan".parse().unwrap(), peers: peers(), seed_port: 80 };
        assert_eq!(site.metrics_address().unwrap().to_string(), "10.79.0.2");
        site.peers.nodes.get_mut(&site.me).unwrap().addresses.remove("wg2");
        assert_eq!(site.metrics_address().unwrap().to_string(), "10.78.0.2");
        site.me = "n9.lan".parse().unwrap();
        assert!(site.metrics_address().is_err());
    }
}
