//! The support bundle: one encrypted file for those who help, without secrets; and what this program is.

use anyhow::{Context as _, Result};
use cluster_seed::cluster::SpecError;
use cluster_seed::events::EventKind;
use cluster_seed::people::Permission;
use cluster_seed::secret::seal_to;
use host::clock::now;
use host::files::read_limited;
use host::support::{MACHINE, MAX_PART, Parts};
use serde_json::json;
use site::store::StoreError;
use site::store::events::NewEvent;
use site::{Site, payloads};
use web::api::{AboutApi, AboutView, Actor, ApiError};

use super::settings::hide_urls;
use super::{App, Seed, hinted, unexpected};

/// Newest events that are included.
const EVENTS: u32 = 5_000;

impl AboutApi for Seed {
    fn about(&self) -> Result<AboutView, ApiError> {
        let system = nix::sys::utsname::uname().map_err(unexpected)?;
        let word = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
        Ok(AboutView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            system: [word(system.sysname()), word(system.release()), word(system.machine())].join(" "),
            schema: site::store::SCHEMA,
            protocol: cluster_seed::agent::PROTOCOL,
            recipient: self.0.public.operator.clone(),
        })
    }

    fn support_bundle(&self, actor: &Actor) -> Result<Vec<u8>, ApiError> {
        let actor = actor.must(Permission::Administer)?;
        let made = bundle(&self.0, &self.0.public.operator).map_err(unexpected)?;
        let text = "a support bundle was downloaded";
        self.0.say(&NewEvent { actor: Some(&actor.user), ..NewEvent::new(EventKind::SupportBundle, text) });
        Ok(made.sealed)
    }
}

/// A bundle, and what is in it.
pub struct Bundle {
    /// An age file.
    pub sealed: Vec<u8>,
    pub parts: Parts,
}

/// Collects what shows the state of the site and of this host, encrypted to `recipient`.
pub fn bundle(app: &App, recipient: &str) -> Result<Bundle> {
    let mut parts = Parts::default();
    of_site(app, &mut parts)?;
    parts.add_commands(MACHINE);
    let about = json!({"program": env!("CARGO_PKG_VERSION"), "made": now(), "leftOut": parts.left_out});
    parts.files.push(("about.json".to_owned(), serde_json::to_vec_pretty(&about)?));
    let sealed = seal_to(recipient, &archive(&parts.files)?).context("encrypting the bundle")?;
    Ok(Bundle { sealed, parts })
}

/// What the site itself knows.
fn of_site(app: &App, parts: &mut Parts) -> Result<()> {
    let site = &app.site;
    parts.add_result("site/cluster.yaml", cluster_file(site));
    for name in ["overlay.yaml", "keys/public.json"] {
        let path = site.join(name);
        if path.exists() {
            parts.add_result(&format!("site/{name}"), read_limited(&path, MAX_PART as u64).map_err(|e| e.to_string()));
        }
    }
    let lines = app.store.read(|tx| {
        let last = tx.last_event()?;
        let rows = tx.events_after(last.saturating_sub(i64::from(EVENTS)).max(0), EVENTS)?;
        Ok::<_, StoreError>(
            rows.iter().map(|e| json!({"id": e.id, "at": e.at, "kind": e.kind, "text": e.text}).to_string()).collect::<Vec<_>>(),
        )
    })?;
    parts.add("site/events.jsonl", lines.join("\n").as_bytes());
    parts.add_result("site/converge.json", pretty(app.view_converge().map_err(hinted)));
    parts.add_result("site/machines.json", pretty(app.view_machines().map_err(hinted)));
    parts.add_result("site/payload.json", pretty(payloads::current(site, &app.store)));
    Ok(())
}

/// cluster.yaml, with the URLs of receivers as everybody sees them: their paths may be secrets.
fn cluster_file(site: &Site) -> Result<Vec<u8>, String> {
    let said = |e: anyhow::Error| format!("{e:#}");
    let text = site.cluster_text().map_err(said)?;
    let wrong = |e: SpecError| format!("it has an error in line {}, so the URLs of receivers in it are not known", e.line);
    let spec = site.spec_of(&text).map_err(said)?.map_err(wrong)?;
    let hidden = hide_urls(text, &spec).map(String::into_bytes);
    hidden.ok_or_else(|| "the URL of a receiver in it is written in a form that cannot be hidden".to_owned())
}

fn pretty(value: Result<impl serde::Serialize>) -> Result<Vec<u8>, String> {
    let text = value.and_then(|v| Ok(serde_json::to_vec_pretty(&v)?));
    text.map_err(|e| format!("{e:#}"))
}

/// A tar compressed by gzip.
fn archive(files: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(now());
        tar.append_data(&mut header, format!("support/{name}"), bytes.as_slice()).with_context(|| format!("packing {name}"))?;
    }
    let plain = tar.into_inner().context("packing the bundle")?;
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gz, &plain).context("compressing the bundle")?;
    gz.finish().context("compressing the bundle")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_has_the_cluster_file_of_its_site() {
        let dir = tempfile::tempdir().unwrap();
        let app = super::super::testing::app(camino::Utf8Path::from_path(dir.path()).unwrap());
        let plain = app.site.cluster_text().unwrap();
        assert_eq!(cluster_file(&app.site).unwrap(), plain.as_bytes());
        let hooks = "\nspec:\n  webhooks: [{url: 'https://hooks.lan/SECRET', secretFile: /s, caFile: /ca.pem}]\n";
        std::fs::write(app.site.cluster_file(), plain.replacen("\nspec:\n", hooks, 1)).unwrap();
        let shown = String::from_utf8(cluster_file(&app.site).unwrap()).unwrap();
        assert!(shown.contains("https://hooks.lan/\u{2026}") && !shown.contains("SECRET"), "{shown}");
        std::fs::write(app.site.cluster_file(), "spec: {webhooks: [{url: 'https://hooks.lan/SECRET'").unwrap();
        let why = cluster_file(&app.site).unwrap_err();
        assert!(why.contains("it has an error") && !why.contains("SECRET"), "{why}");
    }
}
