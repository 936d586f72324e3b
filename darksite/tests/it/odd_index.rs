//! Other people's indexes: one odd package never spoils the others, and apt's opinion of every oddity.

use std::fmt::Write as _;

use crate::common::{NOW, at, chain, request};
use crate::odd::{Apt, HELLO, Odd, fetch, sha512};
use camino::Utf8Path;
use cluster_seed::ids::Digest;
use cluster_seed::progress::Quiet;
use cluster_seed::repo::RepoProfile;
use darksite::{Clock, DirFetch, relation};

/// How an odd package fares.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    /// Taken by plans and extras.
    Taken,
    /// Fetched as an extra; a plan leaves it out, since its stanza would be published as it is.
    Extra,
    /// Left out, and an error where it is asked for: its words.
    Out(&'static str),
}
use Fate::{Extra, Out, Taken};

/// A change of a good stanza, its fate, and whether apt offers the package.
const ODD: &[(&str, &str, Fate, bool)] = &[
    ("{FILE}", "pool/hello_1.0_amd64.deb", Taken, true),
    ("{FILE}", "./pool/hello_1.0_amd64.deb", Extra, true),
    ("{FILE}", "pool//hello_1.0_amd64.deb", Extra, true),
    ("{FILE}", "/pool/hello_1.0_amd64.deb", Extra, true),
    ("{FILE}", "pool/hello 1.0.deb", Extra, true),
    ("{FILE}", "pool/hello[1.0](x).deb", Extra, true),
    ("{FILE}", "pool/${VERSION}/hello.deb", Extra, true),
    ("{FILE}", "pool/hello,1.0;x.deb", Extra, true),
    ("{FILE}", "pool/h\u{e4}llo.deb", Extra, true),
    ("{FILE}", "pool/hello#1?.deb", Extra, true),
    ("{FILE}", "../pool/hello_1.0_amd64.deb", Out("Filename"), true),
    ("{FILE}", "pool/../../hello_1.0_amd64.deb", Out("Filename"), true),
    ("{FILE}", "pool/..\\hello_1.0_amd64.deb", Out("Filename"), true),
    ("Filename: {FILE}\n", "", Out("it has no Filename"), false),
    ("Size: {SIZE}", "Size: 0", Extra, false),
    ("Size: {SIZE}", "Size: -1", Extra, true),
    ("Size: {SIZE}", "Size: many", Extra, false),
    ("Size: {SIZE}\n", "", Extra, false),
    ("SHA256: {SHA256}", "SHA512: {SHA512}", Extra, true),
    ("SHA256: {SHA256}", "sha256: {SHA256}", Taken, true),
    ("SHA256: {SHA256}", "Sha256: {SHA256}", Taken, true),
    ("SHA256: {SHA256}\n", "", Out("no valid SHA256"), true),
    ("SHA256: {SHA256}", "MD5sum: 900150983cd24fb0d6963f7d28e17f72", Out("no valid SHA256"), true),
    ("SHA256: {SHA256}", "SHA256: zz", Out("no valid SHA256"), true),
    ("SHA256: {SHA256}", "SHA256: {SHA256}\nSHA512: 00", Taken, true),
    ("Package: hello", "PACKAGE: hello", Taken, true),
    ("Version: 1.0", "version:\t1.0", Taken, true),
    ("Version: 1.0", "Version:\n 1.0", Taken, true),
    ("Architecture: amd64\n", "", Out("it has no Architecture"), true),
    ("Version: 1.0\n", "", Out("it has no hello 1.0"), false),
    ("Version: 1.0\n", "Version: 1.0\nVersion: 2.1\n", Out("it has no hello 1.0"), false),
    ("Version: 1.0\n", "Version: 2.1\nVersion: 1.0\n", Extra, true),
    ("Maintainer: C", "Maintainer: A\nMaintainer: C", Taken, true),
    ("Maintainer: C", "Depends: a\nDepends: b\nMaintainer: C", Extra, true),
    ("Maintainer: C", "Maintainer: J\u{ff}rg", Taken, true),
    ("Maintainer: C", "Essential: maybe\nMaintainer: C", Taken, true),
    ("Maintainer: C", "Multi-Arch: both\nMaintainer: C", Taken, true),
    ("Maintainer: C", "Priority: whatever\nMaintainer: C", Taken, true),
    ("Maintainer: C", "no field\nMaintainer: C", Out("neither a field name"), true),
    ("Package: hello", "Package : hello", Out("it has no hello 1.0"), true),
    ("Description: a case\n", "Description: a case", Taken, true),
];

