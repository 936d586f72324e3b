//! Capsules from one site to another.

use anyhow::Result;
use camino::Utf8Path;
use cluster_seed::events::EventKind;
use cluster_seed::ids::Digest;
use cluster_seed::progress::Quiet;
use cluster_seed::seal::VerifyingKey;
use site::Site;
use site::store::events::NewEvent;
use transfer::capsule::export::{Export, Exported};
use transfer::capsule::import::{Import, Imported};

/// When everything happens, in Unix milliseconds.
pub const NOW: u64 = 1_760_000_000_000;

pub fn export(a: (&Site, &str), b: &Site, out: &Utf8Path, since: Option<Digest>, same_medium: bool) -> Result<Exported> {
    let (site, passphrase) = a;
    let operator = site.keys().operator(passphrase)?;
    let keys = site.keys().unseal_with(&operator)?;
    let recipient = b.keys().public()?.operator;
    let store = site.open_store()?;
    let on_start = || {
        let text = format!("export of a capsule for {recipient} started");
        store.write(|tx| tx.event(NOW, &NewEvent::new(EventKind::SiteExported, &text))).map(drop).map_err(anyhow::Error::from)
    };
    let job = Export {
        site,
        operator: &operator,
        site_key: &keys.site,
        recipient: &recipient,
        since,
        same_medium,
        split: None,
        out,
        now_ms: NOW,
        on_start: &on_start,
    };
    job.run(&Quiet)
}

pub fn import(b: (&Site, &str), file: &Utf8Path, pin: &VerifyingKey, keep_place: bool) -> Result<Imported> {
    let (site, passphrase) = b;
    let operator = site.keys().operator(passphrase)?;
    Import { site, operator: &operator, pin, file, keep_place, now_ms: NOW, actor: None }.run(&Quiet)
}
