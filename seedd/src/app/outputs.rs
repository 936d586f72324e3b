//! Outputs of the foundry in the web interface: the list, building one, verifying one.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::arch::Arch;
use cluster_seed::events::EventKind;
use cluster_seed::foundry::Target;
use cluster_seed::ids::Digest;
use cluster_seed::manifest::ArtifactManifest;
use cluster_seed::progress::Progress as _;
use cluster_seed::seal::SigningKey;
use image::foundry::verify::verify;
use site::hint::Hint as _;
use site::outputs::Held;
use site::store::events::NewEvent;
use site::{artifacts, outputs, snapshots};
use web::api::{Actor, ApiError, BuildWish, JobKind, JobView, OutputView, OutputsView, TargetView};

use super::jobs::Job;
use super::{App, unexpected};
use crate::cli::image::output::{Foundry, Settings};

fn name(held: &Held) -> String {
    held.output.dir.file_name().unwrap_or_default().to_owned()
}

/// Why no output can be built on this seed.
fn no_build(app: &App) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("this seed does not run as root, which building requires; run `seedd image build` as root".to_owned());
    }
    app.is_sealed().then(|| "the seed is sealed: unseal it to build an image, which its key signs".to_owned())
}

impl App {
    fn held_outputs(&self) -> Result<Vec<Held>, ApiError> {
        outputs::list(&self.site, &self.store, &self.site_key).map_err(unexpected)
    }

    pub fn view_outputs(&self) -> Result<OutputsView, ApiError> {
        let mut held = self.held_outputs()?;
        self.checked.keep(&held);
        held.sort_by(|a, b| b.made.cmp(&a.made).then_with(|| a.output.dir.cmp(&b.output.dir)));
        let target = |t: Target| TargetView { name: t, summary: t.summary().to_owned(), of_role: t.of_role() };
        Ok(OutputsView {
            targets: Target::ALL.into_iter().map(target).collect(),
            roles: self.built_roles()?,
            outputs: held.iter().map(|h| self.view_output(h)).collect(),
            no_build: no_build(self),
            job: self.jobs.view(),
        })
    }

    fn view_output(&self, held: &Held) -> OutputView {
        let (manifest, name) = (&held.output.manifest, name(held));
        OutputView {
            id: manifest.id,
            target: manifest.spec.target,
            role: manifest.spec.role.clone(),
            node: manifest.spec.node.clone(),
            version: manifest.spec.version.clone(),
            bytes: held.bytes,
            file: manifest.primary.clone(),
            sha256: manifest.files.iter().find(|f| f.name == manifest.primary).map(|f| f.sha256),
            directory: held.output.dir.to_string(),
            made: held.made,
            current: held.current,
            secret: manifest.spec.contains_secret,
            check: self.checked.of(&name),
            name,
        }
    }

    /// Roles of cluster.yaml that have an artifact.
    fn built_roles(&self) -> Result<Vec<String>, ApiError> {
        let built: BTreeMap<String, Digest> = self.store.artifacts()?.into_iter().collect();
        Ok(self.spec.spec.roles.keys().filter(|role| built.contains_key(*role)).cloned().collect())
    }

    /// Starts to build an output from the artifacts and the netboot set in use.
    pub fn build_output_by(self: &Arc<Self>, actor: &Actor, wish: &BuildWish) -> Result<JobView, ApiError> {
        let role = match (&wish.role, wish.target.of_role()) {
            (Some(role), true) if self.built_roles()?.contains(role) => Some(role.clone()),
            (Some(_), true) => return Err(ApiError::bad("this role has no artifact", "build it with `seedd image build`")),
            (None, true) => return Err(ApiError::bad("this target is built for one role", "choose a role")),
            (Some(_), false) => return Err(ApiError::bad("this target is built for all roles", "send no role")),
            (None, false) => None,
        };
        let key = self.with_keys(|keys| Ok(keys.site.clone()))?;
        if let Some(why) = no_build(self) {
            return Err(ApiError::conflict(why, ""));
        }
        let (app, target, who) = (self.clone(), wish.target, actor.user.clone());
        self.jobs.start(JobKind::Build, &actor.user, move |job| {
            let output = app.build_output(target, role.as_deref(), &key, job)?;
            let name = output.dir.file_name().unwrap_or_default().to_owned();
            app.check_output(&name, &output.dir, job)?;
            let how = if output.cached { "existed already" } else { "was built" };
            let text = format!("{name} {how} and is intact");
            if !output.cached {
                app.say(&NewEvent { actor: Some(&who), ..NewEvent::new(EventKind::ImageBuilt, &text) });
            }
            Ok(text)
        })
    }

