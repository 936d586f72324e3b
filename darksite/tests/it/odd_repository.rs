//! Other people's repositories: Release files, forms of the index, flat ones, keys and servers, and apt's opinion of each.

use std::sync::Arc;

use crate::common::{NOW, at, chain, request, write};
use crate::odd::{Apt, HELLO, Odd, Server, Signed, fetch, file_at, key, pack};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Quiet;
use darksite::{AnyFetch, DirFetch, Error, HttpLimits, Keyring};

pub(crate) fn temp() -> (tempfile::TempDir, Utf8PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(temp.path()).unwrap().to_owned();
    (temp, root)
}

/// Fetches `hello` from a repository in a folder: the error, or what was said.
fn try_folder(repo: &Odd, root: &Utf8Path, suite: &str) -> Result<String, String> {
    let yaml = repo.yaml(root.as_str(), &root.join("key.gpg"), suite, &Digest::of(&repo.deb()));
    let (built, said, _) = fetch(&yaml, &DirFetch);
    built.map(|_| said).map_err(|e| chain(&e))
}

pub(crate) fn plan(url: &str) -> Result<darksite::Plan, Error> {
    let mut req = request(url, &["hello"]);
    req.sources[0].suite = "odd".into();
    darksite::plan(&req, &AnyFetch::new(HttpLimits::default()), &key(9).keyring().unwrap(), &Quiet)
}

pub(crate) type Change = fn(String) -> String;

fn date(text: String, value: &str) -> String {
    let lines = text.lines().filter(|l| !l.starts_with("Date:")).map(|l| format!("{l}\n"));
    let value = if value.is_empty() { String::new() } else { format!("Date: {value}\n") };
    value + &lines.collect::<String>()
}

/// What is done to a Release file, the word that is said or the error, and whether apt takes it.
const RELEASES: &[(&str, Change, Result<&str, &str>, bool)] = &[
    ("as it is", |t| t, Ok(""), true),
    ("Date with a zone", |t| date(t, "Wed, 31 Dec 2025 15:00:00 -0800"), Ok(""), true),
    ("Date in ISO form", |t| date(t, "2025-12-31T23:00:00Z"), Ok(""), true),
    ("Date without a zone", |t| date(t, "Wed, 31 Dec 2025 23:00:00"), Ok("names no zone"), true),
    ("Date of one digit", |t| date(t, "Mon, 1 Dec 2025 01:02:03 UTC"), Ok(""), true),
    ("a Date that is none", |t| date(t, "yesterday"), Ok("cannot be read; the date of its signature"), true),
    ("no Date", |t| date(t, ""), Ok("cannot be read; the date of its signature"), true),
    ("a Date of tomorrow", |t| date(t, "Fri, 02 Jan 2026 00:00:00 UTC"), Err("dated 2026-01-02"), true),
    ("a Date of tomorrow, with a zone", |t| date(t, "Wed, 31 Dec 2025 23:00:00 -0800"), Err("dated 2026-01-01T07:00:00Z"), true),
    ("a Valid-Until that is none", |t| t + "Valid-Until: never\n", Err("no valid Valid-Until"), true),
    (
        "an expired Valid-Until",
        |t| t + "Valid-Until: Wed, 31 Dec 2025 15:59:59 -0800\n",
        Err("expired at 2025-12-31T23:59:59Z"),
        true,
    ),
    ("a Valid-Until with a zone", |t| t + "Valid-Until: Thu, 01 Jan 2026 09:00:00 +0100\n", Ok(""), true),
    ("no Suite", |t| t.replace("Suite: odd\n", ""), Ok(""), true),
    ("neither Suite nor Codename", |t| t.replace("Suite: odd\nCodename: odd\n", ""), Ok("neither Suite nor Codename"), true),
    ("no Components", |t| t.replace("Components: main\n", ""), Ok(""), true),
    ("no Architectures", |t| t.replace("Architectures: amd64\n", ""), Ok(""), true),
    ("a field twice", |t| t + "Origin: again\n", Ok(""), true),
    ("field names in small letters", |t| t.replace("SHA256:", "sha256:").replace("Suite", "suite"), Ok(""), true),
    ("digests in capitals", |t| capitals(&t), Ok(""), false),
    ("an odd line in the list", |t| t.replace("SHA256:\n", "SHA256:\n zz 1 main/x\n 00 y\n"), Ok(""), false),
    (
        "a file that leaves the suite",
        |t| t.replace("SHA256:\n", &format!("SHA256:\n {} 1 ../x\n", "ab".repeat(32))),
        Ok(""),
        true,
    ),
    ("names with ./", |t| t.replace(" main/", " ./main/"), Ok(""), false),
    ("MD5Sum alone", |t| t.replace("SHA256:", "MD5Sum:"), Err("MD5 and SHA-1 prove nothing"), false),
    ("no list", |t| t.split("SHA256:").next().unwrap().to_owned(), Err("lists no file"), false),
];

