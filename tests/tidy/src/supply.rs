//! Dependencies: licences, duplicate crates, registries, and unused dependencies. The rules are
//! deny.toml's, read here so that they hold on every machine; cargo-deny is not needed (docs/adr/0019).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::crates::{Crate, crates, metadata, sources};
use crate::source::{report, root};

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The entries of one list of deny.toml, `key = [`, one entry a line.
fn list(key: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    let (_, rest) = text.split_once(&format!("\n{key} = [\n")).unwrap_or_else(|| panic!("deny.toml has a list {key}"));
    let (lines, _) = rest.split_once("\n]").expect("the list ends on a line of its own");
    lines.lines().map(|l| l.trim().trim_end_matches(',').to_owned()).filter(|l| !l.starts_with('#')).collect()
}

/// `{ crate = "NAME@VERSION", reason = "…" }`
fn skips() -> BTreeMap<(String, String), String> {
    let read = |line: &String| {
        let mut quoted = line.split('"').skip(1).step_by(2);
        let (name, version) = quoted.next()?.split_once('@')?;
        Some(((name.to_owned(), version.to_owned()), quoted.next().unwrap_or("").to_owned()))
    };
    list("skip").iter().map(|l| read(l).unwrap_or_else(|| panic!("not a skip: {l}"))).collect()
}

/// The packages that are built for the product's platform, tests included.
fn packages() -> Vec<Value> {
    let all = metadata(&["--filter-platform", "x86_64-unknown-linux-gnu"]);
    let built: BTreeSet<&str> =
        all["resolve"]["nodes"].as_array().expect("nodes").iter().filter_map(|n| n["id"].as_str()).collect();
    let packages = all["packages"].as_array().expect("packages");
    packages.iter().filter(|p| p["id"].as_str().is_some_and(|id| built.contains(id))).cloned().collect()
}

fn text<'a>(package: &'a Value, key: &str) -> &'a str {
    package[key].as_str().unwrap_or("")
}

/// Whether an SPDX expression can be satisfied by the allowed licences: OR binds looser than AND, `/` is an old OR.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "+WITH+");
    let words: Vec<String> = spaced.split_whitespace().map(|w| w.replace("+WITH+", " WITH ")).collect();
    let mut at = 0;
    any(&words, &mut at, allowed) && at == words.len()
}

fn any(words: &[String], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut good = all(words, at, allowed);
    while words.get(*at).is_some_and(|w| w == "OR") {
        *at += 1;
        good |= all(words, at, allowed);
    }
    good
}

fn all(words: &[String], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut good = one(words, at, allowed);
    while words.get(*at).is_some_and(|w| w == "AND") {
        *at += 1;
        good &= one(words, at, allowed);
    }
    good
}

fn one(words: &[String], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    *at += 1;
    match words.get(*at - 1).map(String::as_str) {
        Some("(") => {
            let good = any(words, at, allowed);
            *at += 1;
            good
        }
        Some(word) => allowed.contains(word),
        None => false,
    }
}

#[test]
fn every_licence_and_every_source_is_allowed() {
    let allowed: BTreeSet<String> = list("allow").iter().map(|l| l.trim_matches('"').to_owned()).collect();
    let packages = packages();
    assert!(packages.len() > 100, "only {} packages were found", packages.len());
    let mut broken = Vec::new();
    for p in &packages {
        let name = format!("{} {}", text(p, "name"), text(p, "version"));
        if !is_allowed(text(p, "license"), &allowed) {
            broken.push(format!("{name}: licence {:?}", text(p, "license")));
        }
        if p["source"].as_str().is_some_and(|s| s != REGISTRY) {
            broken.push(format!("{name}: comes from {}", text(p, "source")));
        }
    }
    report("deny.toml does not allow", &broken);
}