/// The stanza with a change; `name` is the package's. `ÿ` stands for a byte that is not UTF-8.
fn stanza(from: &str, to: &str, name: &str) -> Vec<u8> {
    assert!(HELLO.contains(from), "{from}");
    let text = HELLO.replacen(from, to, 1).replace("hello\n", &format!("{name}\n"));
    let mut bytes = text.into_bytes();
    while let Some(place) = bytes.windows(2).position(|w| w == "\u{ff}".as_bytes()) {
        bytes.splice(place..place + 2, [0xff]);
    }
    bytes
}

/// Another place than that of `hello`.
fn without_place(mut stanza: Vec<u8>) -> Vec<u8> {
    let name = b"{FILE}";
    if let Some(place) = stanza.windows(name.len()).position(|w| w == name) {
        stanza.splice(place..place + name.len(), *b"pool/zz.deb");
    }
    stanza
}

fn index(packages: Vec<u8>) -> Odd {
    Odd { packages, ..Odd::default() }
}

fn temp() -> (tempfile::TempDir, camino::Utf8PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(temp.path()).unwrap().to_owned();
    (temp, root)
}

#[test]
fn an_odd_package_does_not_spoil_the_index() {
    for (from, to, fate, _) in ODD {
        for odd_first in [true, false] {
            let (_temp, root) = temp();
            let mut parts = [stanza(from, to, "zz"), b"\n\n".to_vec(), HELLO.into()];
            if !odd_first {
                parts.reverse();
            }
            let repo = index(parts.concat());
            repo.write(&root);
            let yaml = repo.yaml(root.as_str(), &root.join("key.gpg"), "odd", &Digest::of(&repo.deb()));
            let (built, said, _) = fetch(&yaml, &DirFetch);
            let built = built.unwrap_or_else(|e| panic!("{to:?}: {}", chain(&e)));
            assert_eq!(built.origins.len(), 1, "{to:?}");
            // What cannot be asked for at all is named.
            let named = said.contains("1 package of repository r, main/binary-amd64/Packages left out as unusable: ");
            let another_version = to.ends_with("Version: 2.1\n");
            assert_eq!(named, matches!(fate, Out(_)) && !another_version, "{to:?}: {said}");
        }
    }
}

#[test]
fn an_odd_package_is_an_error_only_where_it_is_asked_for() {
    for (from, to, fate, _) in ODD {
        let (_temp, root) = temp();
        let file = if *from == "{FILE}" && !matches!(fate, Out(_)) { to } else { "pool/hello_1.0_amd64.deb" };
        let repo = Odd { file, ..index(stanza(from, to, "hello")) };
        repo.write(&root);
        let yaml = repo.yaml(root.as_str(), &root.join("key.gpg"), "odd", &Digest::of(&repo.deb()));
        match (fetch(&yaml, &DirFetch).0, fate) {
            (Ok(manifest), Taken | Extra) => assert!(manifest.origins[0].signed_by.is_some()),
            (Err(e), Out(words)) => assert!(chain(&e).contains(words), "{to:?}: {}", chain(&e)),
            (Ok(_), fate) => panic!("{to:?} was taken, not {fate:?}"),
            (Err(e), fate) => panic!("{to:?} is {fate:?}: {}", chain(&e)),
        }
    }
}

