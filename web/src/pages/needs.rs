//! What needs an operator now, and the first hour of a new site as a list of steps.

use cluster_seed::fleet::Stage;
use cluster_seed::proof::ProofState;

use super::view::clean;
use crate::api::{HomeView, Overview};
use crate::dates::ago;

/// Age in seconds from which the newest capsule is mentioned: a week.
const CAPSULE_AGE: u64 = 7 * 86_400;

/// Something that an operator should do.
pub(crate) struct Need {
    pub(crate) id: &'static str,
    /// `bad` or `wait`.
    pub(crate) tone: &'static str,
    pub(crate) text: String,
    /// A command that does it.
    pub(crate) command: Option<&'static str>,
    /// Text and address of a link.
    pub(crate) link: Option<(&'static str, &'static str)>,
}

impl Need {
    fn new(id: &'static str, tone: &'static str, text: String) -> Self {
        Need { id, tone, text, command: None, link: None }
    }

    fn run(self, command: &'static str) -> Self {
        Need { command: Some(command), ..self }
    }

    fn go(self, text: &'static str, to: &'static str) -> Self {
        Need { link: Some((text, to)), ..self }
    }
}

/// A step of the first hour.
pub(crate) struct Step {
    pub(crate) done: bool,
    pub(crate) title: &'static str,
    /// How to do it.
    pub(crate) how: &'static str,
    pub(crate) command: Option<&'static str>,
    pub(crate) link: Option<(&'static str, &'static str)>,
}

fn count(home: &HomeView, stage: Stage) -> u32 {
    home.counts.get(&stage).copied().unwrap_or(0)
}

