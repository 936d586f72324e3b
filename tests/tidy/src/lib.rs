//! The rules of docs/architecture.md that a program can check.
#![cfg(test)]

mod circles;
mod crates;
mod laws;
mod licences;
mod source;
mod supply;
mod words;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crates::{crate_of, crates, sources};
use source::{Source, files, report, root, walk};

const MAX_FILE: usize = 400;
const MAX_FUNCTION: usize = 70;

/// Every (file, line number, line) of product code that contains one of `words`, except in files that `allowed` names.
fn uses(words: &[&str], allowed: impl Fn(&Source) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources().iter().filter(|s| !s.is_test() && !allowed(s)) {
        for (n, line) in source.product().lines().enumerate() {
            if let Some(word) = words.iter().find(|w| line.contains(**w)) {
                found.push(format!("{}:{}: {word}", source.path, n + 1));
            }
        }
    }
    found
}

#[test]
fn the_domain_does_no_input_or_output() {
    let words =
        ["tokio", "rusqlite", "std::fs", "std::process", "TcpStream", "TcpListener", "UdpSocket", "std::env", "reqwest", "ureq"];
    report("cluster-seed does no I/O", &uses(&words, |s| crate_of(&s.path).name != "cluster-seed"));
    let manifest = fs::read_to_string(root().join("cluster-seed/Cargo.toml")).expect("cluster-seed has a Cargo.toml");
    let bad: Vec<String> = ["tokio", "rusqlite", "axum", "ureq", "nix", "socket2"]
        .iter()
        .filter(|d| manifest.lines().any(|l| l.starts_with(**d)))
        .map(|d| (*d).to_owned())
        .collect();
    report("cluster-seed depends on a crate that does I/O", &bad);
}

#[test]
fn files_are_short() {
    let long = |s: &Source| (s.text.lines().count() > MAX_FILE).then(|| format!("{}: {} lines", s.path, s.text.lines().count()));
    report("files longer than 400 lines", &sources().iter().filter_map(long).collect::<Vec<_>>());
}

/// (name, first line, lines) of every function, found by its indentation: rustfmt closes it where it began.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let Some((_, rest)) = code.split_once("fn ").filter(|(before, _)| is_qualifier(before)) else { continue };
        let name = rest.split(['(', '<']).next().unwrap_or("");
        let indent = line.len() - code.len();
        let closes = |l: &&str| l.starts_with(&" ".repeat(indent)) && l[indent..].starts_with('}');
        let one_line = code.ends_with('}') || code.ends_with(';');
        if let Some(len) = lines[start..].iter().position(closes).filter(|_| !one_line) {
            found.push((name.to_owned(), start + 1, len + 1));
        }
    }
    found
}

fn is_qualifier(before: &str) -> bool {
    before.split_whitespace().all(|w| ["pub", "async", "const", "extern"].contains(&w) || w.starts_with("pub("))
}

#[test]
fn functions_are_short() {
    let sample = format!("    pub(crate) async fn long(x: u8) {{\n{}    }}\n", "        x;\n".repeat(70));
    assert_eq!(functions(&sample), [("long".to_owned(), 1, 72)], "the counter counts");
    let mut broken = Vec::new();
    for source in sources() {
        for (name, line, len) in functions(&source.text).into_iter().filter(|f| f.2 > MAX_FUNCTION) {
            broken.push(format!("{}:{line}: {name} has {len} lines", source.path));
        }
    }
    report("functions longer than 70 lines", &broken);
}

#[test]
fn sql_stands_only_in_the_store() {
    let words = ["SELECT ", "INSERT INTO", "UPDATE ", "DELETE FROM", "CREATE TABLE", "PRAGMA ", "rusqlite::"];
    report("SQL outside seedd/site/src/store", &uses(&words, |s| s.path.starts_with("seedd/site/src/store")));
}

/// In the product clippy sees to it (`laws`).
#[test]
fn the_lab_starts_programs_only_by_its_tool() {
    let lab: Vec<String> = sources()
        .iter()
        .filter(|s| s.path.starts_with("tests/src/") && s.file() != "tool.rs" && s.text.contains("Command::new"))
        .map(|s| s.path.clone())
        .collect();
    report("the lab starts programs outside its tool.rs", &lab);
}

#[test]
fn sources_of_the_domain_have_no_escape_hatches() {
    let marks = [["#[ig", "nore"].concat(), ["to", "do!("].concat(), ["unimpl", "emented!("].concat(), ["dbg", "!("].concat()];
    let mut broken = Vec::new();
    for source in sources() {
        for (n, line) in source.text.lines().enumerate() {
            if let Some(mark) = marks.iter().find(|m| line.contains(m.as_str())) {
                broken.push(format!("{}:{}: {mark}", source.path, n + 1));
            }
        }
    }
    report("left-over marks", &broken);
}

