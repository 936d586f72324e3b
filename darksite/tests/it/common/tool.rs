//! Starts the real programs that must accept a snapshot.

use std::process::Command;

/// The path of a program, or the reason to skip the test.
pub fn find(program: &str) -> Result<String, String> {
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin"]
        .iter()
        .map(|dir| format!("{dir}/{program}"))
        .find(|path| std::path::Path::new(path).exists())
        .ok_or_else(|| format!("{program} is not installed"))
}

/// Runs a program; returns its success and its output.
pub fn run(program: &str, args: &[String], dir: &camino::Utf8Path) -> (bool, String) {
    let output = Command::new(program).args(args).current_dir(dir).env("LC_ALL", "C").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

/// Starts a program with one more environment variable; its output is discarded.
pub fn spawn(program: &str, args: &[String], name: &str, value: &str) -> std::process::Child {
    let quiet = std::process::Stdio::null;
    Command::new(program).args(args).env(name, value).stdout(quiet()).stderr(quiet()).spawn().unwrap()
}
