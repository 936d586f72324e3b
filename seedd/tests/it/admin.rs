//! `seedd admin` as an operator types it.

use std::path::Path;
use std::process::{Command, Output};

fn seedd(data: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seedd"));
    command.args(words).arg("--data").arg(data).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn administrators_are_made_changed_and_removed_but_never_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let (data, secret, password) = (dir.path().join("site"), dir.path().join("passphrase"), dir.path().join("password"));
    std::fs::write(&secret, "correct horse battery\n").unwrap();
    std::fs::write(&password, "a long password\n").unwrap();
    let (secret, password) = (secret.to_str().unwrap(), password.to_str().unwrap());
    let run = |words: &[&str], good: bool, word: &str| {
        let output = seedd(&data, words);
        assert_eq!(output.status.success(), good, "{words:?}: {}", text(&output));
        assert!(text(&output).contains(word), "{words:?}: {}", text(&output));
    };
    run(&["admin", "list"], false, "there is no site in");
    run(&["init", "--passphrase-file", secret], true, "site key");
    run(&["admin", "list"], true, "no administrators");
    run(&["admin", "set", "ada", "--password-file", password], true, "ada: administrator created");
    run(&["admin", "set", "bo b", "--password-file", password], false, "1 to 32 letters");
    run(&["admin", "set", "bob", "--password-file", secret], true, "bob: administrator created");
    run(&["admin", "set", "bob", "--password-file", password], true, "bob: password reset");
    run(&["admin", "list", "--json"], true, "\"user\":\"bob\"");
    std::fs::write(dir.path().join("short"), "tiny").unwrap();
    run(&["admin", "set", "ada", "--password-file", dir.path().join("short").to_str().unwrap()], false, "fewer than");
    run(&["admin", "remove", "eve"], false, "no administrator named");
    run(&["admin", "remove", "ada"], true, "ada: administrator deleted");
    run(&["admin", "remove", "bob"], false, "only administrator");
    run(&["admin", "list"], true, "bob");
}
