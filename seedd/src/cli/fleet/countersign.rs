//! `seedd countersign`: the key that is kept off the seed. `keygen`, `sign` and `replace` run on a machine without a site.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context as _, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use clap::{ArgGroup, Args, Subcommand};
use cluster_seed::countersign::file::{Answer, MAX_FILE, Request};
use cluster_seed::ids::Hostname;
use cluster_seed::seal::{SigningKey, key_from_text, key_text};
use cluster_seed::secret::{SCRYPT_LOG_N, lock, unlock};
use host::files::{PRIVATE, PUBLIC, read_limited, write_atomic};
use host::random;
use serde_json::{Value, json};
use site::hint::Hint as _;
use site::keys::MIN_PASSPHRASE;
use zeroize::Zeroizing;

use super::output::{Column, ListArgs, Shape, at, column, facts, plain, table};
use super::reach::SeedArgs;
use crate::cli::args::{PassphraseSource, say};
use crate::cli::prompt::{ask_new_secret, confirm};

/// Largest file with a key, in bytes.
const MAX_KEY: u64 = 4_096;
/// Bytes of an ed25519 seed.
const KEY_BYTES: usize = 32;
const API: &str = "/api/v1/countersign";

#[derive(Subcommand)]
pub enum Countersign {
    /// Make a key, on a machine that is not the seed
    ///
    /// The file is encrypted with a passphrase. The public half is printed: it goes into cluster.yaml.
    #[command(after_long_help = "\
Example:
  seedd countersign keygen --out countersign.key")]
    Keygen(Keygen),
    /// Show the key in force and how many nodes wait for it
    Show(Show),
    /// List the nodes that wait for a signature
    #[command(visible_alias = "ls")]
    List(List),
    /// Write the request that the offline machine signs
    #[command(after_long_help = "\
Example:
  seedd countersign export --out /media/stick/request.json")]
    Export(Export),
    /// Show what a request asks for, and sign it after a yes
    ///
    /// Runs on the machine with the key, which needs no network. Compare the fingerprint of each node with the one that its console
    /// shows.
    #[command(after_long_help = "\
Examples:
  seedd countersign sign request.json --key countersign.key --out answer.json
  seedd countersign sign request.json --key countersign.key --only n7.lab.lan")]
    Sign(Sign),
    /// Take the answer of the offline machine: the nodes that it signed enter the peer list
    Import(Import),
    /// Sign that another key takes over, or that countersigning ends
    ///
    /// Runs on the machine with the old key. The new key takes over once it has signed every node: import this answer, export again, and
    /// sign that request with the new key.
    #[command(after_long_help = "\
Examples:
  seedd countersign replace request.json --key old.key --new 3d40...
  seedd countersign replace request.json --key old.key --end")]
    Replace(Replace),
}

#[derive(Args)]
pub struct Keygen {
    /// File for the key; it must not exist
    #[arg(long, value_name = "FILE")]
    out: Utf8PathBuf,
    #[command(flatten)]
    passphrase: PassphraseSource,
}

#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    seed: SeedArgs,
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    seed: SeedArgs,
}

#[derive(Args)]
pub struct Export {
    /// File for the request; without it, standard output
    #[arg(long, value_name = "FILE")]
    out: Option<Utf8PathBuf>,
    /// Ask for nodes too that are signed already, for example after the seed was stolen
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    seed: SeedArgs,
}

#[derive(Args)]
pub struct Sign {
    /// The request
    request: Utf8PathBuf,
    #[command(flatten)]
    key: KeyFile,
    /// Sign this node only; can be given more than once
    #[arg(long, value_name = "NAME")]
    only: Vec<Hostname>,
    #[command(flatten)]
    answer: AnswerFile,
}

#[derive(Args)]
pub struct Import {
    /// The answer
    answer: Utf8PathBuf,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    seed: SeedArgs,
}

#[derive(Args)]
#[command(group = ArgGroup::new("what").required(true))]
pub struct Replace {
    /// A request of the seed, which names the site
    request: Utf8PathBuf,
    #[command(flatten)]
    key: KeyFile,
    /// Public half of the key that takes over: 64 hex digits
    #[arg(long, value_name = "KEY", group = "what")]
    new: Option<String>,
    /// End countersigning: nodes then take what the seed alone signs
    #[arg(long, group = "what")]
    end: bool,
    #[command(flatten)]
    answer: AnswerFile,
}

