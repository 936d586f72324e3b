//! Files of one crate that import each other in a circle cannot be read, moved or tested one without the other.
//!
//! An edge is a name of another file used in the product part of a file. Declaring a module is none, and a re-export is
//! only a signpost: the edge goes to the file that holds the name.

use std::collections::{BTreeMap, BTreeSet};

use crate::crates::{crate_of, sources};
use crate::source::{Source, root};

const LIST: &str = "tests/tidy/circles.txt";
/// Re-exports followed before giving up: none of ours is longer than three.
const MAX_HOPS: usize = 8;

type Path = Vec<String>;

/// A name that `use` brings into a file.
struct Import {
    name: String,
    path: Path,
    /// `pub use`, in any form.
    exported: bool,
}

/// What is read from one file.
struct Module {
    file: String,
    imports: Vec<Import>,
    /// Paths of two or more words outside of `use`.
    paths: BTreeSet<Path>,
    /// Single words outside of `use`.
    words: BTreeSet<String>,
}

fn tokens(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let len = match word {
            0 if rest.starts_with("::") => 2,
            0 => first.len_utf8(),
            len => len,
        };
        found.push(&rest[..len]);
        rest = rest[len..].trim_start();
    }
    found
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Reads a tree of `use`, `a::{b, c as d}`, from `at`; where it ends.
fn read_tree(tokens: &[&str], mut at: usize, prefix: &Path, exported: bool, out: &mut Vec<Import>) -> usize {
    let mut path = prefix.clone();
    while let Some(token) = tokens.get(at) {
        match *token {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|t| *t != "}" && *t != ";") {
                    at = read_tree(tokens, at, &path, exported, out);
                    at += usize::from(tokens.get(at) == Some(&","));
                }
                return at + 1;
            }
            "," | ";" | "}" => break,
            "as" => {
                let name = tokens.get(at + 1).map_or(String::new(), |t| (*t).to_owned());
                out.push(Import { name, path, exported });
                return at + 2;
            }
            "::" => {}
            "self" if !path.is_empty() => {}
            word => path.push(word.to_owned()),
        }
        at += 1;
    }
    if let Some(name) = path.last().cloned() {
        out.push(Import { name, path, exported });
    }
    at
}

fn read_module(source: &Source) -> Module {
    let code = source.code();
    let tokens = tokens(&code);
    let mut module = Module { file: source.path.clone(), imports: vec![], paths: BTreeSet::new(), words: BTreeSet::new() };
    let mut at = 0;
    while at < tokens.len() {
        // Not the `use<'a>` of a captured lifetime.
        if tokens[at] == "use" && tokens.get(at + 1) != Some(&"<") {
            let exported = at > 0 && (tokens[at - 1] == "pub" || tokens[at - 1] == ")");
            at = read_tree(&tokens, at + 1, &Vec::new(), exported, &mut module.imports);
        } else if is_word(tokens[at]) {
            let mut path = vec![tokens[at].to_owned()];
            while tokens.get(at + 1) == Some(&"::") && tokens.get(at + 2).is_some_and(|t| is_word(t)) {
                path.push(tokens[at + 2].to_owned());
                at += 2;
            }
            if path.len() > 1 {
                module.paths.insert(path);
            } else {
                module.words.extend(path);
            }
            at += 1;
        } else {
            at += 1;
        }
    }
    module
}

/// The modules of one crate by their paths; the library's root is the empty path.
struct Tree(BTreeMap<Path, Module>);

impl Tree {
    /// Where `path`, written in the module `from`, leads: the module, and the words left over.
    fn resolve(&self, from: &Path, path: &[String], hops: usize) -> Option<Path> {
        let (head, mut rest) = path.split_first()?;
        let mut at = match head.as_str() {
            "crate" => Vec::new(),
            "self" => from.clone(),
            "super" => from[..from.len().checked_sub(1)?].to_vec(),
            child => {
                let child: Path = from.iter().cloned().chain([child.to_owned()]).collect();
                if !self.0.contains_key(&child) {
                    return self.imported(from, head, rest, hops);
                }
                child
            }
        };
        while let Some((word, after)) = rest.split_first() {
            if word == "super" {
                at.pop();
            } else {
                let next: Path = at.iter().cloned().chain([word.clone()]).collect();
                if !self.0.contains_key(&next) {
                    return self.imported(&at, word, after, hops).or(Some(at));
                }
                at = next;
            }
            rest = after;
        }
        Some(at)
    }

