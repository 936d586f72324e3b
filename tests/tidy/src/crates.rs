//! The crates of the workspace, as Cargo sees them, and the one direction in which they may import each other.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::source::{Source, files, report, root};

pub struct Crate {
    pub name: String,
    /// Folder below the workspace.
    pub dir: String,
    /// Those of our crates that the product part uses.
    pub imports: BTreeSet<String>,
    /// Those of our crates that only its tests use.
    pub test_imports: BTreeSet<String>,
}

/// What `cargo metadata` says without asking a registry.
pub fn metadata(args: &[&str]) -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let fixed = ["metadata", "--offline", "--locked", "--format-version", "1", "--manifest-path"];
    let out = Command::new(cargo).args(fixed).arg(root().join("Cargo.toml")).args(args).output().expect("starting cargo");
    assert!(out.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("JSON")
}

fn read() -> Vec<Crate> {
    let metadata = metadata(&["--no-deps"]);
    let packages = metadata["packages"].as_array().expect("packages");
    let text = |v: &Value| v.as_str().expect("a string").to_owned();
    let below = |path: &str| path.strip_prefix(&format!("{}/", root().display())).map(str::to_owned);
    let read = |package: &Value| {
        let (mut imports, mut test_imports) = (BTreeSet::new(), BTreeSet::new());
        for dependency in package["dependencies"].as_array().into_iter().flatten().filter(|d| d["path"].is_string()) {
            let kind = if dependency["kind"] == "dev" { &mut test_imports } else { &mut imports };
            kind.insert(text(&dependency["name"]));
        }
        let dir = below(&text(&package["manifest_path"])).expect("below the root");
        let dir = dir.strip_suffix("/Cargo.toml").expect("a manifest").to_owned();
        Crate { name: text(&package["name"]), dir, imports, test_imports }
    };
    packages.iter().map(read).collect()
}

pub fn crates() -> &'static [Crate] {
    static CRATES: OnceLock<Vec<Crate>> = OnceLock::new();
    CRATES.get_or_init(read)
}

/// The crate that a file belongs to: the deepest folder, since crates may lie in one another's.
pub fn crate_of(path: &str) -> &'static Crate {
    let inside = |c: &&Crate| path.starts_with(&format!("{}/", c.dir));
    crates().iter().filter(inside).max_by_key(|c| c.dir.len()).expect("every source belongs to a crate")
}

/// Every Rust file of the workspace's crates.
pub fn sources() -> &'static [Source] {
    static SOURCES: OnceLock<Vec<Source>> = OnceLock::new();
    SOURCES.get_or_init(|| {
        let all = files(|p| p.ends_with(".rs") && crates().iter().any(|c| p.starts_with(&format!("{}/", c.dir))));
        assert!(all.len() >= crates().len(), "found only {} source files: is the root right?", all.len());
        all
    })
}

/// The floor a crate lives on; imports go down only, and never sideways but for the pairs of `may_import`.
pub fn floor(krate: &Crate) -> u8 {
    match krate.dir.as_str() {
        "cluster-seed" => 0,
        "host" => 1,
        "payload" | "pxe" | "darksite" | "image" | "image/formats" | "web" => 2,
        // Over the agent, whose files it reads; the wing of the seed does not know it.
        "payload/flow" => 3,
        dir if dir.starts_with("seedd/") => 3,
        "seedd" => 4,
        _ => 5,
    }
}

fn may_import(from: &Crate, to: &Crate) -> bool {
    let wing = |c: &Crate| floor(c) == 3;
    floor(from) > floor(to)
        || (from.name == "image" && ["payload", "formats"].contains(&to.name.as_str()))
        || (wing(from) && wing(to))
}

/// The test crate that counts what was skipped: everybody's tests use it, and it uses nothing.
const SKIP: &str = "kubedos-skip";

#[test]
fn imports_point_one_way() {
    let named = |name: &str| crates().iter().find(|c| c.name == name).expect("a member of the workspace");
    let mut broken = Vec::new();
    for from in crates() {
        let listed = from.imports.iter().chain(&from.test_imports).filter(|to| *to != SKIP);
        broken.extend(listed.filter(|to| !may_import(from, named(to))).map(|to| format!("{} depends on {to}", from.dir)));
        if from.imports.contains(SKIP) && floor(from) < 5 {
            broken.push(format!("{} uses {SKIP} in its product part", from.dir));
        }
    }
    report("imports against the direction", &broken);
}

/// The block of docs/architecture.md that lists the imports: a line `crate: other other` each.
fn drawn() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(root().join("docs/architecture.md")).expect("docs/architecture.md");
    let (_, rest) = text.split_once("```imports\n").expect("docs/architecture.md has a block ```imports");
    let (block, _) = rest.split_once("```").expect("the block ends");
    let words = |l: &str| l.split_whitespace().map(str::to_owned).collect();
    block.lines().filter_map(|l| l.split_once(':')).map(|(name, rest)| (name.trim().to_owned(), words(rest))).collect()
}

#[test]
fn the_drawing_of_the_crates_is_true() {
    let real: BTreeMap<_, _> = crates().iter().map(|c| (c.name.clone(), c.imports.clone())).collect();
    let line = |(name, imports): (&String, &BTreeSet<String>)| {
        format!("{name}: {}", imports.iter().map(String::as_str).collect::<Vec<_>>().join(" "))
    };
    let wanted = real.iter().map(line).collect::<Vec<_>>().join("\n");
    assert!(drawn() == real, "the block ```imports of docs/architecture.md should be:\n{wanted}");
}

#[test]
fn every_crate_belongs_to_the_workspace() {
    let mut manifests = files(|p| p.ends_with("/Cargo.toml") && !p.starts_with("fuzz/"));
    manifests.retain(|m| !crates().iter().any(|c| m.path == format!("{}/Cargo.toml", c.dir)));
    report("no members of the workspace", &manifests.into_iter().map(|m| m.path).collect::<Vec<_>>());
    assert!(sources().iter().all(|s| !crate_of(&s.path).name.is_empty()));
}
