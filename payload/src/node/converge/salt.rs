//! Runs Salt states without a master, by salt-call, where the image has it.

use std::io;
use std::time::Duration;

use camino::Utf8Path;
use cluster_seed::agent::StepResult;
use host::files::{FileError, PRIVATE, create_dirs, read_limited, write_atomic};
use host::tool::{Tool, ToolError};
use serde_json::{Map, Value};

use super::ansible::Failure;
use super::live::Live;
use super::places::Places;
use super::plays::salt_dir;
use crate::http::chain;

/// Time limit of one state.
const LIMIT: Duration = Duration::from_secs(2 * 3600);
/// Largest variables that become the pillar, in bytes.
const MAX_VARS: u64 = 64 << 20;
/// Characters of a failed state's comment that are kept.
const MAX_COMMENT: usize = 2_000;

/// Runs one state. Its pillar has the same variables as a play.
///
/// # Errors
/// The reason, in words.
pub fn run(places: Places<'_>, payload: &Utf8Path, state: &str, check: bool, live: &Live) -> Result<(), Failure> {
    live.at(state, "");
    configure(places).map_err(|e| Failure { why: chain(&e), again: true })?;
    let dir = places.run().join("salt");
    let mut args = vec![
        "--local".to_owned(),
        format!("--config-dir={dir}"),
        format!("--file-root={}", salt_dir(payload)),
        format!("--pillar-root={}", dir.join("pillar")),
        "--out=json".to_owned(),
        "--out-indent=-1".to_owned(),
        "--log-level=warning".to_owned(),
        "state.apply".to_owned(),
        state.to_owned(),
    ];
    if check {
        args.push("test=True".to_owned());
    }
    let tool = Tool::new("salt-call")
        .args(args)
        .clean_env()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/saltstack/salt")
        .env("HOME", "/root")
        .env("LC_ALL", "C.UTF-8")
        .timeout(LIMIT);
    match tool.run_any() {
        // The exit status says less than the output.
        Ok((_, output)) => follow(&output.text(), &output.stderr, live),
        Err(ToolError::Start { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let why = format!(
                "{state} is a Salt state, but salt-call is not installed on this node; add salt to the extras and to the packages of the role"
            );
            Err(Failure { why, again: false })
        }
        Err(e) => Err(Failure { why: chain(&e), again: true }),
    }
}

/// The pillar is read as JSON: values with braces are not templates.
fn configure(places: Places<'_>) -> Result<(), FileError> {
    let dir = places.run().join("salt");
    create_dirs(&dir.join("pillar"))?;
    let minion = format!("file_client: local\ncachedir: {dir}/cache\npki_dir: {dir}/pki\nlog_file: /dev/null\n");
    write_atomic(&dir.join("minion"), minion.as_bytes(), PRIVATE)?;
    write_atomic(&dir.join("pillar/top.sls"), b"base:\n  '*':\n    - kubedos\n", PRIVATE)?;
    let vars = read_limited(&places.vars(), MAX_VARS)?;
    write_atomic(&dir.join("pillar/kubedos.sls"), &[b"#!json\n", &vars[..]].concat(), PRIVATE)
}

/// Reads the results of a state: `{"local": {"<id>": {"name", "result", "changes", "comment", "__run_num__"}}}`, or a list of errors.
fn follow(stdout: &str, stderr: &str, live: &Live) -> Result<(), Failure> {
    let parsed: Value = serde_json::from_str(stdout).unwrap_or_default();
    let steps = match &parsed["local"] {
        Value::Object(steps) => steps,
        Value::Array(errors) => {
            let why: Vec<&str> = errors.iter().filter_map(Value::as_str).collect();
            return Err(Failure { why: cut(&why.join("; ")), again: false });
        }
        _ => return Err(Failure { why: cut(&format!("salt-call printed no result: {}", stderr.trim())), again: false }),
    };
    let mut steps: Vec<&Map<String, Value>> = steps.values().filter_map(Value::as_object).collect();
    steps.sort_by_key(|s| s.get("__run_num__").and_then(Value::as_u64));
    let mut why = None;
    for step in steps {
        let text = |key: &str| step.get(key).and_then(Value::as_str).unwrap_or_default();
        let name = if text("__id__").is_empty() { text("name") } else { text("__id__") };
        let changes = step.get("changes").and_then(Value::as_object).is_some_and(|c| !c.is_empty());
        let result = match step.get("result") {
            Some(Value::Bool(true)) if changes => StepResult::Changed,
            Some(Value::Bool(true)) => StepResult::Ok,
            // In test mode: it would change something.
            Some(Value::Null) => StepResult::Changed,
            _ => StepResult::Failed,
        };
        live.done(name, result, text("comment"));
        if result == StepResult::Failed && why.is_none() {
            why = Some((name.to_owned(), cut(&reason(step, text("comment")))));
        }
    }
    // Later states fail only because this one did.
    let Some((name, why)) = why else { return Ok(()) };
    live.task(&name);
    Err(Failure { why, again: true })
}

/// The comment of a failed state, with what its command printed to standard error: of a command the comment says only that it ran.
fn reason(step: &Map<String, Value>, comment: &str) -> String {
    let printed = step.get("changes").and_then(|c| c["stderr"].as_str()).unwrap_or_default().trim();
    if printed.is_empty() { comment.to_owned() } else { format!("{comment}: {printed}") }
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_COMMENT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted_in_the_order_of_the_run_and_the_first_failure_is_named() {
        let out = r#"{"local": {
            "file_|-b_|-/b_|-managed": {"__id__": "b", "name": "/b", "result": false, "comment": "disk full", "changes": {}, "__run_num__": 2},
            "file_|-a_|-/a_|-managed": {"__id__": "a", "name": "/a", "result": true, "comment": "", "changes": {"diff": "x"}, "__run_num__": 1},
            "file_|-z_|-/z_|-managed": {"__id__": "z", "name": "/z", "result": true, "comment": "", "changes": {}, "__run_num__": 0},
            "file_|-c_|-/c_|-managed": {"__id__": "c", "name": "/c", "result": false, "comment": "requisite", "changes": {}, "__run_num__": 3}}}"#;
        let live = Live::default();
        assert_eq!(follow(out, "", &live), Err(Failure { why: "disk full".into(), again: true }));
        let now = live.now();
        assert_eq!((now.ok, now.changed, now.task.as_str()), (2, 1, "b"));
    }

    /// As salt-call 3008.4 prints it.
    #[test]
    fn the_words_of_a_failed_command_are_told() {
        let out = r#"{"local": {"cmd_|-first_|-echo broken >&2; exit 3_|-run": {"name": "echo broken >&2; exit 3", "changes": {"pid": 1035,
            "retcode": 3, "stdout": "", "stderr": "broken"}, "result": false, "comment": "Command \"echo broken >&2; exit 3\" run",
            "__sls__": "bad", "__run_num__": 0, "start_time": "02:48:59.925607", "duration": 9.529, "__id__": "first"},
            "cmd_|-after_|-/bin/true_|-run": {"changes": {}, "result": false, "duration": 0.012, "comment":
            "One or more requisite failed: bad.first", "__state_ran__": false, "__run_num__": 1, "__id__": "after", "name": "/bin/true"}}}"#;
        let failure = follow(out, "", &Live::default()).unwrap_err();
        assert_eq!(failure.why, "Command \"echo broken >&2; exit 3\" run: broken");
    }

    #[test]
    fn a_state_that_would_change_something_is_a_change() {
        let live = Live::default();
        live.play("motd");
        let out = r#"{"local": {"x": {"__id__": "text", "result": null, "comment": "would", "changes": {}, "__run_num__": 0}}}"#;
        assert_eq!(follow(out, "", &live), Ok(()));
        assert_eq!(live.now().changes, ["motd: text"]);
    }

    #[test]
    fn errors_of_rendering_are_not_tried_again() {
        let live = Live::default();
        let listed = follow(r#"{"local": ["Rendering SLS 'base:motd' failed: mapping"]}"#, "", &live).unwrap_err();
        assert!(listed.why.contains("mapping") && !listed.again);
        let silent = follow("", "Traceback", &live).unwrap_err();
        assert!(silent.why.contains("Traceback") && !silent.again);
    }
}