#[test]
fn a_plan_leaves_out_what_it_cannot_publish_and_says_so() {
    for (from, to, fate, _) in ODD {
        let (_temp, root) = temp();
        let zz = if from.contains("{FILE}") { stanza(from, to, "zz") } else { without_place(stanza(from, to, "zz")) };
        let repo = Odd { file: "pool/h.deb", ..index([zz, b"\n\n".to_vec(), HELLO.into()].concat()) };
        repo.write(&root);
        let mut req = request(&format!("file://{root}"), &["hello"]);
        req.sources[0].suite = "odd".into();
        req.clock = Clock::At(at(NOW));
        req.profile = RepoProfile::Full;
        let keys = crate::odd::key(9).keyring().unwrap();
        let plan = darksite::plan(&req, &DirFetch, &keys, &Quiet).unwrap_or_else(|e| panic!("{to:?}: {}", chain(&e)));
        let taken = plan.lock.packages.iter().any(|p| p.name == "zz");
        assert_eq!(taken, *fate == Taken, "{to:?}: {:?}", plan.notes);
        assert_eq!(
            plan.notes.iter().any(|n| n.contains("1 package of odd/main left out as unusable: ")),
            !taken,
            "{:?}",
            plan.notes
        );
        // The same as a root: an error, with the reason.
        req.roots.insert("web".into(), vec!["zz".into()]);
        let asked = darksite::plan(&req, &DirFetch, &keys, &Quiet);
        assert_eq!(asked.is_ok(), taken, "{to:?}");
    }
    let (_temp, root) = temp();
    index([stanza("Size: {SIZE}", "Size: 0", "zz"), b"\n\n".to_vec(), HELLO.into()].concat()).write(&root);
    let mut req = request(&format!("file://{root}"), &["hello", "zz"]);
    req.sources[0].suite = "odd".into();
    let error = darksite::plan(&req, &DirFetch, &crate::odd::key(9).keyring().unwrap(), &Quiet).unwrap_err();
    assert!(chain(&error).starts_with("package zz is in the index, but cannot be used: Size \"0\""), "{}", chain(&error));
    assert!(error.hint().is_some());
}

#[test]
fn apt_says_the_same() {
    let Some(apt) = Apt::find() else { return };
    for (from, to, _, offered) in ODD {
        let repo = index(stanza(from, to, "hello"));
        let (found, said) = apt.reads(&repo.index(), "1.0");
        assert_eq!(found, *offered, "{to:?}: apt said {said}");
        // Another package's oddity does not matter to apt either.
        let other = index([stanza(from, to, "zz"), b"\n\n".to_vec(), HELLO.into()].concat());
        let (found, said) = apt.reads(&other.index(), "1.0");
        assert!(found, "{to:?}: apt said {said}");
    }
}

/// What apt stumbles over and we do not: a stanza without a name, and a line that is no field at the end of one.
#[test]
fn some_oddities_are_too_much_for_apt_only() {
    let apt = Apt::find();
    for odd in [HELLO.replace("hello\n", "zz\n") + "no field\n", "no field\n".into(), "# a comment\n".to_owned() + HELLO] {
        let (_temp, root) = temp();
        let repo = index([odd, HELLO.into()].join("\n").into_bytes());
        repo.write(&root);
        let yaml = repo.yaml(root.as_str(), &root.join("key.gpg"), "odd", &Digest::of(&repo.deb()));
        assert!(fetch(&yaml, &DirFetch).0.is_ok());
        if let Some(apt) = &apt {
            assert!(!apt.reads(&repo.index(), "1.0").0);
        }
    }
}

/// Versions that the policy forbids: apt takes them all, dpkg does not, and a plan compares versions.
#[test]
fn odd_versions_are_left_out() {
    let apt = Apt::find();
    for version in ["1.0_1", "1.0 beta", ":1.0", "-1", "1.0$", "1:", "x:1", "1.0\u{e4}"] {
        let (_temp, root) = temp();
        let odd = HELLO.replace("Version: 1.0", &format!("Version: {version}"));
        let repo = index([odd.replace("hello\n", "zz\n"), HELLO.into()].join("\n").into_bytes());
        repo.write(&root);
        let yaml = repo.yaml(root.as_str(), &root.join("key.gpg"), "odd", &Digest::of(&repo.deb()));
        assert!(fetch(&yaml, &DirFetch).0.is_ok(), "{version}");
        let text = String::from_utf8(repo.index()).unwrap();
        let read = darksite::index::read(&text, "amd64", 0).unwrap();
        assert_eq!((read.entries.len(), read.left_out.len()), (1, 1), "{version}");
        assert!(read.left_out[0].why.contains("Version"), "{:?}", read.left_out);
        if let Some(apt) = &apt {
            assert!(apt.reads(&repo.index(), "1.0").0, "{version}");
        }
    }
}

