//! The list of packages and their licences that the page *About* shows.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::crates::metadata;
use crate::source::root;

const LIST: &str = "web/licences.tsv";
/// What is installed on a seed and on its nodes.
const PROGRAMS: [&str; 3] = ["seedd", "payload", "kubedos-flow"];

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("")
}

/// Ids of the packages that the programs are linked from.
fn linked(all: &Value) -> BTreeSet<String> {
    let packages = all["packages"].as_array().expect("packages");
    let nodes = all["resolve"]["nodes"].as_array().expect("nodes");
    let mut waiting: Vec<String> =
        packages.iter().filter(|p| PROGRAMS.contains(&text(p, "name"))).map(|p| text(p, "id").to_owned()).collect();
    let mut found = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !found.insert(id.clone()) {
            continue;
        }
        let node = nodes.iter().find(|n| text(n, "id") == id).expect("every package is resolved");
        for dep in node["deps"].as_array().expect("deps") {
            // Neither what only builds and tests use.
            if dep["dep_kinds"].as_array().expect("kinds").iter().any(|k| k["kind"].is_null()) {
                waiting.push(text(dep, "pkg").to_owned());
            }
        }
    }
    found
}

#[test]
fn the_list_of_licences_is_that_of_the_packages() {
    let all = metadata(&["--filter-platform", "x86_64-unknown-linux-gnu"]);
    let linked = linked(&all);
    let packages = all["packages"].as_array().expect("packages");
    let foreign = packages.iter().filter(|p| p["source"].is_string() && linked.contains(text(p, "id")));
    let mut lines: Vec<String> =
        foreign.map(|p| format!("{}\t{}\t{}\n", text(p, "name"), text(p, "version"), text(p, "license"))).collect();
    lines.sort();
    assert!(lines.len() > 100, "only {} packages were found", lines.len());
    let (path, list) = (root().join(LIST), lines.concat());
    if std::env::var_os("KUBEDOS_BLESS").is_some() {
        std::fs::write(&path, &list).expect(LIST);
    }
    let held = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(held == list, "{LIST} is stale: run this test with KUBEDOS_BLESS=1 to rewrite it");
}
