//! The Debian installer as served by the seed: its files, and the preseed file for each machine.

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use cluster_seed::ids::{Hostname, Mac};
use cluster_seed::progress::Quiet;
use host::files::digest_file;
use image::preseed::{From, Preseed};
use site::hint::Hint as _;
use site::store::Store;
use site::{Site, snapshots};

/// Where the installer finds packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// At the seed, over HTTP.
    Seed,
    /// On its own medium.
    Cdrom,
}

/// The names under which the installer's files are served, and their names in [`folder`].
pub const FILES: &[(&str, &str)] = &[("di-linux", "linux"), ("di-initrd.gz", "initrd.gz"), ("kubedos-node", "kubedos-node")];

/// The folder written by `seedd installer prepare`.
pub fn folder(site: &Site) -> Utf8PathBuf {
    site.join("installer")
}

/// The name of a machine that is not a node yet: `m-` and its MAC address.
fn name_of(mac: Mac) -> Result<Hostname> {
    let hex: String = mac.to_string().chars().filter(|c| *c != ':').collect();
    format!("m-{hex}").parse().context("naming the machine")
}

/// The preseed file for one machine. It is public: it contains no secrets.
///
/// # Errors
/// When `seedd installer prepare` was not run, or there is no snapshot.
pub fn preseed(site: &Site, store: &Store, mac: Mac, disk: Option<String>, medium: Medium) -> Result<String> {
    let spec = site.spec()?;
    let snapshot = snapshots::one(site, store, snapshots::current(store)?)?;
    let seed = spec.spec.networking.underlay.seed.value;
    let agent = folder(site).join("kubedos-node");
    let (_, agent) = digest_file(&agent, &Quiet).hint("`seedd installer prepare` puts it there")?;
    let from = match medium {
        Medium::Seed => From::Seed { host: seed.to_string(), path: format!("/darksite/{}", snapshot.manifest.id) },
        Medium::Cdrom => From::Cdrom,
    };
    let mut packages: Vec<String> = image::node_assets::NODE_PACKAGES.iter().map(|p| (*p).to_owned()).collect();
    packages.sort();
    let preseed = Preseed {
        hostname: name_of(mac)?,
        domain: spec.spec.networking.domain,
        suite: snapshot.manifest.suite,
        from,
        seed_url: format!("http://{seed}"),
        site_key: site.keys().public()?.site,
        disk,
        packages,
        agent,
    };
    Ok(preseed.render()?)
}