fn capitals(text: &str) -> String {
    let upper = |line: &str| match line.strip_prefix(' ').and_then(|l| l.split_once(' ')) {
        Some((sum, rest)) => format!(" {} {rest}\n", sum.to_uppercase()),
        None => format!("{line}\n"),
    };
    text.lines().map(upper).collect()
}

#[test]
fn odd_release_files() {
    let apt = Apt::find();
    for (what, change, expected, apt_takes) in RELEASES {
        for signed in [Signed::Inline, Signed::Armored, Signed::Binary] {
            let (_temp, root) = temp();
            let repo = Odd { release: *change, signed, ..Odd::default() };
            repo.write(&root);
            match (try_folder(&repo, &root, "odd"), expected) {
                (Ok(said), Ok(word)) => {
                    assert!(said.contains(word) && word.is_empty() == said.is_empty(), "{what}: said {said:?}");
                }
                (Err(error), Err(word)) => assert!(error.contains(word), "{what}: {error}"),
                (found, _) => panic!("{what}: {found:?}"),
            }
            // A plan judges alike.
            assert_eq!(plan(&format!("file://{root}")).is_ok(), expected.is_ok(), "{what}");
            if let (Some(apt), Signed::Inline) = (&apt, signed) {
                let (took, said) = apt.fetches(&format!("file://{root}"), &root.join("key.gpg"), "odd main", "1.0");
                assert_eq!(took, *apt_takes, "{what}: apt said {said}");
            }
        }
    }
}

#[test]
fn a_suite_of_another_name_is_still_another_suite() {
    let (_temp, root) = temp();
    Odd { release: |t| t.replace("Suite: odd\nCodename: odd\n", "Suite: other\n"), ..Odd::default() }.write(&root);
    let error = plan(&format!("file://{root}")).unwrap_err();
    assert!(matches!(&error, Error::WrongSuite { found, .. } if found == "other"), "{}", chain(&error));
}

/// Forms that are listed, missing, or other bytes; and what is done. A repository in each, taken by extras, plan and apt.
#[test]
fn the_next_form_is_used_where_one_is_missing() {
    let apt = Apt::find();
    type Case =
        (&'static [&'static str], &'static [&'static str], Option<&'static str>, Result<&'static str, &'static str>, bool);
    let cases: &[Case] = &[
        (&["", ".xz"], &[], None, Ok(""), true),
        (&["", ".xz", ".gz"], &[".xz"], None, Ok(""), true),
        (&["", ".xz", ".gz"], &[".xz", ".gz"], None, Ok(""), true),
        (&["", ".gz"], &[""], None, Ok(""), true),
        (&["", ".bz2"], &[""], None, Ok(""), true),
        (&["", ".zst"], &[""], None, Ok(""), true),
        (&["", ".lzma"], &[""], None, Ok(""), true),
        (&[""], &[], None, Ok(""), true),
        // apt wants the plain form to be listed.
        (&[".gz"], &[], None, Ok(""), false),
        (&["", ".xz"], &["", ".xz"], None, Err("does not have"), false),
        (&["", ".xz", ".gz"], &[], Some(".xz"), Ok("is used instead"), false),
        (&["", ".xz"], &[""], Some(".xz"), Err("the signed Release file says"), false),
        (&[""], &[], Some(""), Err("the signed Release file says"), false),
    ];
    for (forms, absent, spoilt, expected, apt_takes) in cases {
        for sums in [&["SHA256"][..], &["SHA512"], &["MD5Sum", "SHA256", "SHA512"]] {
            let (_temp, root) = temp();
            let repo = Odd { forms, absent, spoilt: *spoilt, sums, ..Odd::default() };
            repo.write(&root);
            let what = format!("{forms:?} without {absent:?}, spoilt {spoilt:?}, {sums:?}");
            match (try_folder(&repo, &root, "odd"), expected) {
                (Ok(said), Ok(word)) => assert!(said.contains(word) && word.is_empty() == said.is_empty(), "{what}: {said}"),
                (Err(error), Err(word)) => assert!(error.contains(word), "{what}: {error}"),
                (found, _) => panic!("{what}: {found:?}"),
            }
            assert_eq!(plan(&format!("file://{root}")).is_ok(), expected.is_ok(), "{what}");
            if let (Some(apt), ["SHA512"]) = (&apt, sums) {
                // Over HTTP: of a mirror in a directory apt takes whatever form is there.
                let at = root.clone();
                let habit = move |path: &str, _: &[String]| file_at(&at, path, false).map_or((404, vec![]), |body| (200, body));
                let server = Server::start(Arc::new(habit));
                let (took, said) = apt.fetches(&server.url, &root.join("key.gpg"), "odd main", "1.0");
                assert_eq!(took, *apt_takes, "{what}: apt said {said}");
            }
        }
    }
}

