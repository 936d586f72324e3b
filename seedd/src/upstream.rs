//! Upstream's mirrors: from the command line, cluster.yaml or apt's configuration, in this order; and how far upstream's
//! dates can be checked.

use anyhow::{Context as _, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::extras::has_login;
use cluster_seed::progress::Progress;
use cluster_seed::repo::{RepoProfile, UpstreamSource};
use darksite::{Clock, Source};
use host::clock::now;
use host::files::read_limited;
use site::hint::Hint as _;

use crate::clock::PROGRAM_DATE;

/// Largest file of apt's configuration read, in bytes.
const MAX_SOURCES: u64 = 1 << 20;

/// Mirrors given on the command line; they win over cluster.yaml.
#[derive(Debug, Clone, Copy)]
pub struct Mirrors<'a> {
    pub mirror: Option<&'a String>,
    pub security: Option<&'a String>,
}

impl Mirrors<'_> {
    /// The suites of a profile, the release first.
    pub fn sources(&self, spec: &ClusterSpec, profile: RepoProfile) -> Result<Vec<Source>> {
        let d = &spec.spec.darksite;
        let mirror = find_mirror(self.mirror, spec)?;
        let mut sources = vec![Source { mirror: mirror.clone(), suite: d.suite.clone() }];
        if profile.has_updates() && darksite::has_pockets(&d.suite) {
            sources.push(Source { mirror: mirror.clone(), suite: format!("{}-updates", d.suite) });
            let security = self.security.or(d.security_mirror.as_ref());
            if let Some(mirror) = security_mirror(security, &mirror)? {
                sources.push(Source { mirror, suite: format!("{}-security", d.suite) });
            }
        }
        Ok(sources)
    }

    /// Sources for whatever suites a lock names.
    pub fn sources_of_lock(&self, spec: &ClusterSpec, lock: &darksite::SnapshotLock) -> Result<Vec<Source>> {
        let mirror = find_mirror(self.mirror, spec)?;
        let mut sources = Vec::new();
        for upstream in &lock.upstream {
            let given = self.security.or(spec.spec.darksite.security_mirror.as_ref());
            let own = if upstream.suite.ends_with("-security") { security_mirror(given, &mirror)? } else { None };
            sources.push(Source { mirror: own.unwrap_or_else(|| mirror.clone()), suite: upstream.suite.clone() });
        }
        Ok(sources)
    }
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
            .ok_or_else(|| anyhow!("no Debian mirror in apt's configuration"))
            .hint("use --mirror, or set darksite.mirror in cluster.yaml")?,
    };
    address(&found)
}

/// A mirror as a URL.
fn address(found: &str) -> Result<String> {
    if let Some(path) = found.strip_prefix('/') {
        return Ok(format!("file:///{path}"));
    }
    if !["http://", "https://", "file://"].iter().any(|s| found.starts_with(s)) {
        return Err(anyhow!("{found:?} is not a mirror")).hint("a mirror is a URL (http, https or file) or an absolute path");
    }
    if has_login(found) {
        return Err(anyhow!("the mirror's address contains a user name or a password"))
            .hint("write it into a netrc file (machine HOST login NAME password WORD), and use --netrc FILE");
    }
    Ok(found.to_owned())
}

/// The mirror of the security archive; None if it is turned off.
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
        .ok_or_else(|| anyhow!("no mirror of the security archive found"))
        .hint("use --security-mirror or set darksite.securityMirror; `none` builds a snapshot without security fixes")?;
    Ok(Some(address(&found)?))
}

/// Mirrors that nodes can reach themselves: over HTTP, from cluster.yaml or apt's configuration.
pub fn upstream_sources(spec: &ClusterSpec) -> Result<Vec<UpstreamSource>> {
    let d = &spec.spec.darksite;
    // Nodes are told the address, so it must not contain a password of apt's configuration.
    let http = |url: &String| (url.starts_with("http://") || url.starts_with("https://")) && !has_login(url);
    let text = apt_configuration()?;
    let mirror = d.mirror.clone().filter(http).or_else(|| darksite::mirror_from_apt(&text)).filter(http);
    let url = mirror
        .ok_or_else(|| anyhow!("nodes get packages from upstream, but no HTTP mirror is known"))
        .hint("set darksite.mirror to an HTTP mirror, or use darksite.mode: darksite")?;
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

/// How upstream's dates are checked: not against a local clock that is earlier than this program, since that is wrong.
pub fn judged(ignore_clock: bool, progress: &dyn Progress) -> Result<Clock> {
    let now = now();
    if now < PROGRAM_DATE && !ignore_clock {
        progress.say("the local clock is earlier than this program was built; ignoring it when checking upstream dates");
    }
    match ignore_clock || now < PROGRAM_DATE {
        true => Ok(Clock::OfFile),
        false => Ok(Clock::At(jiff::Timestamp::from_second(i64::try_from(now)?).context("reading the clock")?)),
    }
}
