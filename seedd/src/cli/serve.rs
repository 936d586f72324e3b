//! `seedd serve`

use std::net::{SocketAddr, SocketAddrV4};

use anyhow::{Context as _, Result, anyhow};
use appliance::console::host::Host;
use clap::Args;
use cluster_seed::repo::RepoMode;
use site::hint::Hint as _;
use site::tls::check_plain;

use super::args::{DataDir, PassphraseSource};
use crate::daemon::{Options, serve};
use crate::planes::WireGuard;
use crate::upstream::upstream_sources;

/// HTTP port for machines.
const HTTP_PORT: u16 = 80;

#[derive(Args)]
pub struct Serve {
    #[command(flatten)]
    args: DataDir,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Interface that machines netboot on; DHCP and TFTP answer on no other
    #[arg(long, value_name = "IFACE")]
    iface: String,
    /// HTTP address and port for machines [default: the seed's address in cluster.yaml, port 80]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddrV4>,
    /// HTTPS address and port of the web interface; use 0.0.0.0:443 to listen on all interfaces. Socket activation
    /// (LISTEN_FDS) overrides this
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8443")]
    pages: SocketAddr,
    /// WireGuard implementation for the seed's planes
    #[arg(long, value_enum, default_value = "auto")]
    wireguard: WireGuard,
    /// Where nodes get packages from: connected, darksite or both; overrides cluster.yaml
    #[arg(long, env = "REPO_MODE", value_name = "MODE")]
    repo_mode: Option<RepoMode>,
    /// Serve the web interface over plain HTTP, for a tunnel that ends on this machine; loopback addresses only
    #[arg(long)]
    pages_without_tls: bool,
}

impl Serve {
    pub fn run(&self) -> Result<()> {
        let site = self.args.site().with_repo_mode(self.repo_mode);
        let spec = site.open_store().and_then(|_| site.spec())?;
        if spec.spec.darksite.mode.uses_upstream() {
            upstream_sources(&spec).context("checking the repository mode")?;
        }
        if self.pages_without_tls {
            check_plain(self.pages)?;
        }
        let iface = std::path::Path::new("/sys/class/net").join(&self.iface);
        if self.iface.is_empty() || self.iface.contains('/') || !iface.exists() {
            let mut known: Vec<String> = std::fs::read_dir("/sys/class/net")
                .context("listing interfaces")?
                .filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned()))
                .collect();
            known.sort();
            return Err(anyhow!("no interface named {:?}", self.iface))
                .hint(format!("interfaces of this machine: {}", known.join(", ")));
        }
        let listen = self.listen.unwrap_or(SocketAddrV4::new(spec.spec.networking.underlay.seed.value, HTTP_PORT));
        let options = Options {
            iface: self.iface.clone(),
            listen,
            pages: self.pages,
            pages_without_tls: self.pages_without_tls,
            wireguard: self.wireguard,
            passphrase: self.passphrase.given()?,
            host: Host::server(&site.data),
            control: None,
            front: None,
            own_network: false,
            lasting: Vec::new(),
        };
        serve(site, options)
    }
}
