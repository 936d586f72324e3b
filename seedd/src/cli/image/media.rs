//! The media that `seedd image build` makes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context as _, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::manifest::{ArtifactManifest, NetbootManifest};
use image::{EnrollIso, EnrollMedium, SeedIso, SeedMedium};
use pxe::script::SeedUrl;
use serde_json::json;
use site::Site;

use crate::kernel_line::{HTTP, default_seed, parameters};
use crate::terminal::{Terminal, amount};

/// A finished medium.
pub enum Medium {
    Seed { file: Utf8PathBuf, made: SeedIso },
    Enroll { site: String, seed: SeedUrl, made: EnrollIso },
}

impl Medium {
    pub fn value(&self) -> serde_json::Value {
        match self {
            Medium::Seed { file, made } => {
                json!({"id": made.manifest.id, "file": file, "size": made.size, "system": made.system})
            }
            Medium::Enroll { seed, made, .. } => json!({
                "id": made.manifest.id, "file": made.file, "size": made.manifest.size, "sha256": made.manifest.sha256,
                "seed": seed.to_string(), "siteKey": made.site_key,
            }),
        }
    }

    pub fn text(&self) -> String {
        match self {
            Medium::Seed { file, made } => {
                let (size, system) = (amount(made.size), amount(made.system));
                format!("medium {}  {file}, {size}; {system} without darksite and artifacts", made.manifest.id.short())
            }
            Medium::Enroll { site, seed, made } => {
                let (id, size) = (made.manifest.id.short(), amount(made.manifest.size));
                let (file, sha256, key) = (&made.file, made.manifest.sha256, &made.site_key);
                format!("medium {id}  {file}, {size}, sha256 {sha256}\n  enrolls at {site} ({seed}), site key {key}")
            }
        }
    }
}

/// The seed's own medium.
pub struct Seed<'a> {
    pub out: Option<&'a Utf8PathBuf>,
    pub seedd: Option<&'a Utf8PathBuf>,
    pub artifacts: &'a BTreeMap<String, ArtifactManifest>,
}

impl Seed<'_> {
    pub fn build(&self, site: &Site, inputs: &image::Inputs, netboot: &NetbootManifest, progress: &Terminal) -> Result<Medium> {
        let own = std::env::current_exe().context("finding the path of this program")?;
        let own = Utf8PathBuf::from_path_buf(own).map_err(|p| anyhow!("this program's path is not UTF-8: {}", p.display()))?;
        let cluster = site.cluster_file();
        let what = SeedMedium {
            seedd: self.seedd.unwrap_or(&own),
            version: env!("CARGO_PKG_VERSION"),
            cluster: &cluster,
            netboot,
            artifacts: self.artifacts,
        };
        let media = site.join("media");
        let out = self.out.cloned().unwrap_or_else(|| media.join("seed.iso"));
        let made = image::build_seed_iso(inputs, &what, &out, progress).context("building the seed medium")?;
        if self.out.is_some() {
            return Ok(Medium::Seed { file: out, made });
        }
        let file = media.join(format!("seed-{}.iso", made.manifest.id.short()));
        std::fs::rename(&out, &file).with_context(|| format!("naming {file}"))?;
        Ok(Medium::Seed { file, made })
    }
}

/// A medium that machines enroll from.
pub struct Enroll<'a> {
    pub out: Option<&'a Utf8Path>,
    /// Where the seed answers; none: at the address in cluster.yaml.
    pub seed: Option<SeedUrl>,
    pub spec: &'a ClusterSpec,
}

impl Enroll<'_> {
    pub fn build(&self, site: &Site, inputs: &image::Inputs, netboot: &NetbootManifest, progress: &Terminal) -> Result<Medium> {
        let seed = self.seed.unwrap_or_else(|| default_seed(self.spec));
        let parameters = parameters(self.spec)?;
        let name = self.spec.metadata.name.to_string();
        let what = EnrollMedium { site: &name, seed: &seed.to_string(), parameters: &parameters, netboot };
        let made = image::build_enroll_iso(inputs, &what, &site.join("media"), self.out, progress);
        Ok(Medium::Enroll { site: name, seed, made: made.context("building the enrollment medium")? })
    }
}

/// Parses --seed: an address, so that a booting machine needs no name server.
pub fn seed_url(text: &str) -> Result<SeedUrl, String> {
    let host = text.strip_prefix("http://").map(|host| host.strip_suffix('/').unwrap_or(host));
    let at = host.and_then(|h| h.parse().ok().or_else(|| h.parse::<Ipv4Addr>().ok().map(|ip| SocketAddrV4::new(ip, HTTP))));
    at.map(SeedUrl).ok_or_else(|| "expected http://ADDRESS or http://ADDRESS:PORT with an IPv4 address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_is_an_address_and_a_port() {
        for (text, shown) in [
            ("http://10.44.0.1", "http://10.44.0.1"),
            ("http://10.44.0.1/", "http://10.44.0.1"),
            ("http://10.44.0.1:80", "http://10.44.0.1"),
            ("http://10.44.0.1:8080", "http://10.44.0.1:8080"),
        ] {
            assert_eq!(seed_url(text).map(|s| s.to_string()).as_deref(), Ok(shown), "{text}");
        }
        for bad in
            ["", "10.44.0.1", "https://10.44.0.1", "http://seed", "http://10.44.0.1/x", "http://10.44.0.1:x", "http://[::1]"]
        {
            assert!(seed_url(bad).is_err(), "{bad}");
        }
    }
}
