//! `seedd payload`: what nodes run after the fabric gate.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, anyhow, bail};
use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, Subcommand};
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::converge::platform::PLAYS;
use cluster_seed::converge::role::resolve_all;
use cluster_seed::ids::Digest;
use converge::payload::check::{Report, check};
use converge::payload::{Origin, Part, Parts, gather, publish};
use serde_json::json;
use site::hint::Hint as _;
use site::{Site, payloads};

use super::args::{PassphraseSource, SiteArgs};
use super::image::find_flow;
use super::running;
use crate::app::change::use_payload;
use crate::terminal::amount;

/// The actor in the event log.
const ACTOR: &str = "command line";
/// Largest file that `show` prints, in bytes.
const MAX_SHOWN: u64 = 1 << 20;
/// The play that needs a program of ours, and where the play expects it.
const FLOW: &str = "flow";
const FLOW_PROGRAM: &str = "ansible/roles/flow/files/kubedos-flow";

#[derive(Subcommand)]
pub enum Payload {
    /// Check the payload: limits, secrets, YAML, plays of cluster.yaml, Ansible's syntax
    #[command(after_long_help = "\
Exit status:
  0  nothing is wrong
  1  something is; each problem is one line")]
    Check(Check),
    /// Check, pack, sign and put the payload in use: nodes run it by stages
    #[command(after_long_help = "\
Examples:
  seedd payload publish
  DARKSITE_SRC=./payload/darksite seedd payload publish")]
    Publish(Publish),
    /// List payloads, the newest first; `*` marks the one in use
    List(List),
    /// List the files of a payload, or print one
    Show(Show),
    /// List the files that differ between two payloads
    Diff(Diff),
    /// Put an earlier payload in use
    Use(Use),
    /// List the plays of the platform and their variables
    Plays(Plays),
}

impl Payload {
    pub fn run(&self) -> Result<()> {
        match self {
            Payload::Check(v) => v.run(),
            Payload::Publish(v) => v.run(),
            Payload::List(v) => v.run(),
            Payload::Show(v) => v.run(),
            Payload::Diff(v) => v.run(),
            Payload::Use(v) => v.run(),
            Payload::Plays(v) => v.run(),
        }
    }
}

#[derive(Args)]
pub struct Source {
    /// Directory with ansible/ and salt/ [default: payload.source of cluster.yaml, or payload in the data directory]
    #[arg(long, env = "DARKSITE_SRC", value_name = "DIR")]
    source: Option<Utf8PathBuf>,
    /// Static kubedos-flow program, if a role has the play flow [default: the one next to this program]
    #[arg(long, value_name = "FILE", env = "KUBEDOS_FLOW")]
    flow: Option<Utf8PathBuf>,
}

/// A program of this host as a file of the payload.
fn program(path: &Utf8Path) -> Result<Part> {
    let size = fs::metadata(path).with_context(|| format!("looking at {path}"))?.len();
    Ok(Part { origin: Origin::Disk(path.to_owned()), size, executable: true })
}

impl Source {
    /// The operator's directory; it need not exist unless it was named.
    fn of(&self, site: &Site, spec: &ClusterSpec) -> Result<Utf8PathBuf> {
        let named = self.source.clone().or_else(|| spec.spec.payload.source.as_ref().map(|s| Utf8PathBuf::from(&s.value)));
        if let Some(dir) = named.as_ref().filter(|dir| !dir.is_dir()) {
            return Err(anyhow!("there is no directory {dir}")).hint("it is named by --source, DARKSITE_SRC or payload.source");
        }
        Ok(named.unwrap_or_else(|| site.join("payload")))
    }

    fn gather(&self, site: &Site, spec: &ClusterSpec) -> Result<Parts> {
        let source = self.of(site, spec)?;
        let mut parts = gather(&source, image::platform_files::FILES).or_else(|e| {
            let hint = e.hint();
            let failed: Result<Parts> = Err(anyhow!(e)).context("gathering the payload");
            if hint.is_empty() { failed } else { failed.hint(hint) }
        })?;
        let wanted = resolve_all(&spec.spec.roles).values().any(|role| role.plays.iter().any(|play| play == FLOW));
        if wanted && !parts.contains_key(FLOW_PROGRAM) {
            parts.insert(FLOW_PROGRAM.to_owned(), program(&find_flow(self.flow.as_ref())?)?);
        }
        Ok(parts)
    }
}

