//! The outputs that `seedd image build` makes of artifacts, and `seedd image targets` and `verify`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result, anyhow, bail};
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::foundry::{OutputSpec, Target};
use cluster_seed::join::JoinSpec;
use cluster_seed::manifest::{ArtifactManifest, NetbootManifest};
use cluster_seed::progress::Progress;
use image::foundry::verify::{self, Seen, VerifyError};
use image::foundry::{Order, Output, build_output};
use serde_json::{Value, json};
use site::Site;
use site::hint::{self, Hint as _};
use site::outputs::OUTPUTS;

use super::super::args::{SiteArgs, show};
use super::super::sbom;
use super::bundle;
use super::named::Named;
use super::what::What;
use crate::kernel_line::{default_seed, parameters};
use crate::terminal::{Terminal, amount, watch_signals};

/// In the directory of the outputs: the newest versions that `seedd image verify` saw.
const SEEN: &str = "seen.json";

/// Compression of a QCOW2 image.
#[derive(Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Compression {
    /// Smaller and faster; QEMU 5.1 and later
    #[default]
    Zstd,
    /// Read by every version of QEMU
    Zlib,
}

impl Compression {
    fn name(self) -> &'static str {
        match self {
            Compression::Zstd => "zstd",
            Compression::Zlib => "zlib",
        }
    }
}

// Settings of outputs.
#[derive(Args, Clone, Default)]
pub struct Settings {
    /// With --target qcow2 or packer-scaffold: compression
    #[arg(long, value_enum, default_value_t)]
    compression: Compression,
    /// With a target for machines that are not netbooted: join token of `seedd token create`, so that no code is entered
    #[arg(long, value_name = "TOKEN", env = "KUBEDOS_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// What every output of one run has in common.
pub struct Foundry<'a> {
    pub site: &'a Site,
    pub spec: &'a ClusterSpec,
    pub inputs: &'a image::Inputs<'a>,
    pub netboot: &'a NetbootManifest,
    pub settings: &'a Settings,
    /// The only node that the output is for.
    pub node: Option<&'a Named>,
    /// Base URL of the seed; none: at the address in cluster.yaml.
    pub seed: Option<pxe::script::SeedUrl>,
}

impl Foundry<'_> {
    /// Makes one output for each artifact, or one for all.
    pub fn build(
        &self,
        target: Target,
        artifacts: &BTreeMap<String, ArtifactManifest>,
        progress: &dyn Progress,
    ) -> Result<Vec<Output>> {
        if !target.of_role() {
            return Ok(vec![self.one(target, None, artifacts, progress)?]);
        }
        artifacts.values().map(|artifact| self.one(target, Some(artifact), artifacts, progress)).collect()
    }

    fn one(
        &self,
        target: Target,
        artifact: Option<&ArtifactManifest>,
        artifacts: &BTreeMap<String, ArtifactManifest>,
        progress: &dyn Progress,
    ) -> Result<Output> {
        if self.settings.token.is_some() && !target.has_settings() {
            return Err(anyhow!("an image of target {target} contains no join token")).hint("build it without --token");
        }
        let name = self.spec.metadata.name.to_string();
        let seed = self.seed.unwrap_or_else(|| default_seed(self.spec)).to_string();
        let site_key = cluster_seed::seal::key_text(&self.inputs.site_key.verifying_key());
        let token = match self.node {
            // A copy: a token is not `Clone`.
            Some(node) => Some(node.secret.to_text().parse().context("reading the token of the node")?),
            None => self.settings.token.as_deref().map(str::parse).transpose().context("reading --token")?,
        };
        let private = token.is_some();
        let join =
            JoinSpec { seed: Some(seed.clone()), site_key, token }.to_secret().context("encoding the settings of the node")?;
        let sbom = match artifact {
            Some(artifact) => sbom::of_artifact(self.site, artifact)?,
            None => sbom::of_snapshot(self.site, self.inputs.snapshot_id)?,
        };
        let order = Order {
            artifact,
            artifacts,
            netboot: self.netboot,
            parameters: &parameters(self.spec)?,
            target,
            node: self.node.map(|n| n.name.as_str()),
            site: &name,
            seed: &seed,
            join: join.expose(),
            private,
            sbom: &sbom,
            options: self.options(target),
            extra: if target == Target::PxeBundle { bundle::files(self.spec, &seed)? } else { Vec::new() },
            version: env!("CARGO_PKG_VERSION"),
            outputs: &self.site.join(OUTPUTS),
        };
        build_output(self.inputs, &order, progress).with_context(|| format!("building {target}"))
    }

    fn options(&self, target: Target) -> BTreeMap<String, String> {
        let mut options = BTreeMap::new();
        if matches!(target, Target::Qcow2 | Target::PackerScaffold) {
            options.insert(image::foundry::COMPRESSION.to_owned(), self.settings.compression.name().to_owned());
        }
        options
    }
}

/// Copies an output to a directory: every file, so that it can be verified there.
pub fn copy_out(output: &Output, out: &Utf8Path) -> Result<Utf8PathBuf> {
    let place = out.join(output.dir.file_name().unwrap_or("output"));
    image::foundry::copy(output, &place).with_context(|| format!("copying to {place}"))?;
    Ok(place)
}

