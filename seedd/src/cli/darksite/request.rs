//! What a snapshot is made from: flags, environment, cluster.yaml and apt's configuration, in this order.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::progress::Progress;
use cluster_seed::repo::{RepoProfile, UpstreamSource};
use darksite::{Clock, Keyring, PlanRequest, Source};

use super::paths;
use crate::clock::PROGRAM_DATE;
use host::clock::now;
use host::files::read_limited;
use site::Site;
use site::hint::Hint as _;

/// Where Debian keeps the keys of its archive (package debian-archive-keyring).
const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const MAX_KEYRING: u64 = 4 << 20;
const MAX_SOURCES: u64 = 1 << 20;

/// Where packages come from.
#[derive(Args)]
pub struct Upstream {
    /// Mirror to take packages from: a URL or a directory; wins over cluster.yaml and apt's configuration
    #[arg(long, visible_alias = "darksite-src", env = "DARKSITE_SRC", value_name = "URL")]
    mirror: Option<String>,
    /// Mirror of the security fixes, or `none`; without it the one in apt's configuration or beside the mirror
    #[arg(long, value_name = "URL")]
    security_mirror: Option<String>,
    /// Upstream's keys
    #[arg(long, value_name = "FILE", default_value = DEBIAN_KEYRING)]
    keyring: Utf8PathBuf,
}

/// What to take.
#[derive(Args)]
pub struct Selection {
    /// How much of upstream: base, base+updates or full; wins over cluster.yaml
    #[arg(long, visible_alias = "repo-profile", env = "REPO_PROFILE", value_name = "PROFILE")]
    profile: Option<RepoProfile>,
    /// This machine's clock is wrong: judge upstream's dates by themselves
    #[arg(long)]
    ignore_clock: bool,
    /// Take a state of upstream that is older than one taken before
    #[arg(long)]
    allow_downgrade: bool,
    /// Fail if the mirror does not have this installer package (again for more)
    #[arg(long, value_name = "NAME")]
    require_udeb: Vec<String>,
}

impl Upstream {
    pub fn keys(&self) -> Result<Keyring> {
        Keyring::from_bytes(&read_limited(&self.keyring, MAX_KEYRING)?)
            .with_context(|| format!("reading {}", self.keyring))
            .hint("install debian-archive-keyring, or name the mirror's keys with --keyring")
    }

    /// The suites of a profile, the release first.
    pub fn sources(&self, spec: &ClusterSpec, profile: RepoProfile) -> Result<Vec<Source>> {
        let d = &spec.spec.darksite;
        let mirror = find_mirror(self.mirror.as_ref(), spec)?;
        let mut sources = vec![Source { mirror: mirror.clone(), suite: d.suite.clone() }];
        if profile.has_updates() && darksite::has_pockets(&d.suite) {
            sources.push(Source { mirror: mirror.clone(), suite: format!("{}-updates", d.suite) });
            let security = self.security_mirror.as_ref().or(d.security_mirror.as_ref());
            if let Some(mirror) = security_mirror(security, &mirror)? {
                sources.push(Source { mirror, suite: format!("{}-security", d.suite) });
            }
        }
        Ok(sources)
    }

    /// Sources for whatever suites a lock names.
    pub fn sources_of_lock(&self, spec: &ClusterSpec, lock: &darksite::SnapshotLock) -> Result<Vec<Source>> {
        let mirror = find_mirror(self.mirror.as_ref(), spec)?;
        let mut sources = Vec::new();
        for upstream in &lock.upstream {
            let given = self.security_mirror.as_ref().or(spec.spec.darksite.security_mirror.as_ref());
            let own = if upstream.suite.ends_with("-security") { security_mirror(given, &mirror)? } else { None };
            sources.push(Source { mirror: own.unwrap_or_else(|| mirror.clone()), suite: upstream.suite.clone() });
        }
        Ok(sources)
    }
}

impl Selection {
    pub fn request(&self, site: &Site, spec: &ClusterSpec, upstream: &Upstream, progress: &dyn Progress) -> Result<PlanRequest> {
        let d = &spec.spec.darksite;
        let profile = self.profile.unwrap_or(d.profile());
        Ok(PlanRequest {
            sources: upstream.sources(spec, profile)?,
            components: d.components.clone(),
            architectures: d.architectures(),
            profile,
            roots: roots(spec),
            suite_name: d.suite.clone(),
            clock: judged(self.ignore_clock, progress)?,
            recommends: d.recommends,
            installer: d.installer || !self.require_udeb.is_empty(),
            required_udebs: self.require_udeb.clone(),
            contents: d.contents,
            allow_downgrade: self.allow_downgrade,
            paths: Some(paths(site)),
        })
    }
}