    /// Follows a name that a file has by `use` to where it is from.
    fn imported(&self, module: &Path, name: &str, rest: &[String], hops: usize) -> Option<Path> {
        let import = self.0.get(module)?.imports.iter().find(|i| i.name == name)?;
        let path: Path = import.path.iter().chain(rest).cloned().collect();
        // `use name::…` of another crate would lead here again.
        if hops == 0 || import.path.first().is_some_and(|head| head == name) && import.path.len() == 1 {
            return None;
        }
        let head = import.path[0].as_str();
        let child: Path = module.iter().cloned().chain([head.to_owned()]).collect();
        let ours = ["crate", "self", "super"].contains(&head) || self.0.contains_key(&child);
        if ours { self.resolve(module, &path, hops - 1) } else { None }
    }

    /// File → files it uses.
    fn edges(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut edges = BTreeMap::new();
        for (at, module) in &self.0 {
            // A module that is imported by name is used where a path begins with that name.
            let used = |i: &&Import| module.words.contains(&i.name) || (!i.exported && !self.is_module(at, &i.path));
            let imports = module.imports.iter().filter(used).map(|i| &i.path);
            let to = imports.chain(&module.paths).filter_map(|path| self.resolve(at, path, MAX_HOPS));
            let to: BTreeSet<&str> = to.map(|m| self.0[&m].file.as_str()).filter(|f| *f != module.file).collect();
            edges.insert(module.file.as_str(), to);
        }
        edges
    }

    fn is_module(&self, from: &Path, path: &Path) -> bool {
        let resolved = self.resolve(from, path, MAX_HOPS);
        resolved.is_some_and(|m| !m.is_empty() && m.last() == path.last())
    }
}

fn reach<'a>(edges: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &'a str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut left = vec![from];
    while let Some(file) = left.pop() {
        left.extend(edges.get(file).into_iter().flatten().filter(|to| seen.insert(**to)));
    }
    seen
}

/// The sets of files that reach each other.
fn circles(edges: &BTreeMap<&str, BTreeSet<&str>>) -> BTreeSet<BTreeSet<String>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> = edges.keys().map(|file| (*file, reach(edges, file))).collect();
    let circle = |(file, to): (&&str, &BTreeSet<&str>)| {
        let back: BTreeSet<String> = to.iter().filter(|t| reached[**t].contains(file)).map(|t| (*t).to_owned()).collect();
        (!back.is_empty()).then_some(back)
    };
    reached.iter().filter_map(circle).collect()
}

fn tree_of(sources: &[Source], krate: &str) -> Tree {
    let prefix = format!("{krate}/src/");
    let mut modules = BTreeMap::new();
    for source in sources.iter().filter(|s| crate_of(&s.path).dir == krate) {
        let Some(path) = source.path.strip_prefix(&prefix).and_then(|p| p.strip_suffix(".rs")) else { continue };
        // Nobody can import a program's root.
        if path == "main" || path.starts_with("bin/") || source.file().ends_with("tests.rs") {
            continue;
        }
        let mut words: Path = path.split('/').map(str::to_owned).collect();
        if words.last().is_some_and(|w| w == "mod") || path == "lib" {
            words.pop();
        }
        modules.insert(words, read_module(source));
    }
    Tree(modules)
}