// The private key.
#[derive(Args)]
struct KeyFile {
    /// File of `seedd countersign keygen`
    #[arg(long, value_name = "FILE")]
    key: Utf8PathBuf,
    #[command(flatten)]
    passphrase: PassphraseSource,
}

// Where the answer goes.
#[derive(Args)]
struct AnswerFile {
    /// File for the answer
    #[arg(long, value_name = "FILE", default_value = "countersign-answer.json")]
    out: Utf8PathBuf,
    /// Skip the confirmation prompt
    #[arg(long)]
    yes: bool,
}

impl KeyFile {
    fn open(&self) -> Result<SigningKey> {
        let locked = read_limited(&self.key, MAX_KEY)?;
        let secret = unlock(&self.passphrase.get("Passphrase of the key")?, &locked).context("opening the key")?;
        let bytes = <[u8; KEY_BYTES]>::try_from(secret.expose()).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| anyhow!("{} does not hold a countersigning key", self.key))?;
        Ok(SigningKey::from_bytes(&bytes))
    }
}

impl AnswerFile {
    fn write(&self, answer: &Answer, text: &str) -> Result<()> {
        let json = serde_json::to_string_pretty(answer).context("encoding the answer")?;
        write_atomic(&self.out, format!("{json}\n").as_bytes(), PUBLIC)?;
        say(&format!("{text}\n  answer     {}\n  next       `seedd countersign import` at the seed", self.out))
    }
}

fn read_request(path: &Utf8Path) -> Result<Request> {
    let bytes = read_limited(path, MAX_FILE as u64)?;
    serde_json::from_slice(&bytes)
        .with_context(|| format!("reading the request in {path}"))
        .hint("`seedd countersign export` writes it")
}

fn nodes(count: usize) -> String {
    if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") }
}

/// What is signed, for the person who answers. Everything in a request comes from the seed, which may not be believed.
fn shown(request: &Request, chosen: &dyn Fn(&Hostname) -> bool) -> String {
    let mut text = format!("site {}, key {}\n", request.name, plain(&request.site));
    for node in request.nodes.iter().filter(|node| chosen(&node.name)) {
        let addresses: Vec<String> = node.addresses.iter().map(|(plane, ip)| format!("{} {ip}", plain(plane))).collect();
        // Writing to a String does not fail.
        let _ =
            writeln!(text, "\n  {}\n    role         {}\n    fingerprint  {}", node.name, plain(&node.role), node.fingerprint());
        let _ = writeln!(text, "    addresses    {}", addresses.join(", "));
    }
    text
}

const WAITING: &[Column] = &[
    column("NAME", |r| at(r, "/name")),
    column("ROLE", |r| at(r, "/role")),
    column("FINGERPRINT", |r| at(r, "/fingerprint")),
    column("LISTED", |r| at(r, "/listed")),
];

impl Countersign {
    pub fn run(&self) -> Result<()> {
        match self {
            Countersign::Keygen(v) => v.run(),
            Countersign::Show(v) => v.run(),
            Countersign::List(v) => {
                let remote = v.seed.connect()?;
                v.list.list("waiting", WAITING, &|| remote.list(API, "waiting"))
            }
            Countersign::Export(v) => v.run(),
            Countersign::Sign(v) => v.run(),
            Countersign::Import(v) => v.run(),
            Countersign::Replace(v) => v.run(),
        }
    }
}

impl Keygen {
    fn run(&self) -> Result<()> {
        if self.out.exists() {
            return Err(anyhow!("{} exists already", self.out)).hint("a key is never overwritten; choose another file");
        }
        let passphrase = match self.passphrase.given()? {
            Some(passphrase) => passphrase,
            None => ask_new_secret("New passphrase for the key")?,
        };
        if passphrase.chars().count() < MIN_PASSPHRASE {
            return Err(anyhow!("the passphrase has fewer than {MIN_PASSPHRASE} characters")).hint("use several words");
        }
        let bytes = Zeroizing::new(random::bytes::<KEY_BYTES>()?);
        let key = key_text(&SigningKey::from_bytes(&bytes).verifying_key());
        write_atomic(&self.out, &lock(&passphrase, bytes.as_slice(), SCRYPT_LOG_N)?, PRIVATE)?;
        say(&format!(
            "key written to {}\n  public     {key}\n  next       enrollment.countersign.key in cluster.yaml; keep the file off the seed, and a copy of it",
            self.out
        ))
    }
}

