//! The support bundle: one encrypted file for those who help, without secrets; and what this program is.

use std::cmp::Reverse;

use anyhow::{Context as _, Result};
use cluster_seed::cluster::SpecError;
use cluster_seed::events::EventKind;
use cluster_seed::people::Permission;
use cluster_seed::secret::seal_to;
use cluster_seed::webhooks::shown;
use host::clock::now;
use host::files::read_limited;
use host::support::{MACHINE, MAX_PART, Parts};
use serde_json::json;
use site::store::StoreError;
use site::store::events::NewEvent;
use site::{Site, payloads};
use web::api::{AboutApi, AboutView, Actor, ApiError};

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
    let spec = site.spec_of(&text).map_err(said)?.map_err(wrong)?.spec;
    let inventory = spec.enrollment.inventory.as_ref().map(|ask| ask.url.value.as_str());
    hide(text, spec.webhooks.iter().map(|hook| hook.url.value.as_str()).chain(inventory).collect()).map(String::into_bytes)
}

/// The text with scheme and host of each of these URLs; an error if one with more is not in it as it is.
fn hide(mut text: String, mut urls: Vec<&str>) -> Result<String, String> {
    // The longest first: one may begin with another.
    urls.sort_by_key(|url| (Reverse(url.len()), *url));
    urls.dedup();
    for url in urls {
        let hidden = shown(url);
        if !hidden.ends_with('\u{2026}') {
            continue;
        }
        if !text.contains(url) {
            return Err("the URL of a receiver in it is written in a form that cannot be hidden".to_owned());
        }
        text = text.replace(url, &hidden);
    }
    Ok(text)
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
    fn urls_of_receivers_are_hidden_or_the_text_is_left_out() {
        let text = "webhooks:\n- url: https://hooks.lan/T0/SECRET\n- url: 'https://hooks.lan/T0/SECRET/MORE?k=v'\n- url: http://plain.lan\n";
        let urls = || vec!["https://hooks.lan/T0/SECRET", "https://hooks.lan/T0/SECRET/MORE?k=v", "http://plain.lan"];
        let hidden = hide(text.to_owned(), urls()).unwrap();
        assert_eq!(
            hidden,
            "webhooks:\n- url: https://hooks.lan/\u{2026}\n- url: 'https://hooks.lan/\u{2026}'\n- url: http://plain.lan\n"
        );
        // The same receiver twice, and one that YAML writes in another way.
        assert!(hide(text.to_owned(), [urls(), urls()].concat()).is_ok());
        assert!(hide(text.replace("/SECRET/", "\\x2fSECRET/"), urls()).is_err());
        assert_eq!(hide("nothing\n".to_owned(), Vec::new()), Ok("nothing\n".to_owned()));
    }

    #[test]
    fn a_bundle_has_the_cluster_file_of_its_site() {
        let dir = tempfile::tempdir().unwrap();
        let app = super::super::testing::app(camino::Utf8Path::from_path(dir.path()).unwrap());
        assert_eq!(cluster_file(&app.site).unwrap(), app.site.cluster_text().unwrap().into_bytes());
        std::fs::write(app.site.cluster_file(), "spec: {webhooks: [{url: 'https://hooks.lan/SECRET'").unwrap();
        let why = cluster_file(&app.site).unwrap_err();
        assert!(why.contains("it has an error") && !why.contains("SECRET"), "{why}");
    }
}
