//! The flags that select what goes into a snapshot; without them cluster.yaml decides.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;
use clap::Args;
use cluster_seed::arch::Arch;
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::converge::role::resolve_all;
use cluster_seed::progress::Progress;
use cluster_seed::repo::RepoProfile;
use darksite::{Keyring, PlanRequest};
use host::files::read_limited;
use site::Site;
use site::hint::Hint as _;

use crate::upstream::{Mirrors, judged};

/// Debian's archive keys (package debian-archive-keyring).
const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const MAX_KEYRING: u64 = 4 << 20;

/// Where packages come from.
#[derive(Args)]
pub struct Upstream {
    /// Debian mirror, a URL or a directory; overrides cluster.yaml and apt's configuration
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Mirror of the security archive, or `none` [default: from apt's configuration, or next to the mirror]
    #[arg(long, value_name = "URL")]
    security_mirror: Option<String>,
    /// OpenPGP keyring that upstream must be signed with
    #[arg(long, value_name = "FILE", default_value = DEBIAN_KEYRING)]
    keyring: Utf8PathBuf,
}

/// What to take.
#[derive(Args)]
pub struct Selection {
    /// How much of upstream to take: base, base+updates or full; overrides cluster.yaml
    #[arg(long, visible_alias = "repo-profile", env = "REPO_PROFILE", value_name = "PROFILE")]
    profile: Option<RepoProfile>,
    /// Ignore the local clock when checking upstream dates, because it is wrong
    #[arg(long)]
    ignore_clock: bool,
    /// Accept upstream metadata older than an earlier snapshot's
    #[arg(long)]
    allow_downgrade: bool,
    /// Fail if the mirror lacks this installer package (repeatable)
    #[arg(long, value_name = "NAME")]
    require_udeb: Vec<String>,
}

impl Upstream {
    pub fn keys(&self) -> Result<Keyring> {
        Keyring::from_bytes(&read_limited(&self.keyring, MAX_KEYRING)?)
            .with_context(|| format!("reading {}", self.keyring))
            .hint("install debian-archive-keyring, or use --keyring")
    }

    pub fn mirrors(&self) -> Mirrors<'_> {
        Mirrors { mirror: self.mirror.as_ref(), security: self.security_mirror.as_ref() }
    }
}

impl Selection {
    pub fn request(&self, site: &Site, spec: &ClusterSpec, upstream: &Upstream, progress: &dyn Progress) -> Result<PlanRequest> {
        let d = &spec.spec.darksite;
        let profile = self.profile.unwrap_or(d.profile());
        Ok(PlanRequest {
            sources: upstream.mirrors().sources(spec, profile)?,
            components: d.components.clone(),
            architectures: d.architectures(&spec.spec.architectures),
            profile,
            roots: roots(spec),
            suite_name: d.suite.clone(),
            clock: judged(self.ignore_clock, progress)?,
            recommends: d.recommends,
            installer: d.installer || !self.require_udeb.is_empty(),
            required_udebs: self.require_udeb.clone(),
            contents: d.contents,
            allow_downgrade: self.allow_downgrade,
            paths: Some(site.darksite_paths()),
        })
    }
}

/// Root packages by purpose: one set per role, the tools that build images, and what nodes may install later.
fn roots(spec: &ClusterSpec) -> BTreeMap<String, Vec<String>> {
    let sorted = |mut list: Vec<String>| {
        list.sort();
        list.dedup();
        list
    };
    let own = |list: &[&str]| list.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
    let mut roots = BTreeMap::new();
    for (name, role) in resolve_all(&spec.spec.roles) {
        let mut packages = own(image::BASE_PACKAGES);
        packages.extend(own(image::node_assets::NODE_PACKAGES));
        packages.extend(role.packages);
        roots.insert(name, sorted(packages));
    }
    // Role names have no dot, so these cannot collide with one.
    let mut tools = own(image::TOOL_PACKAGES);
    if spec.spec.architectures.contains(&Arch::Arm64) {
        tools.extend(own(image::ARM64_PACKAGES));
    }
    roots.insert("kubedos.tools".to_owned(), sorted(tools));
    roots.insert("kubedos.seed".to_owned(), sorted(own(image::SEED_PACKAGES)));
    if !spec.spec.darksite.packages.is_empty() {
        roots.insert("kubedos.extra".to_owned(), sorted(spec.spec.darksite.packages.clone()));
    }
    roots
}
