//! `seedd init`

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use clap::Args;
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::ids::Hostname;

use super::{PassphraseSource, Where, show};
use crate::app::now;
use crate::fsio::write_whole;
use crate::hint::Hint as _;
use crate::keys::PublicKeys;
use crate::site::{Site, default_cluster_yaml, read_spec, setting};
use crate::store::Store;

#[derive(Args)]
pub struct Init {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Name of the site: one label of a-z, 0-9 and -
    #[arg(long, default_value = "site-a")]
    name: Hostname,
    /// Start from this cluster.yaml instead of the commented default
    #[arg(long, value_name = "FILE")]
    cluster: Option<Utf8PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Init {
    pub fn run(&self) -> Result<()> {
        let site = self.place.site();
        if site.exists() {
            return Err(anyhow!("{} holds a site already", site.data)).hint("use another --data; a site is never overwritten");
        }
        let (text, spec) = match &self.cluster {
            Some(file) => (std::fs::read_to_string(file).with_context(|| format!("reading {file}"))?, read_spec(file)?),
            None => {
                let text = default_cluster_yaml(self.name.as_str());
                let spec = ClusterSpec::parse(&text).context("checking the default cluster.yaml")?;
                (text, spec)
            }
        };
        let passphrase = self.passphrase.get("New passphrase for the site's keys")?;
        if self.passphrase.passphrase_file.is_none() && *self.passphrase.get("The same again")? != *passphrase {
            return Err(anyhow!("the two passphrases differ")).hint("nothing was made; try again");
        }
        // Everything is made aside and renamed at the end: a site is there wholly or not at all.
        let place = aside(&site.data)?;
        let made = fill(&place, &site, &text, &spec, &passphrase);
        let _ = std::fs::remove_dir_all(&place.data);
        let public = made?;
        let value = serde_json::json!({"data": site.data, "siteKey": public.site, "cluster": site.cluster_file()});
        let text = format!(
            "site {} made in {}\n  site key   {}\n  next       edit {}, then `seedd darksite build`",
            spec.metadata.name,
            site.data,
            public.site,
            site.cluster_file()
        );
        show(self.json, &value, &text)
    }
}

/// Makes everything in `place` and moves it to `site`.
fn fill(place: &Site, site: &Site, text: &str, spec: &ClusterSpec, passphrase: &str) -> Result<PublicKeys> {
    place.make_folders()?;
    let planes: Vec<String> = spec.spec.networking.planes.keys().cloned().collect();
    let seconds = i64::try_from(now()).context("reading the clock")?;
    let public = place.keys().create(passphrase, spec.metadata.name.as_str(), &planes, seconds)?;
    write_whole(&place.cluster_file(), text.as_bytes(), 0o644)?;
    let store = Store::open(&place.database()).context("making the database")?;
    store.set(setting::EPOCH, "1")?;
    drop(store);
    std::fs::create_dir_all(&site.data).with_context(|| format!("making {}", site.data))?;
    for entry in std::fs::read_dir(&place.data).context("listing the new site")? {
        let entry = entry?;
        let target = site.data.join(entry.file_name().to_string_lossy().as_ref());
        // The database last: its presence says that the site is complete.
        if entry.file_name() != "seed.db" {
            std::fs::rename(entry.path(), &target).with_context(|| format!("making {target}"))?;
        }
    }
    std::fs::rename(place.database(), site.database()).context("placing the database")?;
    Ok(public)
}

fn aside(data: &camino::Utf8Path) -> Result<Site> {
    if data.exists() && data.read_dir().with_context(|| format!("reading {data}"))?.next().is_some() {
        return Err(anyhow!("{data} is not empty")).hint("use an empty or new directory for --data");
    }
    let parent = data.parent().filter(|p| !p.as_str().is_empty()).unwrap_or(camino::Utf8Path::new("."));
    std::fs::create_dir_all(parent).with_context(|| format!("making {parent}"))?;
    let name = format!(".{}.{}.new", data.file_name().unwrap_or("site"), std::process::id());
    let place = parent.join(name);
    std::fs::create_dir(&place).with_context(|| format!("making {place}"))?;
    Ok(Site::new(&place))
}
