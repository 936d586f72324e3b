//! `kubedos-lab bench fleet`: every page and list of a seed with 10,000 machines and 1,000,000 events, the messages of its nodes,
//! and its live pages while events are written.

mod ask;
mod messages;
mod watch;

use std::path::PathBuf;

use anyhow::{Context, Result};
use camino::Utf8PathBuf;
use serde::Serialize;
use site::store::Store;

use crate::dirs::RunDirs;
use crate::fleet::Fleet;
use crate::large_fleet::{Size, TO_WORK, fill};
use crate::netns::PREFIX;
use crate::say;
use crate::seedd::Seedd;
use crate::site::{PASSPHRASE, write_private};

pub use ask::Asked;
pub use messages::Messages;
pub use watch::Watched;

/// What a page may take and weigh at most; beyond, its row is marked.
const MAX_MS: f64 = 200.0;
const MAX_BYTES: usize = 300_000;

#[derive(Debug)]
pub struct Options {
    /// The program to measure; a release build.
    pub seedd: PathBuf,
    pub machines: u32,
    pub events: u32,
    /// How often each page is asked for.
    pub rounds: usize,
    /// Where the figures go, as JSON.
    pub report: Option<PathBuf>,
}

/// Resident memory of the daemon, in bytes.
#[derive(Debug, Default, Serialize)]
pub struct Memory {
    /// After the site was unsealed.
    pub before: u64,
    /// After every page was asked for.
    pub after_pages: u64,
    /// The most while the live pages were open.
    pub live: u64,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub machines: u32,
    pub events: u32,
    pub database_bytes: u64,
    pub pages: Vec<Asked>,
    pub messages: Messages,
    pub memory: Memory,
    pub live: Watched,
}

pub fn run(dirs: &RunDirs, options: &Options) -> Result<()> {
    let (work, logs) = dirs.part("bench-fleet")?;
    let passphrase = work.join("passphrase");
    write_private(&passphrase, PASSPHRASE)?;
    let data = work.join("data");
    let seedd = Seedd { program: options.seedd.clone(), ..Seedd::new(&data, &passphrase)? };
    seedd.init().context("step seedd init")?;
    let database =
        Utf8PathBuf::from_path_buf(data.join("seed.db")).map_err(|p| anyhow::anyhow!("{} is not UTF-8", p.display()))?;
    say::line(&format!("writing {} machines and {} events", options.machines, options.events));
    let began = std::time::Instant::now();
    let store = Store::open(&database).context("opening the database")?;
    let size = Size { machines: options.machines, events: options.events, nodes: TO_WORK };
    fill(&store, size, host::clock::now()).context("filling the database")?;
    store.checkpoint().context("emptying the journal of the database")?;
    drop(store);
    let database_bytes = std::fs::metadata(&database).context("measuring the database")?.len();
    say::line(&format!("the database is {} after {}", say::megabytes(database_bytes), say::seconds(began.elapsed())));
    let mut fleet = Fleet::start(&format!("{PREFIX}{}-fleet", std::process::id()), seedd, 0, &work, &logs)?;
    let before = fleet.daemon.resident()?;
    say::line(&format!("the daemon has {} of memory", say::megabytes(before)));
    let pages = ask::every(&fleet.client, options.rounds)?;
    let after_pages = fleet.daemon.resident()?;
    table(&pages);
    let messages = messages::run(&fleet, options.machines)?;
    messages.print();
    let (live, most) = watch::run(&mut fleet)?;
    let memory = Memory { before, after_pages, live: most };
    say::plain(&format!(
        "memory of the daemon: {} before, {} after all pages, {} with {} live pages",
        say::megabytes(memory.before),
        say::megabytes(memory.after_pages),
        say::megabytes(memory.live),
        live.viewers
    ));
    live.print();
    fleet.ns.must_be_quiet()?;
    let report = Report { machines: options.machines, events: options.events, database_bytes, pages, messages, memory, live };
    if let Some(path) = &options.report {
        std::fs::write(path, serde_json::to_string_pretty(&report)?).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn table(pages: &[Asked]) {
    say::plain("| page | median ms | worst ms | bytes | |\n|---|---|---|---|---|");
    for page in pages {
        say::plain(&page.row(MAX_MS, MAX_BYTES));
    }
    let marked = pages.iter().filter(|p| p.is_over(MAX_MS, MAX_BYTES)).count();
    say::plain(&format!("{} of {} are over {MAX_MS} ms or {MAX_BYTES} bytes", marked, pages.len()));
}