#[test]
fn kinds_of_events_are_written_as_types() {
    // `login` alone is a word of other things too.
    let kinds: Vec<String> = cluster_seed::events::EventKind::ALL.iter().map(|k| format!("\"{k}\"")).collect();
    let words: Vec<&str> = kinds.iter().map(String::as_str).filter(|w| w.contains('.')).collect();
    // A column of a table and a setting have the same names.
    let elsewhere = |s: &Source| {
        !["seedd", "web", "pxe"].iter().any(|c| s.path.starts_with(&format!("{c}/")))
            || ["store/enrollments.rs", "site/src/setting.rs"].iter().any(|f| s.path.ends_with(f))
    };
    report("kinds of events written as text: use cluster_seed::events::EventKind", &uses(&words, elsewhere));
}

#[test]
fn no_file_names_a_package_registry() {
    // What this machine's package managers are configured with must not be written into the tree.
    let mut hosts = BTreeSet::new();
    let mut configs = vec![PathBuf::from("/etc/apt/sources.list")];
    walk(Path::new("/etc/apt/sources.list.d"), &mut configs);
    for text in configs.iter().filter_map(|p| fs::read_to_string(p).ok()) {
        for part in text.split_whitespace() {
            let host = part.strip_prefix("http://").or_else(|| part.strip_prefix("https://"));
            hosts.extend(host.and_then(|h| h.split('/').next()).filter(|h| h.contains('.')).map(str::to_owned));
        }
    }
    if hosts.is_empty() {
        kubedos_skip::skip("apt-sources", "apt has no sources on this machine");
        return;
    }
    let text_file = |p: &str| p != "Cargo.lock" && !p.starts_with("target/") && !p.starts_with(".git/");
    let mut broken = Vec::new();
    for source in files(text_file) {
        broken.extend(hosts.iter().filter(|h| source.text.contains(h.as_str())).map(|h| format!("{} names {h}", source.path)));
    }
    report("registry hosts", &broken);
}

/// running-a-seed.md once said that the seed does not look for other DHCP servers, and that Secure Boot has to be off.
#[test]
fn the_documents_explain_every_dhcp_mode_and_loader() {
    let read = |p: &str| fs::read_to_string(root().join(p)).unwrap_or_else(|e| panic!("{p}: {e}"));
    let (reference, netboot, running) = (read("docs/cluster-yaml.md"), read("docs/netboot.md"), read("docs/running-a-seed.md"));
    let words = |key: &str| -> Vec<String> {
        let row = reference.lines().find(|l| l.starts_with(&format!("| `{key}` | word |"))).unwrap_or_default();
        let values = row.split(" | ").nth(3).unwrap_or_default();
        values.split(", ").map(|w| w.trim_matches('`').to_owned()).collect()
    };
    let (modes, loaders) = (words("mode"), words("uefi"));
    assert!(modes.len() >= 4 && loaders.len() >= 2, "the reference lists modes {modes:?} and loaders {loaders:?}");
    let mut broken: Vec<String> = Vec::new();
    for mode in modes.iter().filter(|m| !netboot.lines().any(|l| l.starts_with(&format!("| `{m}`")))) {
        broken.push(format!("docs/netboot.md does not explain the DHCP mode {mode}"));
    }
    for loader in loaders.iter().filter(|l| !netboot.contains(l.as_str())) {
        broken.push(format!("docs/netboot.md does not name the loader {loader}"));
    }
    for (page, link) in [(&running, "netboot.md#dhcp-modes"), (&netboot, "Secure Boot")] {
        broken.extend((!page.contains(link)).then(|| format!("a page does not mention {link}")));
    }
    report("documents that contradict the reference", &broken);
}

#[test]
fn the_documents_name_what_is_there() {
    let read = |p: &str| fs::read_to_string(root().join(p)).unwrap_or_else(|e| panic!("{p}: {e}"));
    let architecture = read("docs/architecture.md");
    let missing: Vec<String> =
        crates().iter().map(|c| &c.name).filter(|c| !architecture.contains(&format!("`{c}`"))).cloned().collect();
    report("docs/architecture.md does not mention", &missing);
    let mut broken = Vec::new();
    for page in files(|p| p.ends_with(".md") && (!p.contains('/') || p.starts_with("docs/"))) {
        let folder = root().join(Path::new(&page.path).parent().unwrap_or(Path::new("")));
        for link in page.text.split("](").skip(1).filter_map(|r| r.split(')').next()).filter(|l| !l.contains("://")) {
            if !folder.join(link.split('#').next().unwrap_or("")).exists() {
                broken.push(format!("{} links to {link}, which does not exist", page.path));
            }
        }
    }
    for file in [
        "LICENSE",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "docs/glossary.md",
        "rust-toolchain.toml",
        "Justfile",
        "dev",
        ".ci/run",
        "clippy.toml",
        "deny.toml",
    ] {
        if !root().join(file).exists() {
            broken.push(format!("{file} is missing"));
        }
    }
    report("documents", &broken);
}