pub fn value(output: &Output) -> Value {
    let size: u64 = output.manifest.files.iter().map(|f| f.size).sum();
    let spec = &output.manifest.spec;
    json!({
        "id": output.manifest.id, "target": spec.target, "role": spec.role, "node": spec.node, "version": spec.version,
        "containsSecret": spec.contains_secret, "directory": output.dir, "file": output.primary(), "size": size, "cached": output.cached,
        "sha256": output.manifest.files.iter().find(|f| f.name == output.manifest.primary).map(|f| f.sha256),
    })
}

/// What is added to a line about an output that contains a token.
fn secret(spec: &OutputSpec) -> &'static str {
    if spec.contains_secret { "; contains a secret: keep it like a password" } else { "" }
}

pub fn text(output: &Output) -> String {
    let spec = &output.manifest.spec;
    let role = spec.role.as_deref().map(|role| format!(" of role {role}")).unwrap_or_default();
    let size = amount(output.manifest.files.iter().map(|f| f.size).sum());
    let cached = if output.cached { ", built before" } else { "" };
    let secret = secret(spec);
    format!("{} {}{role}  {}, {size}{cached}{secret}", spec.target, output.manifest.id.short(), output.primary())
}

/// Below the list of targets.
const NOTES: &str = "
All run as root and need the passphrase and a snapshot (`seedd darksite build`).
The address of the seed is that in cluster.yaml, or --seed.
The region of AWS is --aws-region or AWS_REGION, the access key that of the environment or of a profile (--aws-profile).";

#[derive(Args)]
pub struct Targets {
    /// Output JSON
    #[arg(long)]
    json: bool,
}

impl Targets {
    pub fn run(&self) -> Result<()> {
        let mut text = String::new();
        for what in What::all() {
            writeln!(text, "{:<18} {}", what.name(), what.summary())?;
            for (title, list) in [("also named", what.aliases()), ("needs", what.needs())] {
                if !list.is_empty() {
                    writeln!(text, "{:<18}   {title}: {}", "", list.join(", "))?;
                }
            }
        }
        let rows: Vec<Value> = What::all()
            .map(|what| {
                json!({
                    "name": what.name(), "aliases": what.aliases(), "summary": what.summary(), "role": what.of_role(),
                    "needs": what.needs(),
                })
            })
            .collect();
        show(self.json, &rows, &format!("{text}{NOTES}"))
    }
}

#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    args: SiteArgs,
    /// A file of the output, its manifest or its directory
    file: Utf8PathBuf,
    /// Public key of the site that built it, 64 hex digits [default: of the site in the data directory]
    #[arg(long, value_name = "KEY")]
    site_key: Option<String>,
    /// Accept an older version than one seen on this machine
    #[arg(long)]
    allow_older: bool,
    /// File with the versions seen [default: DIR/outputs/seen.json]
    #[arg(long, value_name = "FILE")]
    seen: Option<Utf8PathBuf>,
}

impl Verify {
    pub fn run(&self) -> Result<()> {
        let failed = |e: VerifyError| {
            let hint = e.hint();
            let error = anyhow::Error::from(e);
            match hint {
                Some(hint) => hint::with(error, hint),
                None => error,
            }
        };
        let site = self.args.site();
        let key = match &self.site_key {
            Some(text) => verify::site_key(text).context("reading --site-key").hint("a site key has 64 hex digits")?,
            None => match site.keys().public() {
                Ok(public) => public.site_key()?,
                Err(_) => {
                    let claimed = verify::claimed_key(&self.file).map_err(failed)?;
                    let claimed: String = claimed.chars().filter(char::is_ascii_hexdigit).take(64).collect();
                    bail!(hint::with(
                        anyhow!("there is no site in {}, so the key of the site that built this is needed", site.data),
                        format!("compare the key with your site's, then add --site-key {claimed}"),
                    ));
                }
            },
        };
        watch_signals()?;
        let progress = Terminal::new();
        let found = verify::verify(&self.file, &key, &progress).map_err(failed)?;
        drop(progress);
        let path = self.seen.clone().unwrap_or_else(|| site.join(OUTPUTS).join(SEEN));
        let mut seen = Seen::load(&path).map_err(failed)?;
        seen.note(&found, self.allow_older).map_err(failed)?;
        seen.save(&path).map_err(failed)?;
        let spec = &found.manifest.spec;
        let value = json!({
            "id": found.manifest.id, "target": spec.target, "role": spec.role, "node": spec.node, "site": spec.site,
            "version": spec.version, "containsSecret": spec.contains_secret,
            "siteKey": found.site_key, "snapshot": spec.snapshot, "files": found.manifest.files.len(), "bytes": found.bytes,
        });
        let role = spec.role.as_deref().map(|role| format!(", role {role}")).unwrap_or_default();
        let node = spec.node.as_deref().map(|node| format!(", node {node}")).unwrap_or_default();
        let secret = secret(spec);
        let text = format!(
            "intact: {} of site {}{role}{node}, version {}{secret}\n  {} files, {}; site key {}",
            spec.target,
            spec.site,
            spec.version,
            found.manifest.files.len(),
            amount(found.bytes),
            found.site_key
        );
        self.args.show(&value, &text)
    }
}
