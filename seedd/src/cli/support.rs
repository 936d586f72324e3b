//! `seedd support`: one encrypted file for those who help, without secrets.

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use clap::Args;
use cluster_seed::secret::seal_to;
use host::clock::now;
use host::files::{PRIVATE, read_limited, write_atomic};
use host::support::{MACHINE, MAX_PART, Parts};
use serde_json::json;
use site::hint::Hint as _;
use site::{Site, payloads};

use super::args::SiteArgs;
use crate::terminal::amount;

/// Newest events that are included.
const EVENTS: u32 = 5_000;

#[derive(Args)]
pub struct Support {
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: Utf8PathBuf,
    /// age recipient of the reader [default: the operator's key of this site]
    #[arg(long, value_name = "RECIPIENT")]
    recipient: Option<String>,
    #[command(flatten)]
    args: SiteArgs,
}

impl Support {
    pub fn run(&self) -> Result<()> {
        let site = self.args.site();
        if self.out.exists() {
            return Err(anyhow!("{} already exists", self.out)).hint("choose another --out; nothing is overwritten");
        }
        let recipient = match &self.recipient {
            Some(given) => given.clone(),
            None => site.keys().public()?.operator,
        };
        let mut parts = Parts::default();
        of_site(&site, &mut parts)?;
        parts.add_commands(MACHINE);
        let about = json!({"program": env!("CARGO_PKG_VERSION"), "made": now(), "leftOut": parts.left_out});
        parts.files.push(("about.json".to_owned(), serde_json::to_vec_pretty(&about)?));
        let sealed = seal_to(&recipient, &archive(&parts.files)?).context("encrypting the bundle")?;
        write_atomic(&self.out, &sealed, PRIVATE)?;
        let value = json!({"file": self.out, "bytes": sealed.len(), "parts": parts.files.len(), "leftOut": parts.left_out, "recipient": recipient});
        let mut text =
            format!("{}: {} files, {}, encrypted to {recipient}", self.out, parts.files.len(), amount(sealed.len() as u64));
        parts.left_out.iter().for_each(|why| text.push_str(&format!("\nleft out {why}")));
        self.args.show(&value, &text)
    }
}

/// What the site itself knows.
fn of_site(site: &Site, parts: &mut Parts) -> Result<()> {
    for name in ["cluster.yaml", "overlay.yaml", "keys/public.json"] {
        let path = site.join(name);
        if path.exists() {
            parts.add_result(&format!("site/{name}"), read_limited(&path, MAX_PART as u64).map_err(|e| e.to_string()));
        }
    }
    let store = site.open_store()?;
    let lines = store.read(|tx| {
        let last = tx.last_event()?;
        let rows = tx.events_after(last.saturating_sub(i64::from(EVENTS)).max(0), EVENTS)?;
        Ok::<_, site::store::StoreError>(
            rows.iter().map(|e| json!({"id": e.id, "at": e.at, "kind": e.kind, "text": e.text}).to_string()).collect::<Vec<_>>(),
        )
    })?;
    parts.add("site/events.jsonl", lines.join("\n").as_bytes());
    let app = super::converge::open_at(site)?;
    parts.add_result("site/converge.json", pretty(app.view_converge().map_err(crate::app::hinted)));
    parts.add_result("site/machines.json", pretty(app.view_machines().map_err(crate::app::hinted)));
    parts.add_result("site/payload.json", pretty(payloads::current(site, &store)));
    Ok(())
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
