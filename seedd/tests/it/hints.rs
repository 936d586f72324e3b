//! What the command line says about an error that knows what to do about it.

use std::process::Command;

use crate::support::sites::{A, filled, temp};

#[test]
fn a_hint_of_the_image_is_shown_where_an_export_fails() {
    let t = temp();
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    for entry in std::fs::read_dir(site.join("blobs/sha256")).unwrap() {
        let folder = entry.unwrap().path();
        std::fs::remove_dir_all(folder).unwrap();
    }
    let out = t.path.join("disk.raw");
    let seedd = |words: &[&str]| {
        let done = Command::new(env!("CARGO_BIN_EXE_seedd")).args(words).args(["--data", site.data.as_str()]).output().unwrap();
        assert_eq!(done.status.code(), Some(1));
        String::from_utf8(done.stderr).unwrap()
    };
    let text = seedd(&["image", "export", "base", out.as_str()]);
    let hints: Vec<&str> = text.lines().filter(|l| l.starts_with("hint: ")).collect();
    assert_eq!(hints, ["hint: check the data directory and its disk"], "{text}");
    let text = seedd(&["promote", "--yes"]);
    assert!(text.contains("not a standby") && text.contains("\nhint: `seedd import` turns a new site"), "{text}");
}