/// The circles of circles.txt, paragraphs of files below a comment that says why.
fn listed() -> BTreeSet<BTreeSet<String>> {
    let text = std::fs::read_to_string(root().join(LIST)).expect(LIST);
    let paragraphs = text.split("\n\n").map(|p| p.lines().partition::<Vec<_>, _>(|l| l.starts_with('#')));
    let mut circles = BTreeSet::new();
    for (why, files) in paragraphs.filter(|(_, files)| files.iter().any(|l| !l.is_empty())) {
        assert!(!why.is_empty(), "{LIST}: no reason above {}", files[0]);
        circles.insert(files.into_iter().map(str::to_owned).filter(|l| !l.is_empty()).collect());
    }
    circles
}

#[test]
fn files_do_not_import_each_other_in_a_circle() {
    let sources = sources();
    let crates: BTreeSet<&str> = sources.iter().map(|s| crate_of(&s.path).dir.as_str()).collect();
    let mut real = BTreeSet::new();
    let mut edges_in_all = 0;
    for krate in crates {
        let tree = tree_of(sources, krate);
        let edges = tree.edges();
        edges_in_all += edges.values().map(BTreeSet::len).sum::<usize>();
        real.extend(circles(&edges));
    }
    assert!(edges_in_all > 500, "only {edges_in_all} imports were found");
    let listed = listed();
    let show = |c: &BTreeSet<String>| c.iter().cloned().collect::<Vec<_>>().join("\n");
    let show_all = |all: Vec<&BTreeSet<String>>| all.into_iter().map(show).collect::<Vec<_>>().join("\n\n");
    let new = show_all(real.difference(&listed).collect());
    assert!(new.is_empty(), "circles that {LIST} does not list (or not with exactly these files):\n\n{new}\n");
    let gone = show_all(listed.difference(&real).collect());
    assert!(gone.is_empty(), "circles of {LIST} that no longer exist; remove them:\n\n{gone}\n");
}

#[test]
fn circles_are_found_through_signposts_and_not_in_declarations() {
    let files = |list: &[(&str, &str)]| -> Vec<Source> {
        list.iter().map(|(path, text)| Source { path: format!("host/src/{path}.rs"), text: (*text).to_owned() }).collect()
    };
    let circles_of = |list: &[(&str, &str)]| -> Vec<String> {
        let sources = files(list);
        let found = circles(&tree_of(&sources, "host").edges());
        let short = |f: &String| f.strip_prefix("host/src/").map(str::to_owned);
        found.iter().map(|c| c.iter().filter_map(short).collect::<Vec<_>>().join(" ")).collect()
    };
    // A parent declares and re-exports its child, the child uses the parent: no circle.
    let root = ("lib", "pub mod a;\nmod b;\npub use b::B;\npub struct L;\n");
    assert!(circles_of(&[root, ("a", "use crate::L;"), ("b", "use super::L;")]).is_empty());
    // By the signpost, by a path without `use`, by the module's name, by a group.
    for user in
        ["use crate::B;", "fn f() { crate::b::x(); }", "use crate::b;\nfn f() { b::x(); }", "use crate::{L, b::{self, B as C}};"]
    {
        assert_eq!(circles_of(&[root, ("a", user), ("b", "use super::a::A;")]), ["a.rs b.rs"], "{user}");
    }
    // Not by a comment, a string or a test.
    for user in ["// crate::b::B", "const X: &str = \"crate::b::B\";", "#[cfg(test)]\nmod tests { use crate::b::B; }"] {
        assert!(circles_of(&[root, ("a", user), ("b", "use super::a::A;")]).is_empty(), "{user}");
    }
    // A parent that uses what it re-exports needs its child.
    let user = ("lib", "mod b;\npub use b::B;\npub struct L(B);\n");
    assert_eq!(circles_of(&[user, ("b", "use crate::L;")]), ["b.rs lib.rs"]);
    // A name that the parent imports itself leads to where it is from.
    let parent = ("lib", "mod a;\nmod b;\nuse a::A;\nfn f(_: A) {}");
    assert!(circles_of(&[parent, ("a", ""), ("b", "use super::A;")]).is_empty());
}
