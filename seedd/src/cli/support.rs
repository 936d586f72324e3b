//! `seedd support`: one encrypted file for those who help, without secrets.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use clap::Args;
use cluster_seed::secret::seal_to;
use darksite::lint;
use host::clock::now;
use host::files::{PRIVATE, read_limited, write_atomic};
use host::tool::Tool;
use serde_json::json;
use site::hint::Hint as _;
use site::{Site, payloads};

use super::args::SiteArgs;
use crate::terminal::amount;

/// Largest part, in bytes; longer ones are cut at their beginning.
const MAX_PART: usize = 8 << 20;
/// Time limit of one program.
const LIMIT: Duration = Duration::from_secs(30);
/// Newest events that are included.
const EVENTS: u32 = 5_000;

/// Programs that show how this host is; none of them prints a key.
const COMMANDS: &[(&str, &[&str])] = &[
    ("host/uname.txt", &["uname", "-a"]),
    ("host/uptime.txt", &["uptime"]),
    ("host/df.txt", &["df", "-h"]),
    ("host/free.txt", &["free", "-m"]),
    ("host/lsblk.txt", &["lsblk", "-o", "NAME,SIZE,TYPE,FSTYPE,MOUNTPOINTS,MODEL,SERIAL"]),
    ("host/addresses.txt", &["ip", "address"]),
    ("host/routes.txt", &["ip", "route", "show", "table", "all"]),
    ("host/links.txt", &["ip", "-s", "link"]),
    ("host/sockets.txt", &["ss", "-tulnp"]),
    ("host/wireguard.txt", &["wg", "show"]),
    ("host/nftables.txt", &["nft", "list", "ruleset"]),
    ("host/units.txt", &["systemctl", "list-units", "--all", "--no-pager"]),
    ("host/time.txt", &["chronyc", "-n", "tracking"]),
    ("host/journal.txt", &["journalctl", "-b", "-n", "5000", "--no-pager", "-o", "short-iso"]),
    ("host/kernel.txt", &["dmesg"]),
];

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

/// Parts by name, and what was left out and why.
#[derive(Default)]
struct Parts {
    files: Vec<(String, Vec<u8>)>,
    left_out: Vec<String>,
}

impl Parts {
    /// Adds a part, unless a secret is found in it.
    fn add(&mut self, name: &str, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(MAX_PART)..];
        match lint::bytes(name, bytes).first() {
            None => self.files.push((name.to_owned(), bytes.to_vec())),
            Some(found) => self.left_out.push(format!("{name}: it contains {}", found.what)),
        }
    }

    fn add_result(&mut self, name: &str, content: Result<Vec<u8>>) {
        match content {
            Ok(bytes) => self.add(name, &bytes),
            Err(e) => self.left_out.push(format!("{name}: {e:#}")),
        }
    }
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
        for (name, argv) in COMMANDS {
            let [program, rest @ ..] = argv else { continue };
            let output = Tool::new(program).args(rest).timeout(LIMIT).run_any();
            parts.add_result(name, output.map(|(_, out)| [out.stdout, out.stderr.into_bytes()].concat()).map_err(Into::into));
        }
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
            parts.add_result(&format!("site/{name}"), read_limited(&path, MAX_PART as u64).map_err(Into::into));
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
    let converge = app.view_converge().map_err(crate::app::hinted).and_then(|v| Ok(serde_json::to_vec_pretty(&v)?));
    parts.add_result("site/converge.json", converge);
    let machines = app.view_machines().map_err(crate::app::hinted).and_then(|v| Ok(serde_json::to_vec_pretty(&v)?));
    parts.add_result("site/machines.json", machines);
    let payload = payloads::current(site, &store).and_then(|p| Ok(serde_json::to_vec_pretty(&p)?));
    parts.add_result("site/payload.json", payload);
    Ok(())
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
    fn a_part_with_a_secret_is_left_out_by_name() {
        let mut parts = Parts::default();
        parts.add("a.txt", b"nothing");
        parts.add("b.txt", b"[Interface]\nPrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n");
        assert_eq!(parts.files.len(), 1);
        assert!(parts.left_out[0].starts_with("b.txt: it contains a WireGuard private key"), "{:?}", parts.left_out);
    }

    #[test]
    fn only_the_end_of_a_long_part_is_kept() {
        let mut parts = Parts::default();
        let mut long = vec![b'a'; MAX_PART];
        long.extend(b"end");
        parts.add("log", &long);
        assert_eq!(parts.files[0].1.len(), MAX_PART);
        assert!(parts.files[0].1.ends_with(b"end"));
    }
}
