//! Site operations in the web interface: capsules, promotion, a new underlay, drills.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Result;
use appliance::control::Note;
use cluster_seed::events::EventKind;
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress as _;
use cluster_seed::seal::key_from_text;
use cluster_seed::secret::AgeKey;
use host::clock::now_ms;
use site::store::events::NewEvent;
use transfer::capsule::export::Export;
use transfer::capsule::import::Import;
use transfer::capsule::parts::PartReader;
use transfer::capsule::pieces::Discard;
use transfer::capsule::read::Clear;
use transfer::capsule::shelf::{PieceError, Shelf};
use web::api::{Actor, ApiError};
use web::api::{ExportWish, ImportWish, JobKind, JobView, PlaceView};
use zeroize::Zeroizing;

use super::jobs::Job;
use super::{App, for_page, notes, unexpected};
use crate::drill;
use crate::terminal::amount;

impl App {
    /// Starts the export of a capsule into the capsules directory.
    pub fn export_by(self: &Arc<Self>, from: IpAddr, actor: &Actor, wish: &ExportWish) -> Result<JobView, ApiError> {
        cluster_seed::secret::seal_to(&wish.recipient, b"").map_err(|e| {
            ApiError::bad(format!("invalid recipient: {e}"), "it begins with age1; the Site page of the other seed shows it")
        })?;
        let since = wish.since.as_deref().map(str::parse::<Digest>).transpose();
        let since = since.map_err(|_| ApiError::bad("the id of the earlier capsule is invalid", "choose one from the list"))?;
        let operator = self.operator_for(from, &actor.user, &wish.passphrase)?;
        let keys = self.site.keys().unseal_with(&operator).map_err(unexpected)?;
        Shelf(&self.site).make().map_err(unexpected)?;
        // The same request gets the same name, so an interrupted export resumes.
        let words = format!("{}\n{since:?}\n{:?}\n{}", wish.recipient, wish.split, wish.same_medium);
        let stem = format!("{}-{}", self.spec.metadata.name, &Digest::of(words.as_bytes()).short()[..6]);
        let (app, wish, who) = (self.clone(), wish.clone(), actor.user.clone());
        self.jobs.start(JobKind::Export, &actor.user, move |job| {
            let out = app.free_name(&stem);
            let on_start = || {
                let note = Note::Exporting { recipient: wish.recipient.clone() };
                app.write(|tx| notes::write(tx, &who, &note)).map_err(anyhow::Error::from)
            };
            let done = Export {
                site: &app.site,
                operator: &operator,
                site_key: &keys.site,
                recipient: &wish.recipient,
                since,
                same_medium: wish.same_medium,
                split: wish.split,
                out: &out,
                now_ms: now_ms(),
                on_start: &on_start,
            }
            .run(job)?;
            let names: Vec<&str> = done.files.iter().filter_map(|f| f.file_name()).collect();
            let left_out = if done.left_out > 0 { format!(", {} omitted", done.left_out) } else { String::new() };
            let text = format!("capsule {} exported: {}, {} blobs{left_out}", names.join(", "), amount(done.stored), done.blobs);
            app.say(&NewEvent { actor: Some(&who), ..NewEvent::new(EventKind::SiteCapsule, &text) });
            Ok(text)
        })
    }

    /// An unused file name among the capsules; the same one until it is used.
    fn free_name(&self, stem: &str) -> camino::Utf8PathBuf {
        let shelf = Shelf(&self.site);
        let name = |n: u32| if n == 0 { format!("{stem}.capsule") } else { format!("{stem}-{n}.capsule") };
        let taken = |name: &String| shelf.path(name).exists() || shelf.path(&format!("{name}.001")).exists();
        let free = (0..).map(name).find(|name| !taken(name)).unwrap_or_else(|| name(u32::MAX));
        shelf.path(&free)
    }