impl Show {
    fn run(&self) -> Result<()> {
        let view = self.seed.connect()?.get(API)?;
        let waiting = view["waiting"].as_array().cloned().unwrap_or_default();
        let or = |pointer: &str, none: &str| if at(&view, pointer).is_empty() { none.to_owned() } else { at(&view, pointer) };
        let mut text = facts(&[
            ("key", or("/key", "none")),
            ("next key", or("/next", "none")),
            ("changed", or("/serial", "0")),
            ("checked by nodes", if view["checked"] == json!(true) { "yes" } else { "no" }.to_owned()),
            ("problem", or("/problem", "none")),
            ("waiting", waiting.len().to_string()),
        ]);
        if !waiting.is_empty() {
            text = format!("{}\n\n{}", text.trim_end(), table(WAITING, &waiting, false, true).trim_end());
        }
        self.shape.show(&view, text.trim_end())
    }
}

impl Export {
    fn run(&self) -> Result<()> {
        let path = if self.all { format!("{API}/request?all=true") } else { format!("{API}/request") };
        let text = self.seed.connect()?.get(&path)?;
        let text = text["text"].as_str().ok_or_else(|| anyhow!("the seed answered without a request"))?;
        let Some(out) = &self.out else { return say(text.trim_end()) };
        let request: Request = serde_json::from_str(text).context("reading the request of the seed")?;
        write_atomic(out, text.as_bytes(), PUBLIC)?;
        say(&format!(
            "{} in {out}\n  next       `seedd countersign sign {out} --key FILE` on the offline machine",
            nodes(request.nodes.len())
        ))
    }
}

impl Sign {
    fn run(&self) -> Result<()> {
        let request = read_request(&self.request)?;
        let only: BTreeSet<&Hostname> = self.only.iter().collect();
        let chosen = |name: &Hostname| only.is_empty() || only.contains(name);
        if let Some(missing) = self.only.iter().find(|name| !request.nodes.iter().any(|n| n.name == **name)) {
            return Err(anyhow!("the request does not have {missing}"));
        }
        let count = request.nodes.iter().filter(|n| chosen(&n.name)).count();
        if count == 0 {
            return Err(anyhow!("the request has no nodes")).hint("none waits; `seedd countersign export --all` asks for all");
        }
        say(&shown(&request, &chosen))?;
        if !self.answer.yes {
            confirm(&format!("Sign that {} may join the planes?", nodes(count)), "yes")?;
        }
        let answer = request.sign(&self.key.open()?, chosen).context("signing the request")?;
        self.answer.write(&answer, &format!("{} signed", nodes(count)))
    }
}

impl Import {
    fn run(&self) -> Result<()> {
        let bytes = read_limited(&self.answer, MAX_FILE as u64)?;
        let text = String::from_utf8(bytes).with_context(|| format!("reading {} as UTF-8", self.answer))?;
        let done = self.seed.connect()?.post(API, &json!({ "text": text }))?;
        let names =
            |key: &str| done[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(plain).collect::<Vec<_>>();
        let (signed, outdated) = (names("signed"), names("outdated"));
        let mut lines = vec![format!("{} signed", nodes(signed.len()))];
        if !outdated.is_empty() {
            lines.push(format!("left out, since they changed or are gone: {}", outdated.join(", ")));
        }
        if done["change"] == json!(true) {
            lines.push("the change of the key was taken: run `seedd countersign show`".to_owned());
        }
        self.shape.show(&done, &lines.join("\n"))
    }
}

impl Replace {
    fn run(&self) -> Result<()> {
        let request = read_request(&self.request)?;
        if let Some(new) = &self.new {
            key_from_text(new).context("reading --new").hint("`seedd countersign keygen` prints it")?;
        }
        let what = match &self.new {
            Some(new) => format!("Hand over the countersigning of site {} from {} to {new}?", request.name, plain(&request.key)),
            None => {
                format!("End countersigning at site {}? Its nodes then take every peer that the seed alone signs.", request.name)
            }
        };
        if !self.answer.yes {
            confirm(&what, request.name.as_str())?;
        }
        let answer = request.hand_over(&self.key.open()?, self.new.clone()).context("signing the change")?;
        self.answer.write(&answer, "change signed")
    }
}