/// `one machine`, `3 machines`.
fn some(n: u32, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// The steps of a new site, until a node works.
pub(super) fn steps(overview: &Overview, home: &HomeView) -> Vec<Step> {
    let works = [Stage::Working, Stage::Silent].iter().any(|s| count(home, *s) > 0);
    if works {
        return Vec::new();
    }
    let step = |done, title, how| Step { done, title, how, command: None, link: None };
    let built = home.netboot && overview.roles.iter().any(|r| r.artifact.is_some());
    let seen = home.counts.values().any(|n| *n > 0);
    vec![
        step(true, "Create the site", ""),
        step(!overview.setup_needed, "Create an administrator", "Use the set-up code that the seed printed when it started."),
        Step {
            link: Some(("Unseal", "/unseal")),
            command: Some("seedd unseal"),
            ..step(!overview.sealed, "Unseal the seed", "A sealed seed serves boot files but approves no machine.")
        },
        Step {
            command: Some("seedd cluster apply"),
            ..step(
                home.ssh_keys > 0,
                "Add SSH keys",
                "Nodes have no passwords: without a public key in ssh.authorizedKeys of cluster.yaml, you cannot log in to the nodes that you install.",
            )
        },
        Step {
            command: Some("seedd darksite build"),
            ..step(overview.snapshot.is_some(), "Build the package snapshot", "Nodes are built from it, without the Internet.")
        },
        Step {
            command: Some("seedd image build"),
            ..step(built, "Build the images", "The system that machines boot from the network, and one artifact for each role.")
        },
        step(
            seen,
            "Boot a machine from the network",
            "Connect it to the boot network, and choose PXE or HTTP boot in its firmware.",
        ),
        Step {
            link: seen.then_some(("Show pending machines", "/machines?state=waiting")),
            ..step(
                false,
                "Approve the first node",
                "Type the code that its console shows into the field above. It becomes a node when its role has been applied.",
            )
        },
    ]
}

/// What needs an operator, the most urgent first. `new` leaves out what the steps of a new site say already.
pub(super) fn needs(overview: &Overview, home: &HomeView, new: bool) -> Vec<Need> {
    let mut all = Vec::new();
    if !new {
        seed_needs(overview, home, &mut all);
    }
    machine_needs(overview, home, &mut all);
    if !new {
        keeping_needs(overview, home, &mut all);
    }
    all
}

/// The seed cannot do its work.
fn seed_needs(overview: &Overview, home: &HomeView, all: &mut Vec<Need>) {
    if overview.sealed {
        all.push(
            Need::new("sealed", "bad", "The seed is sealed: it cannot approve machines.".to_owned()).go("Unseal", "/unseal"),
        );
    }
    if home.ssh_keys == 0 {
        let text =
            "cluster.yaml has no SSH keys (ssh.authorizedKeys): there is no way to log in to the nodes that are installed.";
        all.push(Need::new("ssh-keys", "bad", text.to_owned()).run("seedd cluster apply"));
    }
}

fn machine_needs(overview: &Overview, home: &HomeView, all: &mut Vec<Need>) {
    let now = overview.clock;
    let waiting = count(home, Stage::Waiting);
    if waiting > 0 {
        let oldest = home.oldest.as_ref().map(|o| format!(", the oldest came {}", ago(now, o.at))).unwrap_or_default();
        let text = format!("{} waiting for approval{oldest}.", some(waiting, "machine"));
        all.push(Need::new("waiting", "wait", text).go("Approve", "/machines/approve"));
    }
    for (reason, n) in &home.failures {
        let reason = if reason.is_empty() { "no reason reported".to_owned() } else { clean(reason) };
        all.push(
            Need::new("failed", "bad", format!("{} failed: {reason}", some(*n, "machine"))).go("Show", "/machines?state=failed"),
        );
    }
    let silent = count(home, Stage::Silent);
    if silent > 0 {
        let named: Vec<String> = home.silent.iter().map(|s| format!("{} ({})", clean(&s.name), ago(now, s.at))).collect();
        let shown = u32::try_from(named.len()).unwrap_or(silent);
        let more = if silent > shown { format!(" and {} more", silent - shown) } else { String::new() };
        let text = format!("{} silent: {}{more}", some(silent, "node"), named.join(", "));
        all.push(Need::new("silent", "bad", text).go("Show", "/machines?state=silent"));
    }
    let lists = &overview.lists;
    if lists.unaware > 0 {
        let names: Vec<String> = lists.revoked.iter().map(|n| clean(n)).collect();
        let text = format!(
            "{} revoked: {} of {} nodes have not received this revocation yet.",
            names.join(", "),
            lists.unaware,
            lists.nodes
        );
        all.push(Need::new("unaware", "bad", text));
    }
}

/// What has to be kept up over the years.
fn keeping_needs(overview: &Overview, home: &HomeView, all: &mut Vec<Need>) {
    match (overview.snapshot, overview.proof) {
        (None, _) => {
            let text = "There is no package snapshot: nothing can be built or installed.".to_owned();
            all.push(Need::new("snapshot", "bad", text).run("seedd darksite build"));
        }
        (Some(_), Some(ProofState::Failed)) => {
            let text = "An offline installation from the package snapshot failed.".to_owned();
            all.push(Need::new("snapshot", "bad", text).go("Packages", "/packages"));
        }
        (Some(_), Some(ProofState::Unproven)) => {
            let text = "The package snapshot has not been proven by an offline installation.".to_owned();
            all.push(Need::new("snapshot", "wait", text).run("seedd darksite prove"));
        }
        _ => {}
    }
    let (names, n) = &home.ending;
    if *n > 0 {
        let names: Vec<String> = names.iter().map(|n| clean(n)).collect();
        let text = format!("The certificates of {} end within a month: {}", some(*n, "node"), names.join(", "));
        all.push(Need::new("certificates", "wait", text).go("Platform", "/platform"));
    }
    let age = home.capsule.map(|at| overview.clock.saturating_sub(at));
    if age.is_none_or(|age| age >= CAPSULE_AGE) {
        let text = match home.capsule {
            Some(at) => format!("The newest capsule of the site was exported {}.", ago(overview.clock, at)),
            None => "The site was never exported: without a capsule, it cannot be recovered on another seed.".to_owned(),
        };
        all.push(Need::new("capsule", "wait", text).go("Export", "/site"));
    }
}