    /// Starts to verify or import a capsule of this seed.
    pub fn import_by(self: &Arc<Self>, from: IpAddr, actor: &Actor, wish: &ImportWish) -> Result<JobView, ApiError> {
        let pin = key_from_text(&wish.pin).map_err(|_| {
            ApiError::bad("invalid site key", "a site key has 64 hex digits; the Site page of the exporting seed shows it")
        })?;
        let file = self.on_shelf(&wish.file)?;
        let operator = self.operator_for(from, &actor.user, &wish.passphrase)?;
        let (app, who, wish) = (self.clone(), actor.user.clone(), wish.clone());
        let kind = if wish.verify_only { JobKind::Verify } else { JobKind::Import };
        self.jobs.start(kind, &actor.user, move |job| {
            if wish.verify_only {
                return verify(&file, &pin, &operator, job);
            }
            let import = Import {
                site: &app.site,
                operator: &operator,
                pin: &pin,
                file: &file,
                keep_place: !wish.take_place,
                now_ms: now_ms(),
                actor: Some(&who),
            };
            let done = import.run(job)?;
            if !done.already {
                app.reload_with(Some(operator));
            }
            let how = if done.already { "was already imported" } else { "imported; this seed is now a standby" };
            Ok(format!("site {} {how} (epoch {}, {} nodes, {} blobs copied)", done.site, done.epoch, done.nodes, done.copied))
        })
    }

    fn on_shelf(&self, name: &str) -> Result<camino::Utf8PathBuf, ApiError> {
        let known = Shelf(&self.site).list().map_err(unexpected)?.into_iter().find(|f| f.name == name && f.expected.is_none());
        let file = known.ok_or(ApiError::NotFound { what: "capsule on this seed" })?;
        Ok(Shelf(&self.site).path(&file.name))
    }

    /// Starts a drill.
    pub fn drill_by(self: &Arc<Self>, from: IpAddr, actor: &Actor, passphrase: &str) -> Result<JobView, ApiError> {
        let lab = drill::find_lab().map_err(for_page)?;
        drop(self.operator_for(from, &actor.user, passphrase)?);
        let (app, who, passphrase) = (self.clone(), actor.user.clone(), Zeroizing::new(passphrase.to_owned()));
        self.jobs.start(JobKind::Drill, &actor.user, move |job| {
            let stop = || job.stop_asked();
            let say = |line: &str| job.say(line);
            let held = drill::Drill { site: &app.site, lab: &lab, passphrase: &passphrase, stop: &stop, say: &say }.hold();
            let (kind, text) = match &held {
                Ok((report, _)) => (report.kind(), report.sentence()),
                Err(error) => (EventKind::DrillFailed, format!("the drill failed: {error:#}")),
            };
            app.say(&NewEvent { actor: Some(&who), ..NewEvent::new(kind, &text) });
            held.map(|_| text)
        })
    }

    /// Promotes this seed once the operator has typed the site's name.
    pub fn promote_by(&self, actor: &Actor, name: &str) -> Result<u64, ApiError> {
        if name != self.spec.metadata.name.as_str() {
            return Err(ApiError::bad("the site name does not match", "enter it exactly as shown at the top of the page"));
        }
        self.promote(&actor.user)
    }

    /// Changes the underlay of this seed, or resets it to the one in cluster.yaml.
    pub fn set_place_by(&self, actor: &Actor, place: Option<&PlaceView>) -> Result<PlaceView, ApiError> {
        let text = place.map(overlay_text).transpose()?;
        let changes = self.site.set_overlay_text("reading the form", text.as_deref(), false).map_err(for_page)?;
        if !changes.is_empty() {
            let words: Vec<String> = changes.iter().map(|c| format!("{} from {} to {}", c.field, c.from, c.to)).collect();
            let text = format!("the underlay was changed: {}", words.join("; "));
            self.write(|tx| {
                let event = NewEvent { actor: Some(&actor.user), ..NewEvent::new(EventKind::SiteMoved, &text) };
                Ok(tx.event(now_ms(), &event)?)
            })?;
            self.reload();
        }
        super::site_view::place(&self.site.spec().map_err(unexpected)?)
    }

