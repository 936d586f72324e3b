//! `seedd init`

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use clap::Args;
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::ids::Hostname;
use cluster_seed::secret::SCRYPT_LOG_N;
use host::clock::now;
use site::create::{NewSite, create};
use site::hint::Hint as _;
use site::{default_cluster_yaml, read_spec};

use super::args::{PassphraseSource, SiteArgs};
use super::prompt::ask_new_secret;

#[derive(Args)]
pub struct Init {
    #[command(flatten)]
    args: SiteArgs,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Name of the site: a single label of a-z, 0-9 and -
    #[arg(long, default_value = "site-a")]
    name: Hostname,
    /// Start from this cluster.yaml instead of the default one
    #[arg(long, value_name = "FILE")]
    cluster: Option<Utf8PathBuf>,
}

impl Init {
    pub fn run(&self) -> Result<()> {
        let site = self.args.site();
        if site.exists() {
            return Err(anyhow!("{} already contains a site", site.data)).hint("use another --data; a site is never overwritten");
        }
        let (text, spec) = match &self.cluster {
            Some(file) => (std::fs::read_to_string(file).with_context(|| format!("reading {file}"))?, read_spec(file)?),
            None => {
                let text = default_cluster_yaml(self.name.as_str());
                let spec = ClusterSpec::parse(&text).context("checking the default cluster.yaml")?;
                (text, spec)
            }
        };
        let passphrase = match self.passphrase.given()? {
            Some(passphrase) => passphrase,
            None => ask_new_secret("New passphrase for the site's keys")?,
        };
        let new = NewSite { text: &text, spec: &spec, passphrase: &passphrase, now: now(), work: SCRYPT_LOG_N };
        let (public, ()) = create(&site, &new, |_, _| Ok(()))?;
        let value = serde_json::json!({"data": site.data, "siteKey": public.site, "cluster": site.cluster_file()});
        let text = format!(
            "site {} created in {}\n  site key   {}\n  next       edit {}, then `seedd darksite build`",
            spec.metadata.name,
            site.data,
            public.site,
            site.cluster_file()
        );
        self.args.show(&value, &text)
    }
}
