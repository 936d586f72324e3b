//! `kubedos-lab test --only darksite`: snapshots of real Debian packages, checked with apt and related tools.

mod clients;
mod closure;
mod sets;
mod twice;

use std::path::Path;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::progress::{Progress, Quiet};
use cluster_seed::repo::RepoProfile;
use cluster_seed::seal::SigningKey;
use darksite::{AnyFetch, Clock, HttpLimits, Keyring, Paths, Plan, PlanRequest, ReleaseKey, Source};

use crate::dirs::RunDirs;
use crate::say;

const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
pub const SUITE: &str = "trixie";

/// A case: what it shows, and how.
pub type Case = (&'static str, fn(&Bench) -> Result<()>);

pub const CASES: [Case; 3] = [
    ("twelve sets of roots: every difference between our closure and apt's is explained", closure::compare),
    ("apt, gpgv, sqv, debootstrap and mmdebstrap accept an unmodified snapshot", clients::accept),
    ("two builds of one lock, in two directories at two SOURCE_DATE_EPOCHs, are byte-identical", twice::identical),
];

/// What the cases share. Indexes and packages are kept from run to run.
pub struct Bench {
    pub mirror: String,
    pub security: Option<String>,
    pub kept: Utf8PathBuf,
    pub work: Utf8PathBuf,
    pub keyring: Keyring,
}

/// Prints only a few steps.
pub struct Steps;

impl Progress for Steps {
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
    fn say(&self, _: &str) {}
    fn cancelled(&self) -> bool {
        crate::stop::check().is_err()
    }
}

impl Bench {
    pub fn new(dirs: &RunDirs) -> Result<Self> {
        let utf8 = |path: &Path| Utf8PathBuf::from_path_buf(path.to_owned()).ok().context("a path that is not UTF-8");
        let (work, _) = dirs.part("darksite")?;
        let apt = apt_configuration();
        let mirror = darksite::mirror_from_apt(&apt).context("apt's configuration names no Debian mirror")?;
        let security = darksite::security_mirror_from_apt(&apt);
        let keyring = std::fs::read(DEBIAN_KEYRING).with_context(|| format!("reading {DEBIAN_KEYRING}"))?;
        let keyring = Keyring::from_bytes(&keyring)?;
        Ok(Bench { mirror, security, kept: utf8(&dirs.cache)?.join("darksite"), work: utf8(&work)?, keyring })
    }

    /// Paths whose packages and indexes are kept; snapshots and what is in the making are of this run.
    pub fn paths(&self, name: &str) -> Paths {
        let run = self.work.join(name);
        Paths {
            blobs: self.kept.join("blobs"),
            snapshots: run.join("snapshots"),
            tmp: self.kept.join("tmp"),
            cache: self.kept.join("cache"),
        }
    }

    pub fn request(&self, name: &str, components: &[&str], roots: &[&str]) -> PlanRequest {
        let mut sources = vec![
            Source { mirror: self.mirror.clone(), suite: SUITE.to_owned() },
            Source { mirror: self.mirror.clone(), suite: format!("{SUITE}-updates") },
        ];
        sources.extend(self.security.iter().map(|m| Source { mirror: m.clone(), suite: format!("{SUITE}-security") }));
        PlanRequest {
            sources,
            components: components.iter().map(|c| (*c).to_owned()).collect(),
            architectures: vec!["amd64".to_owned()],
            profile: RepoProfile::BaseUpdates,
            roots: [(name.to_owned(), roots.iter().map(|r| (*r).to_owned()).collect())].into(),
            suite_name: SUITE.to_owned(),
            clock: Clock::OfFile,
            recommends: false,
            installer: false,
            required_udebs: Vec::new(),
            contents: false,
            allow_downgrade: true,
            paths: Some(self.paths(name)),
        }
    }

    pub fn plan(&self, request: &PlanRequest) -> Result<Plan> {
        Ok(darksite::plan(request, &fetch(), &self.keyring, &Steps)?)
    }

    /// Builds and verifies; the snapshot's directory.
    pub fn build(&self, name: &str, plan: &Plan) -> Result<Utf8PathBuf> {
        let (release, site) = keys()?;
        say::line(&format!("{} packages, {} MB", plan.lock.packages.len(), plan.lock.bytes() >> 20));
        let dir = darksite::build(plan, &self.paths(name), &fetch(), &release, &site, &Steps)?.dir;
        darksite::verify(&dir, &release.keyring()?, &site.verifying_key(), &Quiet)?;
        Ok(dir)
    }
}

pub fn fetch() -> AnyFetch {
    AnyFetch::new(HttpLimits::default())
}

/// Keys of the lab alone.
pub fn keys() -> Result<(ReleaseKey, SigningKey)> {
    let created = "2026-01-01T00:00:00Z".parse().context("a date")?;
    Ok((ReleaseKey::from_seed(&[3; 32], "Kubedos lab", created)?, SigningKey::from_bytes(&[4; 32])))
}

fn apt_configuration() -> String {
    let mut text = std::fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
    let entries = Utf8Path::new("/etc/apt/sources.list.d").read_dir_utf8().into_iter().flatten().flatten();
    let mut files: Vec<Utf8PathBuf> = entries.map(|e| e.into_path()).collect();
    files.sort();
    for file in files {
        text += "\n\n";
        text += &std::fs::read_to_string(file).unwrap_or_default();
    }
    text
}