/// Root packages by purpose: each role's, what images are built with, what nodes may install later.
fn roots(spec: &ClusterSpec) -> BTreeMap<String, Vec<String>> {
    let sorted = |mut list: Vec<String>| {
        list.sort();
        list.dedup();
        list
    };
    let own = |list: &[&str]| list.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
    let mut roots = BTreeMap::new();
    for (name, role) in &spec.spec.roles {
        let mut packages = own(image::BASE_PACKAGES);
        packages.extend(own(image::node_assets::NODE_PACKAGES));
        packages.extend(role.packages.iter().cloned());
        roots.insert(name.clone(), sorted(packages));
    }
    // Role names have no dot, so these cannot collide with one.
    roots.insert("kubedos.tools".to_owned(), sorted(own(image::TOOL_PACKAGES)));
    roots.insert("kubedos.seed".to_owned(), sorted(own(image::SEED_PACKAGES)));
    if !spec.spec.darksite.packages.is_empty() {
        roots.insert("kubedos.extra".to_owned(), sorted(spec.spec.darksite.packages.clone()));
    }
    roots
}

fn apt_configuration() -> Result<String> {
    let mut text = String::new();
    let mut files = vec![Utf8PathBuf::from("/etc/apt/sources.list")];
    if let Ok(dir) = Utf8Path::new("/etc/apt/sources.list.d").read_dir_utf8() {
        files.extend(dir.filter_map(|e| Some(e.ok()?.into_path())).filter(|p| matches!(p.extension(), Some("sources" | "list"))));
    }
    files.sort();
    for file in files.iter().filter(|f| f.exists()) {
        text.push_str(&String::from_utf8_lossy(&read_limited(file, MAX_SOURCES)?));
        text.push('\n');
        text.push('\n');
    }
    Ok(text)
}

fn find_mirror(flag: Option<&String>, spec: &ClusterSpec) -> Result<String> {
    let found = match flag.or(spec.spec.darksite.mirror.as_ref()) {
        Some(mirror) => mirror.clone(),
        None => darksite::mirror_from_apt(&apt_configuration()?)
            .ok_or_else(|| anyhow!("apt's configuration names no Debian mirror"))
            .hint("name one with --mirror or darksite.mirror in cluster.yaml")?,
    };
    address(&found)
}

/// A mirror as a URL.
fn address(found: &str) -> Result<String> {
    if let Some(path) = found.strip_prefix('/') {
        return Ok(format!("file:///{path}"));
    }
    if !["http://", "https://", "file://"].iter().any(|s| found.starts_with(s)) {
        return Err(anyhow!("{found:?} is not a mirror")).hint("a mirror is a URL (http, https, file) or an absolute directory");
    }
    Ok(found.to_owned())
}

/// The security archive's mirror; None if it is not to be asked.
fn security_mirror(given: Option<&String>, mirror: &str) -> Result<Option<String>> {
    if given.is_some_and(|g| g == "none") {
        return Ok(None);
    }
    let apt = || apt_configuration().map(|text| darksite::security_mirror_from_apt(&text));
    let found = match given {
        Some(given) => Some(given.clone()),
        None => darksite::security_beside(mirror).or(apt()?),
    };
    let found = found
        .ok_or_else(|| anyhow!("there is no mirror of the security fixes"))
        .hint("name one with --security-mirror or darksite.securityMirror, or write `none` for a snapshot without them")?;
    Ok(Some(address(&found)?))
}

/// Where nodes reach upstream by themselves: an HTTP mirror of cluster.yaml or of apt's configuration.
pub fn upstream_sources(spec: &ClusterSpec) -> Result<Vec<UpstreamSource>> {
    let d = &spec.spec.darksite;
    let http = |url: &String| url.starts_with("http://") || url.starts_with("https://");
    let text = apt_configuration()?;
    let mirror = d.mirror.clone().filter(http).or_else(|| darksite::mirror_from_apt(&text)).filter(http);
    let url = mirror
        .ok_or_else(|| anyhow!("nodes are to ask upstream, and there is no mirror that they could reach"))
        .hint("name an HTTP mirror in darksite.mirror, or use darksite.mode: darksite")?;
    let mut suites = vec![d.suite.clone()];
    let mut sources = Vec::new();
    if darksite::has_pockets(&d.suite) {
        suites.push(format!("{}-updates", d.suite));
        let given = d.security_mirror.clone().filter(http);
        let security = given.or_else(|| darksite::security_beside(&url)).or_else(|| darksite::security_mirror_from_apt(&text));
        let suites = vec![format!("{}-security", d.suite)];
        sources.extend(security.filter(http).map(|url| UpstreamSource { url, suites }));
    }
    sources.insert(0, UpstreamSource { url, suites });
    Ok(sources)
}

/// How upstream's dates are judged. A clock that stands before this program was made cannot be right, and is not asked.
pub fn judged(ignore_clock: bool, progress: &dyn Progress) -> Result<Clock> {
    let now = now();
    if now < PROGRAM_DATE && !ignore_clock {
        progress.say("this machine's clock stands before this program was made: upstream's dates are judged by themselves");
    }
    match ignore_clock || now < PROGRAM_DATE {
        true => Ok(Clock::OfFile),
        false => Ok(Clock::At(jiff::Timestamp::from_second(i64::try_from(now)?).context("reading the clock")?)),
    }
}