#[test]
fn every_stream_of_an_index_is_read() {
    for form in [".xz", ".gz", ".bz2", ".zst"] {
        let other = HELLO.replace("hello\n", "zz\n") + "\n";
        let packed = [pack(form, other.as_bytes()), pack(form, HELLO.as_bytes())].concat();
        let whole = darksite::upstream::unpack::unpack(form, packed.clone(), 1 << 20).unwrap();
        assert_eq!(String::from_utf8(whole).unwrap(), other.clone() + HELLO, "{form}");
        assert_eq!(darksite::upstream::unpack::unpack(form, packed, 10).unwrap().len(), 10, "{form}");
        assert!(darksite::upstream::unpack::unpack(form, b"not packed".to_vec(), 10).is_err(), "{form}");
    }
}

#[test]
fn packages_for_all_architectures_in_an_index_of_their_own() {
    let apt = Apt::find();
    let (_temp, root) = temp();
    let packages = HELLO.replace("amd64", "all");
    let release: Change = |t| t.replace("Architectures: amd64", "Architectures: amd64 all");
    let repo = Odd { arch: "all", packages: packages.into(), release, ..Odd::default() };
    repo.write(&root);
    assert_eq!(try_folder(&repo, &root, "odd"), Ok(String::new()));
    let yaml = repo.yaml(root.as_str(), &root.join("key.gpg"), "odd", &Digest::of(&repo.deb()));
    assert!(fetch(&yaml.replace("architecture: all", "architecture: amd64"), &DirFetch).0.is_ok());
    let url = format!("file://{root}");
    let planned = plan(&url).unwrap();
    assert_eq!(planned.lock.packages[0].arch, "all");
    // The lock is built from the same index.
    let site = crate::common::Site::new();
    let file = root.join("x.lock");
    darksite::write_lock(&planned, &file).unwrap();
    std::fs::remove_dir_all(format!("{file}.d")).unwrap();
    let (lock, companion) = darksite::read_lock(&file).unwrap();
    let sources = [darksite::Source { mirror: url.clone(), suite: "odd".into() }];
    let keys = key(9).keyring().unwrap();
    let again = darksite::from_lock(lock, companion, &sources, &site.paths(), &DirFetch, &keys, &Quiet).unwrap();
    let built = site.build(&again, &DirFetch).unwrap();
    assert!(site.verify(&built.dir).is_ok());
    if let Some(apt) = &apt {
        assert!(apt.fetches(&url, &root.join("key.gpg"), "odd main", "1.0").0);
    }
    // Debian's own way: the index for all is not to be read.
    let (_temp, root) = temp();
    let release: Change =
        |t| t.replace("Architectures: amd64", "No-Support-for-Architecture-all: Packages\nArchitectures: amd64 all");
    Odd { arch: "all", packages: HELLO.replace("amd64", "all").into(), release, ..Odd::default() }.write(&root);
    assert!(matches!(plan(&format!("file://{root}")), Err(Error::NoIndex { .. })));
}

#[test]
fn flat_repositories_wherever_they_are() {
    let apt = Apt::find();
    for (folder, suites, file, filename) in [
        ("", &["/", "./"][..], "h.deb", "h.deb"),
        ("", &["/"], "h.deb", "./h.deb"),
        ("", &["/"], "sub/h.deb", "sub//h.deb"),
        ("binary", &["binary/", "./binary/"], "binary/h.deb", "binary/h.deb"),
        ("a/b", &["a/b/"], "a/b/h.deb", "./a/b/h.deb"),
    ] {
        let (_temp, root) = temp();
        // Filename first, as dpkg-scanpackages does not write it but others do.
        let packages = format!("Filename: {filename}\n{}", HELLO.replace("Filename: {FILE}\n", ""));
        let repo = Odd { flat: Some(folder), file, packages: packages.into(), ..Odd::default() };
        repo.write(&root);
        for suite in suites {
            assert_eq!(try_folder(&repo, &root, suite), Ok(String::new()), "{suite} {filename}");
            if let Some(apt) = &apt {
                let suite = if *suite == "/" { "./" } else { suite };
                let (took, said) = apt.fetches(&format!("file://{root}"), &root.join("key.gpg"), suite, "1.0");
                assert!(took, "{suite} {filename}: {said}");
            }
        }
        // The folder as a part of the address: apt does not find the package then.
        if folder == "binary" {
            let url = format!("{root}/{folder}");
            let yaml = repo.yaml(&url, &root.join("key.gpg"), "/", &Digest::of(&repo.deb()));
            fetch(&yaml, &DirFetch).0.unwrap();
        }
    }
}

