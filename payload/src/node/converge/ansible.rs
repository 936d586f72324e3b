//! Runs plays by ansible-playbook, and follows them by the lines of the callback plugin.

use std::io;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::agent::StepResult;
use host::files::{FileError, PRIVATE, PUBLIC, write_atomic};
use host::tool::{Tool, ToolError};
use serde::Deserialize;

use super::live::Live;
use super::places::Places;
use super::plays::{Kind, ansible_dir, site};
use crate::http::chain;

/// The playbook that is written into the payload.
const SITE: &str = "kubedos-site.yml";
/// Name of Ansible's configuration.
const CONFIG: &str = "ansible.cfg";
/// Ansible looks for results every millisecond by default, which takes a third of a slow processor.
const SETTINGS: &str = "[defaults]\ninternal_poll_interval = 0.05\n";
/// In the directory in RAM.
pub const INVENTORY: &str = "inventory";
/// Time limit of one run: a task takes up to half a minute in an emulated machine.
const LIMIT: Duration = Duration::from_secs(2 * 3600);
/// Prefix of each line of the callback plugin.
const MARK: &str = "KUBEDOS ";
/// Exit status of ansible-playbook if a task failed, on the node or in the strategy (ansible-core, TaskQueueManager).
const TASK_FAILED: [i32; 3] = [2, 8, 10];

/// Why plays did not succeed.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    pub why: String,
    /// The same run may succeed later.
    pub again: bool,
}

/// One line of the callback plugin.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Line {
    Play { play: String },
    Task { task: String },
    Step { name: String, result: StepResult, detail: String },
}

fn parse_line(line: &str) -> Option<Line> {
    serde_json::from_str(line.strip_prefix(MARK)?).ok()
}

/// Runs these plays of the unpacked payload in one process.
///
/// # Errors
/// The reason, in words.
pub fn run(places: Places<'_>, payload: &Utf8Path, plays: &[(&str, Kind)], check: bool, live: &Live) -> Result<(), Failure> {
    let dir = ansible_dir(payload);
    let written = write_atomic(&dir.join(SITE), site(plays).as_bytes(), PUBLIC);
    written.map_err(|e: FileError| Failure { why: chain(&e), again: true })?;
    let on_line = |line: &str| match parse_line(line) {
        Some(Line::Play { play }) => live.play(&play),
        Some(Line::Task { task }) => live.task(&task),
        Some(Line::Step { name, result, detail }) => {
            tracing::info!(task = name, result = result.as_str(), detail, "play");
            live.done(&name, result, &detail);
        }
        None => tracing::info!(line, "ansible"),
    };
    let result = tool(places, &dir, check).on_stderr_line(on_line).run();
    result.map(|_| ()).map_err(|e| failure(&e, &live.now().why))
}

fn failure(error: &ToolError, why: &str) -> Failure {
    let (task, again) = match error {
        ToolError::Start { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            let why = "ansible-playbook is not installed on this node; build its image again, and install the node from it";
            return Failure { why: why.to_owned(), again: false };
        }
        ToolError::Failed { status, .. } => {
            let task = status.code().is_none_or(|code| TASK_FAILED.contains(&code));
            (task, task)
        }
        _ => (false, true),
    };
    let words = if task && !why.is_empty() { why.to_owned() } else { without_lines(error) };
    Failure { why: words, again }
}

/// The last lines of stderr, without the callback's.
fn without_lines(error: &ToolError) -> String {
    chain(error).lines().filter(|l| !l.contains(MARK)).collect::<Vec<_>>().join(" ")
}