    pub fn put_capsule(&self, name: &str, at: u64, total: u64, piece: &[u8]) -> Result<u64, ApiError> {
        Shelf(&self.site).put(name, at, total, piece).map_err(|e| match e {
            PieceError::Io(error) => for_page(error),
            PieceError::TooLong => ApiError::bad(e.to_string(), ""),
            PieceError::NotNext { .. } => {
                ApiError::Conflict { why: e.to_string(), hint: Some("query the size of the file on this seed".to_owned()) }
            }
            other => ApiError::Conflict { why: other.to_string(), hint: Some("delete a capsule on this seed".to_owned()) },
        })
    }

    pub fn remove_capsule_by(&self, actor: &Actor, name: &str) -> Result<(), ApiError> {
        let listed = Shelf(&self.site).list().map_err(unexpected)?.iter().any(|f| f.name == name);
        if !listed || !Shelf(&self.site).remove(name).map_err(for_page)? {
            return Err(ApiError::NotFound { what: "capsule on this seed" });
        }
        let text = format!("capsule {name} was deleted");
        self.say(&NewEvent { actor: Some(&actor.user), ..NewEvent::new(EventKind::SiteCapsuleRemoved, &text) });
        Ok(())
    }
}

fn verify(file: &camino::Utf8Path, pin: &cluster_seed::seal::VerifyingKey, operator: &AgeKey, job: &Job) -> Result<String> {
    let parts = PartReader::open(file)?.count();
    let mut capsule = Clear::open(file)?.verified(pin, operator)?;
    let manifest = capsule.manifest()?;
    let id = capsule.header.id.short();
    capsule.content(&manifest, 0, &mut Discard, job)?;
    Ok(format!("capsule {id} of site {}, epoch {}, in {parts} file(s) is valid", manifest.site, manifest.epoch))
}

/// The overlay as YAML. The values are parsed first, so none of them can add a line.
fn overlay_text(place: &PlaceView) -> Result<String, ApiError> {
    let address = |what: &str, text: &str| -> Result<std::net::Ipv4Addr, ApiError> {
        text.parse().map_err(|_| ApiError::bad(format!("{what} is not an IPv4 address"), "write it as 10.45.0.1"))
    };
    let subnet: ipnet::Ipv4Net =
        place.subnet.parse().map_err(|_| ApiError::bad("invalid subnet", "write it as address/prefix length"))?;
    let (seed, first, last) = (
        address("the seed's address", &place.seed)?,
        address("the first address", &place.first)?,
        address("the last address", &place.last)?,
    );
    let mut text = format!("underlay:\n  subnet: {subnet}\n  seed: {seed}\n  pool: {{first: {first}, last: {last}}}\n");
    if !place.router.is_empty() {
        text.push_str(&format!("  router: {}\n", address("the router", &place.router)?));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn underlay_values_are_parsed_before_they_are_written() {
        let place = |subnet: &str, router: &str| PlaceView {
            subnet: subnet.into(),
            seed: "10.45.0.1".into(),
            first: "10.45.0.100".into(),
            last: "10.45.0.199".into(),
            router: router.into(),
        };
        let text = overlay_text(&place("10.45.0.0/24", "10.45.0.254")).unwrap();
        assert!(cluster_seed::overlay::Overlay::parse(&text).is_ok(), "{text}");
        assert!(!overlay_text(&place("10.45.0.0/24", "")).unwrap().contains("router"));
        for (subnet, router) in [("10.45.0.0", ""), ("10.45.0.0/24\n  dns: [1.1.1.1]", ""), ("10.45.0.0/24", "10.45.0.1\nx: y")] {
            assert!(matches!(overlay_text(&place(subnet, router)), Err(ApiError::BadRequest { .. })));
        }
    }
}