#[test]
fn licences_are_read_as_spdx_means_them() {
    let allowed = BTreeSet::from(["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned));
    for (expression, good) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("(GPL-3.0 OR MIT) AND ISC", true),
        ("GPL-3.0 OR MIT AND BSD-4-Clause", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
        ("MIT MIT", false),
        ("(MIT", false),
        ("", false),
    ] {
        assert_eq!(is_allowed(expression, &allowed), good, "{expression}");
    }
}

#[test]
fn crates_that_are_there_twice_have_a_reason() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for p in packages() {
        versions.entry(text(&p, "name").to_owned()).or_default().insert(text(&p, "version").to_owned());
    }
    let skips = skips();
    let mut broken: Vec<String> = skips.iter().filter(|s| s.1.len() < 10).map(|s| format!("{}: no reason", s.0.0)).collect();
    for (name, versions) in versions.iter().filter(|v| v.1.len() > 1) {
        let kept: Vec<&String> = versions.iter().filter(|v| !skips.contains_key(&(name.clone(), (*v).clone()))).collect();
        if kept.len() > 1 {
            broken.push(format!("{name} is built in versions {kept:?}"));
        }
    }
    let twice = |(name, version): &&(String, String)| versions.get(name).is_some_and(|v| v.len() > 1 && v.contains(version));
    broken.extend(skips.keys().filter(|s| !twice(s)).map(|(n, v)| format!("{n}@{v} is no longer a duplicate: remove it")));
    report("duplicates against deny.toml's list skip", &broken);
}

/// Dependencies that are still listed though nothing uses them: the list may only get shorter.
const LEFT: [&str; 0] = [];

/// Dependencies that no source of their crate names. `[package.metadata.cargo-machete] ignored = […]` is respected.
fn unused(package: &Value, krate: &Crate) -> Vec<String> {
    let ignored = package["metadata"]["cargo-machete"]["ignored"].as_array().cloned().unwrap_or_default();
    let own: Vec<_> = sources().iter().filter(|s| crate::crates::crate_of(&s.path).name == krate.name).collect();
    let product: String = own.iter().filter(|s| s.path.starts_with(&format!("{}/src/", krate.dir))).map(|s| s.code()).collect();
    let every: String = own.iter().map(|s| s.text.as_str()).collect();
    let mut unused = Vec::new();
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        let name = dependency["rename"].as_str().unwrap_or(text(dependency, "name"));
        let word = name.replace('-', "_");
        let text = if dependency["kind"] == "dev" || floor_is_test(krate) { &every } else { &product };
        if !names(text, &word) && !ignored.iter().any(|i| i == name) {
            unused.push(format!("{}: {name}", krate.dir));
        }
    }
    unused
}

/// Crates of tests keep their code behind `cfg(test)`.
fn floor_is_test(krate: &Crate) -> bool {
    crate::crates::floor(krate) >= 5
}

fn names(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part))
}

#[test]
fn every_dependency_is_used() {
    let metadata = metadata(&["--no-deps"]);
    let mut broken = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let krate = crates().iter().find(|c| c.name == text(package, "name")).expect("a crate of ours");
        broken.extend(unused(package, krate));
    }
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let (_, rest) = workspace.split_once("[workspace.dependencies]\n").expect("a table of dependencies");
    let (table, _) = rest.split_once("\n[").expect("another table follows");
    let manifests: String =
        crates().iter().filter_map(|c| std::fs::read_to_string(root().join(&c.dir).join("Cargo.toml")).ok()).collect();
    let listed = table.lines().filter_map(|l| l.split_once(" = ")).map(|(name, _)| name);
    let unused =
        |name: &&str| !manifests.contains(&format!("\n{name}.workspace")) && !manifests.contains(&format!("\n{name} = "));
    broken.extend(listed.filter(unused).map(|name| format!("Cargo.toml: {name}")));
    let done = LEFT.iter().filter(|l| !broken.iter().any(|b| b == *l)).map(|l| (*l).to_owned());
    report("take these off the list LEFT: they are used or gone", &done.collect::<Vec<_>>());
    broken.retain(|b| !LEFT.contains(&b.as_str()));
    report("dependencies that nothing uses (for tests only: move it to [dev-dependencies])", &broken);
}