fn tool<'t>(places: Places<'_>, dir: &Utf8Path, check: bool) -> Tool<'t> {
    let run = places.run();
    let vars = format!("@{}", places.vars());
    let mut args = vec!["-i".to_owned(), run.join(INVENTORY).into_string(), "-e".to_owned(), vars];
    if check {
        args.extend(["--check", "--diff"].map(str::to_owned));
    }
    args.push(SITE.to_owned());
    Tool::new("ansible-playbook")
        .args(args)
        .dir(dir)
        .clean_env()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("LC_ALL", "C.UTF-8")
        .env("ANSIBLE_CONFIG", config(places, dir))
        .env("ANSIBLE_ROLES_PATH", dir.join("roles"))
        .env("ANSIBLE_LIBRARY", dir.join("library"))
        .env("ANSIBLE_COLLECTIONS_PATH", dir.join("collections"))
        .env("ANSIBLE_CALLBACK_PLUGINS", places.callback_plugins())
        .env("ANSIBLE_STDOUT_CALLBACK", "kubedos_json")
        .env("ANSIBLE_PYTHON_INTERPRETER", "/usr/bin/python3")
        .env("ANSIBLE_PIPELINING", "True")
        .env("ANSIBLE_FORKS", "1")
        .env("ANSIBLE_LOCAL_TEMP", run.join("ansible"))
        .env("ANSIBLE_REMOTE_TEMP", run.join("ansible"))
        .env("ANSIBLE_HOME", run.join("ansible"))
        // Names of roles may contain a hyphen.
        .env("ANSIBLE_TRANSFORM_INVALID_GROUP_CHARS", "ignore")
        .env("ANSIBLE_LOCALHOST_WARNING", "False")
        .env("ANSIBLE_DEPRECATION_WARNINGS", "False")
        .env("ANSIBLE_NOCOLOR", "1")
        .timeout(LIMIT)
}

/// The payload's own configuration, or ours.
fn config(places: Places<'_>, dir: &Utf8Path) -> Utf8PathBuf {
    let own = dir.join(CONFIG);
    if own.is_file() { own } else { places.run().join(CONFIG) }
}

/// Writes the inventory and the configuration.
///
/// # Errors
/// If the file cannot be written.
pub fn write_inventory(places: Places<'_>, text: &str) -> Result<(), FileError> {
    write_atomic(&places.run().join(CONFIG), SETTINGS.as_bytes(), PRIVATE)?;
    write_atomic(&places.run().join(INVENTORY), text.as_bytes(), PRIVATE)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn lines_of_the_callback_are_recognised() {
        let step = parse_line(r#"KUBEDOS {"name": "Host name", "result": "changed", "detail": ""}"#).unwrap();
        assert_eq!(step, Line::Step { name: "Host name".into(), result: StepResult::Changed, detail: String::new() });
        assert_eq!(parse_line(r#"KUBEDOS {"play": "etcd"}"#), Some(Line::Play { play: "etcd".into() }));
        assert_eq!(parse_line(r#"KUBEDOS {"task": "Service"}"#), Some(Line::Task { task: "Service".into() }));
        for other in ["[WARNING]: x", r#"{"name":"a","result":"ok","detail":""}"#, "KUBEDOS {", "KUBEDOS []"] {
            assert_eq!(parse_line(other), None, "{other}");
        }
    }

    #[test]
    fn every_result_of_the_callback_plugin_has_a_type() {
        let plugin = include_str!("../../../assets/ansible/callback_plugins/kubedos_json.py");
        for result in ["ok", "changed", "skipped", "failed", "unreachable"] {
            assert!(plugin.contains(&format!("\"{result}\"")), "{result}");
            let parsed: StepResult = serde_json::from_str(&format!("\"{result}\"")).unwrap();
            assert_eq!((parsed.as_str(), parsed.is_failure()), (result, ["failed", "unreachable"].contains(&result)));
        }
    }

    #[test]
    fn only_a_failed_task_is_tried_again() {
        let failed = |code: i32| ToolError::Failed {
            program: "ansible-playbook".into(),
            status: std::process::ExitStatus::from_raw(code << 8),
            stderr: "KUBEDOS {}\nERROR! no\nhint".into(),
        };
        for (code, again) in [(1, false), (2, true), (4, false), (5, false), (8, true), (10, true), (250, false)] {
            let found = failure(&failed(code), "why of the task");
            assert_eq!(found.again, again, "{code}");
            let expected = if again { "why of the task" } else { "ERROR! no hint" };
            assert!(found.why.ends_with(expected) && !found.why.contains("KUBEDOS"), "{code}: {}", found.why);
        }
        let missing = ToolError::Start { program: "x".into(), source: io::ErrorKind::NotFound.into() };
        assert!(!failure(&missing, "").again && failure(&missing, "").why.contains("not installed"));
        let slow = ToolError::TimedOut { program: "x".into(), seconds: 9, stderr: String::new() };
        assert!(failure(&slow, "").again);
    }
}