#[test]
fn of_one_version_with_several_digests_the_one_asked_for_is_taken() {
    let (_temp, root) = temp();
    let other = HELLO.replace("{SHA256}", &"ab".repeat(32)).replace("{FILE}", "pool/other.deb");
    let long = HELLO.replace("SHA256: {SHA256}", &format!("SHA512: {}", "ab".repeat(64)));
    for list in [[other.as_str(), HELLO], [HELLO, &other], [&long, HELLO]] {
        let repo = index(list.join("\n").into_bytes());
        repo.write(&root);
        let key = root.join("key.gpg");
        let yaml = |digest: &Digest| repo.yaml(root.as_str(), &key, "odd", digest);
        assert!(fetch(&yaml(&Digest::of(&repo.deb())), &DirFetch).0.is_ok());
        assert!(fetch(&yaml(&Digest([1; 32])), &DirFetch).0.is_err());
    }
    // A SHA512 in the index that the file does not have: the signature covers other bytes.
    let repo = index(long.into_bytes());
    repo.write(&root);
    let yaml = repo.yaml(root.as_str(), &root.join("key.gpg"), "odd", &Digest::of(&repo.deb()));
    let error = chain(&fetch(&yaml, &DirFetch).0.unwrap_err());
    assert!(error.contains(&format!("sha512 {}", sha512(&repo.deb()))), "{error}");
}

/// Relation fields, and whether apt reads them: one that it does not read makes the whole index unusable for it.
const RELATIONS: &[(&str, bool)] = &[
    ("a", true),
    ("a, b", true),
    ("a | b", true),
    ("a,", true),
    ("a,\n b", true),
    ("a (= 1)", true),
    ("a(= 1)", true),
    ("a (=12)", true),
    ("a (=1), b", true),
    ("a (1), b", true),
    ("a ( = 1 )", true),
    ("a (== 1)", true),
    ("a (>< 1)", true),
    ("a (>= 1.0 beta)", true),
    ("a (= ${binary:Version})", true),
    ("a (= 1_2)", true),
    ("a:any", true),
    ("a:", true),
    ("${misc:Depends}", true),
    ("a;b", true),
    ("a/b", true),
    ("-a", true),
    ("A", true),
    ("\u{e4}", true),
    ("a,,b", false),
    ("a, ,b", false),
    (",a", false),
    (",", false),
    ("a | | b", false),
    ("a||b", false),
    ("| a", false),
    ("a (=)", false),
    ("a (= )", false),
    ("a (=  )  , b", false),
    ("a =", false),
    ("a = 1", false),
    ("a (1)", false),
    ("a (12)", false),
    ("a(=1)", false),
    ("a (= 1", false),
    ("a (= 1) x", false),
    ("a (= 1)x, b", false),
    ("a (= 1) (= 2)", false),
    ("(= 1)", false),
    ("a b", false),
    ("a\tb", false),
    ("a [amd64]", false),
    ("a <x>", false),
    ("a)", false),
];

const FIELDS: [&str; 9] =
    ["Depends", "Pre-Depends", "Recommends", "Suggests", "Conflicts", "Breaks", "Replaces", "Enhances", "Provides"];

fn with_relation(field: &str, value: &str, name: &str) -> String {
    HELLO.replace("hello\n", &format!("{name}\n")).replace("Maintainer", &format!("{field}: {value}\nMaintainer"))
}

#[test]
fn a_relation_that_apt_cannot_read_is_found_in_every_field() {
    for field in FIELDS {
        for (value, read) in RELATIONS.iter().chain(&[("", field != "Provides")]) {
            assert!(value.is_empty() || relation::apt_reads(value) == *read, "{value:?}");
            let text = String::from_utf8(index(with_relation(field, value, "zz").into()).index()).unwrap();
            let entries = darksite::index::parse(&text, "amd64", 0).unwrap();
            let refused = entries[0].refused_by_apt();
            assert_eq!(refused.map(|(name, _)| name), (!read).then_some(field), "{field}: {value:?}");
        }
    }
}