/// Checks in a directory of its own below `tmp`.
fn checked(site: &Site, spec: &ClusterSpec, parts: &Parts) -> Result<Report> {
    let tmp = site.join("tmp").join(format!("payload-check-{}", std::process::id()));
    let _ = fs::remove_dir_all(&tmp);
    fs::create_dir_all(&tmp).with_context(|| format!("creating {tmp}"))?;
    let report = check(parts, &resolve_all(&spec.spec.roles), &tmp);
    let _ = fs::remove_dir_all(&tmp);
    report
}

fn text_of(report: &Report) -> String {
    let mut lines: Vec<String> = report.problems.iter().map(|p| format!("{}: {}", p.place, p.what)).collect();
    lines.extend(report.skipped.iter().map(|s| format!("not checked: {s}")));
    let verdict = match report.problems.len() {
        0 => "nothing is wrong".to_owned(),
        n => format!("{n} {}", if n == 1 { "problem" } else { "problems" }),
    };
    lines.push(format!("{} files, {}: {verdict}", report.files, amount(report.bytes)));
    lines.join("\n")
}

#[derive(Args)]
pub struct Check {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    args: SiteArgs,
}

impl Check {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        let spec = site.spec()?;
        let report = checked(&site, &spec, &self.source.gather(&site, &spec)?)?;
        self.args.show(&report, &text_of(&report))?;
        if report.problems.is_empty() { Ok(()) } else { bail!("the payload cannot be published") }
    }
}

#[derive(Args)]
pub struct Publish {
    #[command(flatten)]
    source: Source,
    /// Sign and store it, but keep the one in use
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    passphrase: PassphraseSource,
    #[command(flatten)]
    args: SiteArgs,
}

impl Publish {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        let (store, spec) = (site.open_store()?, site.spec()?);
        let parts = self.source.gather(&site, &spec)?;
        let report = checked(&site, &spec, &parts)?;
        if !report.problems.is_empty() {
            eprintln!("{}", text_of(&report));
            return Err(anyhow!("the payload cannot be published"))
                .hint("nothing was changed; correct the problems listed above");
        }
        let keys = site.keys().unseal(&self.passphrase.get("Passphrase")?)?;
        let before = payloads::current(&site, &store)?;
        // `gc` deletes what a killed job left, and must not take this one's.
        let _using = site.use_blobs()?;
        let done = publish(&site, &parts, spec.metadata.name.as_str(), &keys.site)?;
        let id = done.manifest.id;
        if !self.keep && before.as_ref().map(|b| b.id) != Some(id) {
            put_in_use(&self.args, id)?;
        }
        let difference = before.as_ref().map(|b| b.difference(&done.manifest));
        let mut text = format!("{id}  {} files, {}", done.manifest.files.len(), amount(done.manifest.size));
        if let Some(d) = &difference {
            text.push_str(&format!("\n{} added, {} removed, {} changed", d.added.len(), d.removed.len(), d.changed.len()));
        }
        text.push_str(match (self.keep, before.is_some_and(|b| b.id == id)) {
            (true, _) => "\nstored; nodes still run the one in use",
            (_, true) => "\nunchanged",
            _ => "\nin use: nodes run it by stages; `seedd converge status` shows how far",
        });
        self.args.show(&json!({"id": id, "fresh": done.fresh, "difference": difference, "skipped": report.skipped}), &text)
    }
}

fn put_in_use(args: &SiteArgs, id: Digest) -> Result<()> {
    let done = match running::control(&args.dir) {
        Some(daemon) => {
            running::let_it_read(&args.dir)?;
            daemon.use_payload(id).map(drop)
        }
        None => args.site().open_store()?.write(|tx| use_payload(tx, ACTOR, id)).map_err(anyhow::Error::from),
    };
    done.context("putting the payload in use")
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    args: SiteArgs,
}

impl List {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        let in_use = site.open_store()?.read(|tx| tx.payload())?;
        let (mut lines, mut rows) = (Vec::new(), Vec::new());
        for (id, manifest) in payloads::all(&site)? {
            let mark = if in_use == Some(id) { "*" } else { " " };
            match manifest {
                Ok(m) => {
                    lines.push(format!("{mark} {id}  {} files, {}, platform {}", m.files.len(), amount(m.size), m.platform));
                    rows.push(json!({"id": id, "files": m.files.len(), "size": m.size, "platform": m.platform, "inUse": in_use == Some(id)}));
                }
                Err(e) => {
                    lines.push(format!("! {id}  damaged: {e:#}"));
                    rows.push(json!({"id": id, "damaged": format!("{e:#}")}));
                }
            }
        }
        let text =
            if lines.is_empty() { "no payload; publish one with `seedd payload publish`".to_owned() } else { lines.join("\n") };
        self.args.show(&json!({"payloads": rows}), &text)
    }
}

