//! The resolver's decisions, each on a small index.

use darksite::index;
use darksite::plan::resolve::{Options, ResolveError, Universe};

/// Entries from lines `name version [field: value; …]`.
fn index(lines: &[&str]) -> String {
    let mut text = String::new();
    for line in lines {
        let (head, fields) = line.split_once('[').unwrap_or((line, "]"));
        let mut words = head.split_whitespace();
        let (name, version) = (words.next().unwrap(), words.next().unwrap());
        text += &format!("Package: {name}\nVersion: {version}\nArchitecture: {}\n", words.next().unwrap_or("amd64"));
        for field in fields.trim_end_matches(']').split(';').filter(|f| !f.trim().is_empty()) {
            text += &format!("{}\n", field.trim());
        }
        text += &format!("Filename: pool/{name}_{version}.deb\nSize: 1\nSHA256: {}\n\n", "00".repeat(32));
    }
    text
}

fn closure(lines: &[&str], roots: &[&str], recommends: bool) -> Result<Vec<String>, ResolveError> {
    let text = index(lines);
    let universe = Universe::new(vec![("amd64".into(), index::parse(&text, "amd64", 0).unwrap())])?;
    let roots: Vec<String> = roots.iter().map(|r| (*r).to_owned()).collect();
    let closure = universe.closure("r", "amd64", &roots, Options { recommends })?;
    let mut names: Vec<_> =
        closure.chosen.iter().map(|&at| format!("{}={}", universe.entry(at).name, universe.entry(at).version)).collect();
    names.sort();
    Ok(names)
}

#[test]
fn closures() {
    for (lines, want) in [
        // Essential, required and apt come along by themselves.
        (
            &["a 1", "e 1 [Essential: yes]", "q 1 [Priority: required; Depends: s]", "s 1", "apt 1", "z 1"][..],
            "a=1 apt=1 e=1 q=1 s=1",
        ),
        // Pre-Depends count, circles end, `all` fits.
        (&["a 1 [Pre-Depends: b]", "b 1 all [Depends: a]"], "a=1 b=1"),
        // The first alternative, unless another is there already.
        (&["a 1 [Depends: b | c]", "b 1", "c 1"], "a=1 b=1"),
        (&["a 1 [Depends: b | c, d]", "b 1", "c 1", "d 1 [Depends: c]"], "a=1 c=1 d=1"),
        // An alternative that does not exist, or in the wrong version, is passed over.
        (&["a 1 [Depends: x | c]", "c 1"], "a=1 c=1"),
        (&["a 1 [Depends: b (>= 2) | c]", "b 1", "c 1"], "a=1 c=1"),
        // The newest version wins, also where it comes first.
        (&["a 1 [Depends: b]", "b 2~rc1", "b 1.9"], "a=1 b=2~rc1"),
        // Provides: unversioned satisfies only what asks for no version.
        (&["a 1 [Depends: v]", "p 1 [Provides: v]"], "a=1 p=1"),
        (&["a 1 [Depends: v (>= 2)]", "p 9 [Provides: v]", "q 1 [Provides: v (= 2.1)]"], "a=1 q=1"),
        // Of several providers the one with the higher priority, then by name.
        (&["a 1 [Depends: v]", "n 1 [Provides: v; Priority: optional]", "o 1 [Provides: v; Priority: important]"], "a=1 o=1"),
        (&["a 1 [Depends: v]", "o 1 [Provides: v]", "n 1 [Provides: v]"], "a=1 n=1"),
        // A real package goes before those that provide it.
        (&["a 1 [Depends: v]", "b 1 [Provides: v]", "v 1"], "a=1 v=1"),
        // Architecture qualifiers.
        (&["a 1 [Depends: b:any, c:native, d:amd64]", "b 1 [Multi-Arch: allowed]", "c 1", "d 1 all"], "a=1 b=1 c=1 d=1"),
        (&["a 1 [Recommends: b; Suggests: c]", "b 1", "c 1"], "a=1"),
    ] {
        let got = closure(lines, &["a"], false).unwrap_or_else(|e| panic!("{lines:?}: {e}"));
        assert_eq!(got.join(" "), want, "{lines:?}");
    }
    let lines = ["a 1 [Recommends: b, nowhere]", "b 1"];
    assert_eq!(closure(&lines, &["a"], true).unwrap().join(" "), "a=1 b=1");
}