#[test]
fn a_package_with_a_relation_that_apt_cannot_read_is_not_published() {
    let keys = crate::odd::key(9).keyring().unwrap();
    for (field, value) in [("Depends", "hello,,hello"), ("Provides", ""), ("Suggests", "a (=)"), ("Replaces", "| a")] {
        let (_temp, root) = temp();
        let zz = with_relation(field, value, "zz").replace("{FILE}", "pool/zz.deb");
        let older = with_relation("Suggests", "a", "yy").replace("{FILE}", "pool/yy.deb");
        index([&zz, &older, HELLO].join("\n").into_bytes()).write(&root);
        let mut req = request(&format!("file://{root}"), &["hello"]);
        req.sources[0].suite = "odd".into();
        // Nobody needs it: it is not published, and not worth a word.
        let plan = darksite::plan(&req, &DirFetch, &keys, &Quiet).unwrap();
        assert_eq!((plan.lock.packages.len(), plan.notes.len()), (1, 0), "{:?}", plan.notes);
        req.profile = RepoProfile::Full;
        let plan = darksite::plan(&req, &DirFetch, &keys, &Quiet).unwrap();
        let names: Vec<_> = plan.lock.packages.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["hello", "yy"]);
        assert!(plan.notes.iter().any(|n| n.contains(&format!("zz 1.0 (apt cannot read {field}"))), "{:?}", plan.notes);
        req.roots.insert("web".into(), vec!["zz".into()]);
        let error = darksite::plan(&req, &DirFetch, &keys, &Quiet).unwrap_err();
        assert!(chain(&error).contains("package zz is in the index, but cannot be used: apt cannot read"), "{}", chain(&error));
    }
}

#[test]
fn apt_reads_those_relations_and_no_others() {
    let Some(apt) = Apt::find() else { return };
    let mut good = String::new();
    for (number, (value, _)) in RELATIONS.iter().filter(|(_, read)| *read).enumerate() {
        // apt 2.6 crashes where many packages have odd Conflicts, Breaks or Replaces; alone it reads each of them.
        for field in FIELDS.iter().filter(|f| !["Conflicts", "Breaks", "Replaces"].contains(f)) {
            writeln!(good, "{}", with_relation(field, value, &format!("p{number}-{}", field.to_lowercase()))).unwrap();
        }
    }
    let (found, said) = apt.reads(&index((good + HELLO).into_bytes()).index(), "1.0");
    assert!(found, "{said}");
    // apt crashes on "a |" in Depends, and takes it in Provides.
    assert!(!relation::apt_reads("a |"));
    let bad = RELATIONS.iter().filter(|(_, read)| !read).flat_map(|(value, _)| [("Depends", *value), ("Provides", *value)]);
    for (field, value) in bad.chain([("Provides", ""), ("Suggests", "a,,b"), ("Enhances", "a (=)")]) {
        let index = index([with_relation(field, value, "zz"), HELLO.into()].join("\n").into_bytes()).index();
        assert!(!apt.reads(&index, "1.0").0, "{field}: {value:?}");
    }
}

/// What apt reads and the resolver does not: a Provides is of no use to anybody, and a Depends cannot be satisfied.
#[test]
fn a_relation_that_cannot_be_followed_matters_only_where_it_is_needed() {
    let keys = crate::odd::key(9).keyring().unwrap();
    for (field, value, usable) in [
        ("Provides", "x-odd (= ${binary:Version}), ${x}, y", true),
        ("Depends", "${misc:Depends}", false),
        ("Depends", "hello (== 1)", false),
        ("Conflicts", "a/b", false),
    ] {
        let (_temp, root) = temp();
        index([with_relation(field, value, "zz").replace("{FILE}", "pool/zz.deb"), HELLO.into()].join("\n").into_bytes())
            .write(&root);
        for (roots, good) in [(&["hello"][..], true), (&["hello", "zz"], usable)] {
            let mut req = request(&format!("file://{root}"), roots);
            req.sources[0].suite = "odd".into();
            let plan = darksite::plan(&req, &DirFetch, &keys, &Quiet);
            assert_eq!(plan.is_ok(), good, "{field}: {value} {roots:?}");
            let Err(error) = plan else { continue };
            assert!(chain(&error).contains("cannot be used"), "{}", chain(&error));
        }
    }
}
