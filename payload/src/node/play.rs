//! The Ansible play of a role that has tasks besides the base role.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use camino::Utf8Path;
use cluster_seed::agent::{ApplyStep, StepResult};
use cluster_seed::identity::IdentityInfo;
use cluster_seed::ids::Hostname;
use host::files::{PRIVATE, write_atomic};
use host::tool::{Tool, ToolError};
use serde::Deserialize;

use crate::assets::ANSIBLE_DIR;
use crate::http::chain;

/// File with the play's variables, in RAM.
const RUN: &str = "/run/kubedos";
/// The role that the agent applies itself.
const BASE: &str = "base";
/// Time limit of one run.
const LIMIT: Duration = Duration::from_secs(50 * 60);
/// Prefix of each line of the callback plugin.
const MARK: &str = "KUBEDOS ";

/// Number of steps that succeeded, and how many of those changed something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Stats {
    pub ok: u32,
    pub changed: u32,
}

/// One line of the callback plugin.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Line {
    Stats { stats: Stats },
    Step { name: String, result: StepResult, detail: String },
}

fn parse_line(line: &str) -> Option<Line> {
    serde_json::from_str(line.strip_prefix(MARK)?).ok()
}

/// True if the role has tasks below `root`.
pub fn has_tasks(root: &Utf8Path, role: &str) -> bool {
    let is_label = role.parse::<Hostname>().is_ok() && !role.contains('.');
    let tasks = root.join(ANSIBLE_DIR.trim_start_matches('/')).join("roles").join(role).join("tasks/main.yml");
    is_label && role != BASE && tasks.is_file()
}

/// Writes the variables of the play; none of them is secret.
pub fn write_variables(info: &IdentityInfo) -> anyhow::Result<()> {
    let run = Utf8Path::new(RUN);
    fs::create_dir_all(run).with_context(|| format!("creating {run}"))?;
    let vars = serde_json::json!({ "kubedos": {
        "label": info.hostname.label(),
        "fqdn": info.hostname,
        "role": info.role,
        "planes": info.planes.keys().collect::<Vec<_>>(),
        "ports": info.planes.values().map(|p| p.port).collect::<Vec<_>>(),
        "authorized_keys": info.authorized_keys,
        "darksite": {
            "url": info.darksite.url,
            "suite": info.darksite.suite,
            "components": info.darksite.components,
            "mode": info.darksite.mode,
            "upstream": info.darksite.upstream,
        },
    }});
    Ok(write_atomic(&run.join("vars.json"), &serde_json::to_vec(&vars)?, PRIVATE)?)
}

/// One run; `done` is called after each task. An error is the reason as text.
pub fn run(done: &(dyn Fn(ApplyStep) + Sync)) -> Result<Stats, String> {
    let (stats, failed) = (Mutex::new(Stats::default()), Mutex::new(String::new()));
    let on_line = |line: &str| match parse_line(line) {
        Some(Line::Stats { stats: total }) => *lock(&stats) = total,
        Some(Line::Step { name, result, detail }) => {
            if result.is_failure() {
                *lock(&failed) = format!("{name}: {detail}");
            }
            done(ApplyStep { name, result, detail });
        }
        None => tracing::info!(line, "ansible"),
    };
    let result = ansible().on_stderr_line(on_line).run();
    let why = lock(&failed).clone();
    match result {
        Ok(_) => Ok(*lock(&stats)),
        Err(e) if why.is_empty() => Err(without_lines(&e)),
        Err(_) => Err(why),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The last lines of stderr, without the callback's.
fn without_lines(error: &ToolError) -> String {
    chain(error).lines().filter(|l| !l.contains(MARK)).collect::<Vec<_>>().join(" ")
}

fn ansible<'t>() -> Tool<'t> {
    Tool::new("ansible-playbook")
        .args(["-i", "localhost,", "-c", "local", "-e", &format!("@{RUN}/vars.json"), "playbooks/site.yml"])
        .dir(ANSIBLE_DIR.into())
        .clean_env()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("LC_ALL", "C.UTF-8")
        .env("ANSIBLE_ROLES_PATH", format!("{ANSIBLE_DIR}/roles"))
        .env("ANSIBLE_CALLBACK_PLUGINS", format!("{ANSIBLE_DIR}/callback_plugins"))
        .env("ANSIBLE_STDOUT_CALLBACK", "kubedos_json")
        .env("ANSIBLE_PYTHON_INTERPRETER", "/usr/bin/python3")
        .env("ANSIBLE_PIPELINING", "True")
        .env("ANSIBLE_LOCAL_TEMP", format!("{RUN}/ansible"))
        .env("ANSIBLE_REMOTE_TEMP", format!("{RUN}/ansible"))
        .env("ANSIBLE_NOCOLOR", "1")
        .timeout(LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_callback_are_recognised() {
        let step = parse_line(r#"KUBEDOS {"name": "Host name", "result": "changed", "detail": ""}"#).unwrap();
        assert_eq!(step, Line::Step { name: "Host name".into(), result: StepResult::Changed, detail: String::new() });
        let stats = parse_line(r#"KUBEDOS {"stats": {"ok": 3, "changed": 1, "failures": 0}}"#).unwrap();
        assert_eq!(stats, Line::Stats { stats: Stats { ok: 3, changed: 1 } });
        for other in ["[WARNING]: x", r#"{"name":"a","result":"ok","detail":""}"#, "KUBEDOS {", "KUBEDOS []"] {
            assert_eq!(parse_line(other), None, "{other}");
        }
    }

    #[test]
    fn every_result_of_the_callback_plugin_has_a_type() {
        let plugin = include_str!("../../assets/ansible/callback_plugins/kubedos_json.py");
        for result in ["ok", "changed", "skipped", "failed", "unreachable"] {
            assert!(plugin.contains(&format!("\"{result}\"")), "{result}");
            let parsed: StepResult = serde_json::from_str(&format!("\"{result}\"")).unwrap();
            assert_eq!((parsed.as_str(), parsed.is_failure()), (result, ["failed", "unreachable"].contains(&result)));
        }
    }

    #[test]
    fn only_a_role_with_tasks_has_a_play() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let roles = root.join(ANSIBLE_DIR.trim_start_matches('/')).join("roles");
        for role in ["base", "storage"] {
            fs::create_dir_all(roles.join(role).join("tasks")).unwrap();
            fs::write(roles.join(role).join("tasks/main.yml"), "[]").unwrap();
        }
        assert!(has_tasks(root, "storage"));
        for role in ["base", "worker", "", ".", "..", "../roles/storage", "storage/"] {
            assert!(!has_tasks(root, role), "{role}");
        }
    }
}