#[test]
fn keys_in_the_files_that_people_publish() {
    use pgp::composed::{ArmorOptions, Deserializable as _, SignedPublicKey};
    let binary = key(9).public_keyring().unwrap();
    let armor = |bytes: &[u8]| {
        let (mut all, _) = (SignedPublicKey::from_bytes_many(bytes).unwrap(), ());
        all.next().unwrap().unwrap().to_armored_string(ArmorOptions::default()).unwrap()
    };
    let (own, other) = (armor(&binary), armor(&key(8).public_keyring().unwrap()));
    let (_temp, root) = temp();
    let repo = Odd::default();
    repo.write(&root);
    let broken = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nnot base64!\n-----END PGP PUBLIC KEY BLOCK-----\n";
    for (what, bytes) in [
        ("binary", binary.clone()),
        ("two binary", [key(8).public_keyring().unwrap(), binary].concat()),
        ("armored", own.clone().into_bytes()),
        ("two blocks", format!("{other}{own}").into_bytes()),
        ("blocks with text around them", format!("pub ed25519\n\n{other}\nand\n{own}\nthe end\n").into_bytes()),
        ("text in another encoding", [b"Schl\xfcssel:\n".as_slice(), own.as_bytes()].concat()),
        ("a byte order mark", format!("\u{feff}{own}").into_bytes()),
        ("lines of Windows", own.replace('\n', "\r\n").into_bytes()),
        ("blanks at the ends", own.replace('\n', "  \n").into_bytes()),
        ("an indented block", own.lines().map(|l| format!("  {l}\n")).collect::<String>().into_bytes()),
        ("a broken block first", format!("{broken}{own}").into_bytes()),
        ("a block without its end first", format!("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{own}").into_bytes()),
    ] {
        write(&root.join("key.gpg"), &bytes);
        assert_eq!(try_folder(&repo, &root, "odd"), Ok(String::new()), "{what}");
    }
    for (what, bytes) in
        [("none", String::new()), ("text", "no key".into()), ("broken", broken.into()), ("cut", own[..200].into())]
    {
        assert!(Keyring::from_bytes(bytes.as_bytes()).is_err(), "{what}");
    }
    write(&root.join("key.gpg"), other.as_bytes());
    let error = try_folder(&repo, &root, "odd").unwrap_err();
    assert!(error.contains("is by a key that is not in the keyring"), "{error}");
}

/// As every flipped byte of InRelease is refused (hostile.rs), with the signature in a file of its own.
#[test]
fn every_flipped_byte_of_a_release_file_with_a_detached_signature_is_refused() {
    let (_temp, root) = temp();
    Odd { signed: Signed::Binary, ..Odd::default() }.write(&root);
    let url = format!("file://{root}");
    plan(&url).unwrap();
    let path = root.join("dists/odd/Release");
    let good = std::fs::read(&path).unwrap();
    for i in 0..good.len() {
        let mut bad = good.clone();
        bad[i] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        assert!(plan(&url).is_err(), "byte {i} of Release flipped unseen");
    }
    for bad in [&good[..good.len() - 1], &[&good[..], b"\n"].concat(), b""] {
        std::fs::write(&path, bad).unwrap();
        assert!(plan(&url).is_err());
    }
    std::fs::write(&path, &good).unwrap();
    std::fs::write(root.join("dists/odd/Release.gpg"), key(8).sign_detached(&good, at(NOW - 500)).unwrap()).unwrap();
    assert!(chain(&plan(&url).unwrap_err()).contains("not in the keyring"));
    // The InRelease file, where there is one that can be read, is the one that counts.
    write(&root.join("dists/odd/InRelease"), key(8).sign_cleartext("Suite: odd\n", at(NOW - 500)).unwrap().as_bytes());
    assert!(plan(&url).is_err());
}

/// Without a date an older state cannot be told; with one it still is.
#[test]
fn an_older_state_is_refused_though_a_file_has_no_date() {
    let (_temp, root) = temp();
    let site = crate::common::Site::new();
    let keys = key(9).keyring().unwrap();
    let run = || {
        let mut req = request(&format!("file://{root}"), &["hello"]);
        req.sources[0].suite = "odd".into();
        req.paths = Some(site.paths());
        darksite::plan(&req, &DirFetch, &keys, &Quiet)
    };
    Odd { release: |t| date(t, ""), ..Odd::default() }.write(&root);
    let undated = run().unwrap();
    assert_eq!(undated.lock.upstream[0].date, at(NOW - 500), "the date of its signature");
    Odd { release: |t| date(t, "Wed, 31 Dec 2025 15:30:00 -0800"), ..Odd::default() }.write(&root);
    run().unwrap();
    Odd { release: |t| date(t, "Wed, 31 Dec 2025 15:29:00 -0800"), ..Odd::default() }.write(&root);
    assert!(matches!(run(), Err(Error::Downgrade { .. })));
}