    fn build_output(&self, target: Target, role: Option<&str>, key: &SigningKey, job: &Job) -> Result<image::foundry::Output> {
        let _using = self.site.use_blobs()?;
        let again = "run `seedd image build`";
        let netboot = self.store.netboot()?.ok_or_else(|| anyhow!("there is no netboot image")).hint(again)?;
        let netboot = artifacts::netboot_set(&self.site.join("netboot").join(netboot.to_string()), &self.site_key)?;
        let mut built: BTreeMap<String, ArtifactManifest> = BTreeMap::new();
        for name in self.spec.spec.roles.keys().filter(|name| role.is_none_or(|role| role == *name)) {
            built.extend(self.artifact_of(name, Arch::Amd64)?.map(|artifact| (name.clone(), artifact)));
        }
        // Tools and version come from the snapshot that it was built from, which may not be the one in use any more.
        let snapshot_id = match role {
            Some(role) => built.get(role).ok_or_else(|| anyhow!("role {role:?} has no artifact")).hint(again)?.spec.snapshot,
            None => netboot.snapshot,
        };
        let snapshot = snapshots::one(&self.site, &self.store, snapshot_id).context("opening the snapshot").hint(again)?;
        let keyring = self.site.snapshot_keyring_path(&self.store, snapshot_id)?;
        let inputs = image::Inputs {
            snapshot_dir: &self.site.snapshot(snapshot_id),
            snapshot_id,
            suite: &snapshot.manifest.suite,
            keyring: &keyring,
            // Outputs contain the agent of what they are made from.
            agent: Utf8Path::new(""),
            arm64_agent: None,
            dirs: &image::Dirs::under(&self.site.data),
            site_key: key,
            no_rescue: self.spec.spec.netboot.rescue.is_off(),
        };
        let seed = Some(pxe::script::SeedUrl(self.http));
        let settings = Settings::default();
        let foundry = Foundry {
            site: &self.site,
            spec: &self.spec,
            inputs: &inputs,
            netboot: &netboot,
            settings: &settings,
            node: None,
            seed,
        };
        let made = foundry.build(target, &built, job)?;
        made.into_iter().next().ok_or_else(|| anyhow!("nothing was built"))
    }

    /// Starts to verify every byte of an output.
    pub fn verify_output_by(self: &Arc<Self>, actor: &Actor, wanted: &str) -> Result<JobView, ApiError> {
        let dir = self.output_named(wanted)?.ok_or(ApiError::NotFound { what: "image on this seed" })?.output.dir;
        let (app, wanted) = (self.clone(), wanted.to_owned());
        self.jobs.start(JobKind::VerifyOutput, &actor.user, move |job| {
            app.check_output(&wanted, &dir, job)?;
            Ok(format!("{wanted} is intact"))
        })
    }

    fn check_output(&self, name: &str, dir: &Utf8Path, job: &Job) -> Result<()> {
        match verify(dir, &self.site_key, job) {
            Ok(_) => {
                self.checked.note(name, None);
                Ok(())
            }
            Err(_) if job.cancelled() => Err(anyhow!("stopped on request")),
            Err(error) => {
                let error = anyhow::Error::from(error);
                self.checked.note(name, Some(format!("{error:#}")));
                Err(error)
                    .with_context(|| format!("verifying {name}"))
                    .hint("delete its directory on the seed and build it again")
            }
        }
    }

    fn output_named(&self, wanted: &str) -> Result<Option<Held>, ApiError> {
        Ok(self.held_outputs()?.into_iter().find(|h| name(h) == wanted))
    }

    /// Path of the file of an output that is deployed; `None` for one with a join token, which makes machines members.
    pub fn path_of_output(&self, wanted: &str) -> Option<Utf8PathBuf> {
        let held = self.output_named(wanted).ok()??;
        (!held.spec().contains_secret).then(|| held.output.primary())
    }
}
