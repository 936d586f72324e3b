//! What has to be true of a payload before it is published: no secrets, valid YAML, plays that exist, syntax that Ansible accepts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result};
use camino::Utf8Path;
use cluster_seed::converge::payload::{ANSIBLE, SALT, has_play};
use cluster_seed::converge::role::Resolved;
use darksite::lint;
use host::tool::{Tool, ToolError};
use serde::Serialize;
use serde::de::IgnoredAny;

use super::gather::{Origin, Parts};
use super::pack;

/// Largest YAML file that is parsed, in bytes.
const MAX_YAML: u64 = 1 << 20;
/// Time limit of one syntax check.
const LIMIT: Duration = Duration::from_secs(300);
/// Longest text of a problem, in characters.
const MAX_TEXT: usize = 1_500;
/// Name of the generated playbook.
const PLAYBOOK: &str = "kubedos-check.yml";

/// Something that keeps a payload from being published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// File, role or play.
    pub place: String,
    pub what: String,
}

/// The result of a check.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub problems: Vec<Problem>,
    /// What was not checked, and why.
    pub skipped: Vec<String>,
    pub files: usize,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Checks everything; `tmp` is an empty directory.
///
/// # Errors
/// If files cannot be read, or the check itself cannot be made. What is wrong with the payload is in the report.
pub fn check(parts: &Parts, roles: &BTreeMap<String, Resolved>, tmp: &Utf8Path) -> Result<Report> {
    let mut report = Report { files: parts.len(), bytes: parts.values().map(|p| p.size).sum(), ..Report::default() };
    secrets(parts, &mut report)?;
    yaml(parts, &mut report)?;
    plays(parts, roles, &mut report);
    if report.problems.is_empty() {
        syntax(parts, roles, tmp, &mut report)?;
    }
    Ok(report)
}

fn problem(report: &mut Report, place: &str, what: impl Into<String>) {
    let what: String = what.into();
    report.problems.push(Problem { place: place.to_owned(), what: what.chars().take(MAX_TEXT).collect() });
}

fn secrets(parts: &Parts, report: &mut Report) -> Result<()> {
    for (path, part) in parts {
        let Origin::Disk(file) = &part.origin else { continue };
        for finding in lint::file(file, path).with_context(|| format!("searching {path} for secrets"))? {
            problem(report, &finding.place, format!("contains {}", finding.what));
        }
    }
    Ok(())
}

fn is_yaml(path: &str) -> bool {
    path.starts_with(&format!("{ANSIBLE}/")) && (path.ends_with(".yml") || path.ends_with(".yaml")) && !path.contains("/files/")
}

fn yaml(parts: &Parts, report: &mut Report) -> Result<()> {
    for (path, part) in parts.iter().filter(|(path, part)| is_yaml(path) && part.size <= MAX_YAML) {
        let bytes = pack::bytes(part)?;
        let Ok(text) = std::str::from_utf8(&bytes) else {
            problem(report, path, "is not UTF-8");
            continue;
        };
        // Tags such as `!vault` are Ansible's own.
        if text.contains(": !") || text.contains("- !") {
            continue;
        }
        if let Err(e) = serde_saphyr::from_str::<IgnoredAny>(text).map_err(|e| e.to_string())
            && !text.trim().is_empty()
            && !text.contains("\n---")
        {
            problem(report, path, format!("is not valid YAML: {}", e.lines().next().unwrap_or_default()));
        }
    }
    Ok(())
}

fn plays(parts: &Parts, roles: &BTreeMap<String, Resolved>, report: &mut Report) {
    for (role, resolved) in roles {
        for play in resolved.plays.iter().filter(|play| !has_play(parts, play)) {
            let what = format!(
                "there is no play {play}: neither {ANSIBLE}/roles/{play}, {ANSIBLE}/playbooks/{play}.yml nor {SALT}/{play}.sls"
            );
            problem(report, &format!("role {role}"), what);
        }
    }
}

/// Every play that a role names, and every role of the payload, by `ansible-playbook --syntax-check`.
fn syntax(parts: &Parts, roles: &BTreeMap<String, Resolved>, tmp: &Utf8Path, report: &mut Report) -> Result<()> {
    pack::unpack(parts, tmp)?;
    let dir = tmp.join(ANSIBLE);
    let prefix = format!("{ANSIBLE}/roles/");
    let own: BTreeSet<&str> =
        parts.keys().filter_map(|p| p.strip_prefix(&prefix)?.split_once('/')).map(|(name, _)| name).collect();
    let named: BTreeSet<&str> = roles.values().flat_map(|r| r.plays.iter().map(String::as_str)).collect();
    let books = named.iter().filter(|p| parts.contains_key(&format!("{ANSIBLE}/playbooks/{p}.yml")));
    let mut text = String::from("- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks: []\n");
    for role in &own {
        text.push_str(&format!(
            "- name: {role}\n  hosts: localhost\n  connection: local\n  gather_facts: false\n  roles: [{role:?}]\n"
        ));
    }
    for book in books {
        text.push_str(&format!("- import_playbook: playbooks/{book}.yml\n"));
    }
    host::files::write_synced(&dir.join(PLAYBOOK), text.as_bytes())?;
    match ansible(&dir).run() {
        Ok(_) => Ok(()),
        Err(ToolError::Start { .. }) => {
            report
                .skipped
                .push("the syntax of the plays: ansible-playbook is not installed here (package ansible-core)".to_owned());
            Ok(())
        }
        Err(e) => {
            problem(report, ANSIBLE, said(&e, tmp));
            Ok(())
        }
    }
}

fn ansible<'t>(dir: &Utf8Path) -> Tool<'t> {
    Tool::new("ansible-playbook")
        .args(["--syntax-check", "-i", "localhost,", PLAYBOOK])
        .dir(dir)
        .clean_env()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", dir.as_str())
        .env("LC_ALL", "C.UTF-8")
        .env("ANSIBLE_LIBRARY", "library")
        .env("ANSIBLE_ROLES_PATH", "roles")
        .env("ANSIBLE_COLLECTIONS_PATH", "collections")
        .env("ANSIBLE_LOCAL_TEMP", dir.join(".tmp").as_str())
        .env("ANSIBLE_NOCOLOR", "1")
        .timeout(LIMIT)
}

/// Ansible's words without the temporary directory.
fn said(error: &ToolError, tmp: &Utf8Path) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    text.replace(&format!("{tmp}/"), "").trim().to_owned()
}
