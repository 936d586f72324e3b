//! Compares our closure with apt's for the same request in the same indexes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use camino::Utf8Path;
use darksite::Plan;

use super::sets::{SETS, Set};
use super::{Bench, SUITE};
use crate::{say, tool};

/// apt with nothing of this machine's configuration and state.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn new(root: &Utf8Path, sources: &str) -> Result<Self> {
        for dir in ["lists/partial", "cache/archives/partial"] {
            std::fs::create_dir_all(root.join(dir)).with_context(|| format!("making {root}"))?;
        }
        std::fs::write(root.join("status"), "")?;
        std::fs::write(root.join("sources.list"), sources)?;
        let options = [
            format!("Dir::Etc::sourcelist={root}/sources.list"),
            "Dir::Etc::sourceparts=-".into(),
            "Dir::Etc::main=/dev/null".into(),
            "Dir::Etc::parts=-".into(),
            "Dir::Etc::preferencesparts=-".into(),
            format!("Dir::State={root}"),
            format!("Dir::State::lists={root}/lists"),
            format!("Dir::State::status={root}/status"),
            format!("Dir::Cache={root}/cache"),
            "APT::Architecture=amd64".into(),
            "APT::Architectures=amd64".into(),
            "APT::Sandbox::User=".into(),
        ];
        Ok(Apt { options: options.into_iter().flat_map(|o: String| ["-o".to_owned(), o]).collect() })
    }

    fn get(&self, args: &[&str]) -> Result<String> {
        let mut argv = tool::words(&["env", "LC_ALL=C", "apt-get"]);
        argv.extend(self.options.iter().cloned());
        argv.extend(tool::words(args));
        let out = tool::outcome(&argv)?;
        ensure!(out.code == 0, "apt-get {}: {}{}", args.join(" "), out.stdout, out.stderr);
        Ok(out.stdout + &out.stderr)
    }

    /// Names and versions that apt would install for these names.
    fn closure(&self, names: &BTreeSet<String>) -> Result<Names> {
        let mut args = vec!["-s", "-q", "--no-install-recommends", "install"];
        args.extend(names.iter().map(String::as_str));
        let text = self.get(&args)?;
        let line = |l: &str| {
            let (name, rest) = l.strip_prefix("Inst ")?.split_once(' ')?;
            let version = rest.trim_start_matches('(').split(' ').next()?;
            Some((name.split(':').next()?.to_owned(), version.to_owned()))
        };
        Ok(text.lines().filter_map(line).collect())
    }
}

/// Compares every set. A difference is fine only if [`explain`] knows why.
pub fn compare(bench: &Bench) -> Result<()> {
    let components = "main contrib non-free non-free-firmware";
    let mut sources = format!("deb {} {SUITE} {components}\ndeb {} {SUITE}-updates {components}\n", bench.mirror, bench.mirror);
    if let Some(security) = &bench.security {
        sources += &format!("deb {security} {SUITE}-security {components}\n");
    }
    let sources = sources.replace("deb ", "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ");
    let apt = Apt::new(&bench.work.join("apt"), &sources)?;
    apt.get(&["-q", "-o", "APT::Update::Error-Mode=any", "-o", "Acquire::Languages=none", "update"])?;
    let mut unexplained = Vec::new();
    for set in &SETS {
        crate::stop::check()?;
        unexplained.extend(one(bench, &apt, set).with_context(|| format!("set {}", set.0))?);
    }
    ensure!(unexplained.is_empty(), "differences that no rule explains:\n  {}", unexplained.join("\n  "));
    Ok(())
}

fn one(bench: &Bench, apt: &Apt, (name, components, roots): &Set) -> Result<Vec<String>> {
    let plan = bench.plan(&bench.request(name, components, roots))?;
    let ours: Names = plan.lock.packages.iter().map(|p| (p.name.clone(), p.version.clone())).collect();
    // apt is asked for the base system by name: ours comes with every closure.
    let base = |p: &str| {
        plan.why(p).iter().any(|(_, why)| why.values().any(|c| c.first().is_some_and(|f| f == "the base system") && c.len() == 2))
    };
    let mut asked: BTreeSet<String> = roots.iter().map(|r| (*r).to_owned()).collect();
    asked.extend(ours.keys().filter(|p| base(p)).cloned());
    let theirs = apt.closure(&asked)?;
    let mut unexplained = Vec::new();
    let mut counted = 0;
    for package in ours.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
        let (a, b) = (ours.get(package), theirs.get(package));
        if a == b {
            continue;
        }
        counted += 1;
        let shown = |v: Option<&String>| v.cloned().unwrap_or_else(|| "-".to_owned());
        let line = format!("{name}: {package} ours {}, apt's {}", shown(a), shown(b));
        match explain(&plan, package, &ours, &theirs) {
            Some(rule) => say::plain(&format!("  {line}: {rule}")),
            None => unexplained
                .push(format!("{line}; why here: {:?}", plan.why(package).first().map(|(_, w)| w.values().next().cloned()))),
        }
    }
    say::line(&format!("{name}: {} packages here, {} by apt, {counted} differ", ours.len(), theirs.len()));
    Ok(unexplained)
}

/// The rules by which the two may differ. Both closures are whole; where a relation names alternatives, which of them is
/// taken depends on what is in already, and the two do not look at packages in the same order.
fn explain(plan: &Plan, package: &str, ours: &Names, theirs: &Names) -> Option<String> {
    match (ours.contains_key(package), theirs.contains_key(package)) {
        (true, true) => None,
        (true, false) => {
            // The first of its chain that apt does not have was taken for a relation that apt has satisfied otherwise.
            let why = plan.why(package);
            let chain = why.first()?.1.values().next()?;
            let link = chain.iter().find(|l| !l.contains("role ") && !theirs.contains_key(name_of(l)))?;
            let relation = link.split_once(" (")?.1.strip_suffix(')')?;
            let other = alternatives(relation).into_iter().find(|n| *n != name_of(link) && theirs.contains_key(*n))?;
            Some(format!("apt has {other} for ({relation})"))
        }
        (false, true) => {
            let paths = plan.lock.indexes.iter().filter(|i| i.path.ends_with("/Packages"));
            let stanzas: Vec<&str> = paths.flat_map(|i| plan.stanzas(&i.path)).collect();
            let provided: BTreeSet<&str> =
                fields(&stanzas, "Provides:").flat_map(|v| v.split(',')).flat_map(alternatives).collect();
            let here = |name: &str| ours.contains_key(name) || provided.contains(name);
            let mut groups =
                ["Depends:", "Pre-Depends:"].into_iter().flat_map(|f| fields(&stanzas, f)).flat_map(|v| v.split(','));
            groups.find_map(|group| {
                let names = alternatives(group);
                let other = names.iter().find(|n| **n != package && here(n))?;
                names.contains(&package).then(|| format!("here {other} stands for ({})", group.trim()))
            })
        }
        (false, false) => None,
    }
}

type Names = BTreeMap<String, String>;

/// The values of a field in every stanza that has it.
fn fields<'s>(stanzas: &[&'s str], name: &'static str) -> impl Iterator<Item = &'s str> {
    stanzas.iter().flat_map(|s| s.lines()).filter_map(move |l| l.strip_prefix(name)).collect::<Vec<_>>().into_iter()
}

fn name_of(link: &str) -> &str {
    link.split(' ').next().unwrap_or(link)
}

/// The names of a relation's alternatives.
fn alternatives(relation: &str) -> Vec<&str> {
    relation.split('|').map(|a| a.trim().split([' ', ':', '(']).next().unwrap_or_default()).collect()
}