#[derive(Args)]
pub struct Show {
    /// Id, or the beginning of one [default: the one in use]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Print this file
    path: Option<String>,
    #[command(flatten)]
    args: SiteArgs,
}

/// The payload whose id begins so, or the one in use.
fn find(site: &Site, wanted: Option<&str>) -> Result<Digest> {
    let Some(wanted) = wanted else {
        let in_use = site.open_store()?.read(|tx| tx.payload())?;
        return in_use.ok_or_else(|| anyhow!("no payload is in use")).hint("publish one with `seedd payload publish`");
    };
    let all = payloads::all(site)?;
    let mut found = all.iter().map(|(id, _)| *id).filter(|id| id.to_string().starts_with(wanted));
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => bail!("several payloads begin with {wanted}"),
        _ => Err(anyhow!("no payload begins with {wanted}")).hint("`seedd payload list` lists the payloads"),
    }
}

impl Show {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        let id = find(&site, self.id.as_deref())?;
        let manifest = payloads::one(&site, id)?;
        let Some(path) = &self.path else {
            let line =
                |(path, file): (&String, &cluster_seed::converge::payload::FileEntry)| format!("{:>10}  {path}", file.size);
            let text: Vec<String> = manifest.files.iter().map(line).collect();
            return self.args.show(&manifest, &text.join("\n"));
        };
        let bytes = converge::payload::read_file(&site.payload_archive(id), path, MAX_SHOWN)?;
        let bytes = bytes.ok_or_else(|| anyhow!("payload {} has no file {path}", id.short()))?;
        let text = String::from_utf8_lossy(&bytes);
        self.args.show(&json!({"path": path, "text": text}), text.trim_end())
    }
}

#[derive(Args)]
pub struct Diff {
    /// The earlier payload: its id, or the beginning of one
    from: String,
    /// The later one [default: the one in use]
    to: Option<String>,
    #[command(flatten)]
    args: SiteArgs,
}

impl Diff {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        let from = payloads::one(&site, find(&site, Some(&self.from))?)?;
        let to = payloads::one(&site, find(&site, self.to.as_deref())?)?;
        let d = from.difference(&to);
        let marks = [("+", &d.added), ("-", &d.removed), ("~", &d.changed)];
        let lines: Vec<String> = marks.iter().flat_map(|(mark, list)| list.iter().map(move |p| format!("{mark} {p}"))).collect();
        self.args.show(&d, &if lines.is_empty() { "no difference".to_owned() } else { lines.join("\n") })
    }
}

#[derive(Args)]
pub struct Use {
    /// Id, or the beginning of one
    id: String,
    #[command(flatten)]
    args: SiteArgs,
}

impl Use {
    fn run(&self) -> Result<()> {
        let site = self.args.site();
        let id = find(&site, Some(&self.id))?;
        payloads::one(&site, id)?;
        put_in_use(&self.args, id)?;
        self.args.show(&json!({"id": id}), &format!("{id} is in use: nodes run it by stages"))
    }
}

#[derive(Args)]
pub struct Plays {
    /// Output JSON
    #[arg(long)]
    json: bool,
}

impl Plays {
    fn run(&self) -> Result<()> {
        let (mut text, mut rows) = (Vec::new(), Vec::new());
        for play in &PLAYS {
            text.push(format!("{}\n    {}", play.name, play.about));
            text.push(format!("    packages  {}", play.packages.join(", ")));
            text.extend(play.vars.iter().map(|(name, about)| format!("    {name}  {about}")));
            let vars: BTreeMap<_, _> = play.vars.iter().copied().collect();
            rows.push(json!({"name": play.name, "about": play.about, "packages": play.packages, "vars": vars}));
        }
        super::args::show(self.json, &json!({"plays": rows}), &text.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_directory_has_to_exist() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(camino::Utf8Path::from_path(dir.path()).unwrap());
        let spec = ClusterSpec::parse(&site::default_cluster_yaml("a")).unwrap();
        let none = Source { source: None, flow: None };
        assert_eq!(none.of(&site, &spec).unwrap(), site.join("payload"));
        let named = Source { source: Some("/nowhere/at/all".into()), flow: None };
        assert!(named.of(&site, &spec).unwrap_err().to_string().contains("/nowhere/at/all"));
    }
}