#[test]
fn what_is_missing_is_reported_with_its_chain() {
    let lines = ["a 1 [Depends: b]", "b 1 [Depends: wireguard (>= 2) | nothing]", "wireguard 1"];
    let error = closure(&lines, &["a"], false).unwrap_err().to_string();
    assert_eq!(
        error,
        "role r: no package satisfies wireguard (>= 2) | nothing (available: wireguard 1); \
         dependency chain: role r -> a -> b -> wireguard (>= 2) | nothing"
    );
    let error = closure(&["openssh-server 1", "openssh-client 1"], &["openssh-sever"], false).unwrap_err().to_string();
    assert_eq!(error, "role r: package openssh-sever not found (did you mean openssh-server?)");
    let error = closure(&["a 1 [Depends: b:arm64]", "b 1"], &["a"], false).unwrap_err();
    assert!(matches!(error, ResolveError::Unsatisfied { .. }), "{error}");
    // `any` needs `Multi-Arch: allowed` (deb-control(5)).
    let error = closure(&["a 1 [Depends: b:any]", "b 1 [Multi-Arch: foreign]"], &["a"], false).unwrap_err();
    assert!(matches!(error, ResolveError::Unsatisfied { .. }), "{error}");
    let error = closure(&["a 1 [Depends: b (1)]", "b 1"], &["a"], false).unwrap_err();
    assert!(matches!(error, ResolveError::Relation { field: "Depends", .. }), "{error}");
}

#[test]
fn roots_that_conflict_are_refused() {
    let lines = ["a 1 [Conflicts: b (<< 2)]", "b 1", "c 1 [Depends: b]", "d 1 [Provides: v; Conflicts: v]"];
    let error = closure(&lines, &["a", "b"], false).unwrap_err().to_string();
    assert_eq!(error, "role r: packages a and b conflict (Conflicts: b (<< 2))");
    // Through a dependency it is a note; a package that provides what it conflicts with does not conflict with itself.
    let text = index(&lines);
    let universe = Universe::new(vec![("amd64".into(), index::parse(&text, "amd64", 0).unwrap())]).unwrap();
    let closure = universe.closure("r", "amd64", &["a".into(), "c".into(), "d".into()], Options::default()).unwrap();
    assert_eq!(closure.conflicts, ["role r: a conflicts with b (Conflicts: b (<< 2))"]);
    let newer = ["a 1 [Conflicts: b (<< 2)]", "b 2"];
    assert_eq!(self::closure(&newer, &["a", "b"], false).unwrap().len(), 2);
}

/// A universe of two architectures; the same packages for all are in both.
fn two(amd64: &[&str], arm64: &[&str]) -> (String, String) {
    let arm =
        index(arm64).replace("Architecture: amd64", "Architecture: arm64").replace("Filename: pool/", "Filename: pool/arm/");
    (index(amd64), arm.replace("pool/arm/x", "pool/x"))
}

fn closure_of<'a>(universe: &'a Universe<'a>, arch: &str, roots: &[&str]) -> Result<(Vec<String>, Vec<String>), ResolveError> {
    let roots: Vec<String> = roots.iter().map(|r| (*r).to_owned()).collect();
    let closure = universe.closure("r", arch, &roots, Options::default())?;
    let mut names: Vec<_> =
        closure.chosen.iter().map(|&at| format!("{}:{}", universe.entry(at).name, universe.entry(at).arch)).collect();
    names.sort();
    Ok((names, closure.notes))
}

#[test]
fn several_architectures() {
    let amd64 = [
        "linux-image-amd64 1 [Depends: img]",
        "img 1",
        "grub-pc 1",
        "a 1 [Depends: b:arm64, f, xall]",
        "b 1",
        "f 1",
        "xall 1 all",
    ];
    let arm64 = [
        "linux-image-arm64 1 [Depends: img]",
        "img 1",
        "a 1 [Depends: b]",
        "b 1 [Depends: c, f]",
        "c 1",
        "f 1 [Multi-Arch: foreign]",
        "xall 1 all",
    ];
    let (one, other) = two(&amd64, &arm64);
    let list = |text, arch: &str, origin| (arch.to_owned(), index::parse(text, arch, origin).unwrap());
    let universe = Universe::new(vec![list(&one, "amd64", 0), list(&other, "arm64", 1)]).unwrap();
    // The package for all is one package; everything else is there once per architecture.
    assert_eq!(universe.len(), amd64.len() + arm64.len() - 1);
    // The kernel's metapackages are named after the architecture; roots that only the first one has are noted.
    let (names, notes) = closure_of(&universe, "arm64", &["linux-image-amd64", "grub-pc", "b:amd64"]).unwrap();
    assert_eq!(names, ["img:arm64", "linux-image-arm64:arm64"]);
    assert_eq!(notes, ["role r: arm64 has no package grub-pc; skipped"]);
    let (names, notes) = closure_of(&universe, "amd64", &["linux-image-amd64", "grub-pc", "b:amd64"]).unwrap();
    assert_eq!((names.join(" ").as_str(), notes.len()), ("b:amd64 grub-pc:amd64 img:amd64 linux-image-amd64:amd64", 0));
    // A qualifier names an architecture; the dependencies of its packages are of that architecture, too.
    let (names, _) = closure_of(&universe, "amd64", &["a"]).unwrap();
    assert_eq!(names, ["a:amd64", "b:arm64", "c:arm64", "f:amd64", "f:arm64", "xall:all"]);
    assert!(closure_of(&universe, "arm64", &["nowhere"]).is_err());
}
