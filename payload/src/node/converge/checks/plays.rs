//! The checks that plays bring: `ansible/roles/<play>/files/check`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::time::Duration;

use camino::Utf8Path;
use cluster_seed::agent::GateCheck;
use cluster_seed::converge::payload::is_play_name;
use host::parallel;
use host::tool::Tool;

use super::super::places::Places;
use super::super::plays::ansible_dir;
use crate::http::chain;

/// Time limit of one check: on a slow machine with one processor Python takes seconds to start.
const LIMIT: Duration = Duration::from_secs(60);
/// Checks that run at once, if there are as many processors: several on one would all take longer than they may.
const AT_ONCE: usize = 8;
/// Longest detail of a check, in characters.
const MAX_DETAIL: usize = 300;
/// Programs that the first line of a check may name.
const INTERPRETERS: [&str; 2] = ["/bin/sh", "/usr/bin/python3"];

/// Runs the check of each play that has one. Each check is named after its play.
pub fn check_plays(places: Places<'_>, payload: &Utf8Path, plays: &[String]) -> Vec<GateCheck> {
    let roles = ansible_dir(payload).join("roles");
    let with: Vec<_> = plays
        .iter()
        .filter(|name| is_play_name(name))
        .map(|name| (name, roles.join(name).join("files/check")))
        .filter(|(_, path)| path.is_file())
        .collect();
    parallel::each(AT_ONCE.min(parallel::cores()), &with, |_, (name, path)| {
        let result = check(places, path);
        let ok = result.is_ok();
        let detail = result.unwrap_or_else(|e| e).chars().take(MAX_DETAIL).collect();
        GateCheck { name: (*name).clone(), ok, detail }
    })
}

fn check(places: Places<'_>, path: &Utf8Path) -> Result<String, String> {
    let program =
        interpreter(path).ok_or_else(|| format!("its first line is neither #!{} nor #!{}", INTERPRETERS[0], INTERPRETERS[1]))?;
    let tool = Tool::new(program)
        .arg(path)
        .dir(path.parent().unwrap_or(path))
        .clean_env()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .env("KUBEDOS_VARS", places.vars())
        .timeout(LIMIT);
    let (status, output) = tool.run_any().map_err(|e| chain(&e))?;
    let last = |text: &str| text.lines().rev().map(str::trim).find(|l| !l.is_empty()).map(str::to_owned);
    let words = last(&output.text());
    match status.success() {
        true => Ok(words.unwrap_or_default()),
        false => Err(words.or_else(|| last(&output.stderr)).unwrap_or_else(|| format!("failed with {status}"))),
    }
}

/// By the first line, because files of the archive may not be executable.
fn interpreter(path: &Utf8Path) -> Option<&'static str> {
    let mut line = String::new();
    BufReader::new(std::fs::File::open(path).ok()?.take(128)).read_line(&mut line).ok()?;
    let named = line.strip_prefix("#!")?.trim();
    INTERPRETERS.into_iter().find(|program| *program == named)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use camino::Utf8PathBuf;

    use super::*;

    fn run(checks: &[(&str, &str)]) -> Vec<GateCheck> {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        for (play, text) in checks {
            let files = root.join("ansible/roles").join(play).join("files");
            fs::create_dir_all(&files).unwrap();
            fs::write(files.join("check"), text).unwrap();
        }
        fs::create_dir_all(root.join("ansible/roles/silent/files")).unwrap();
        let mut plays: Vec<String> = checks.iter().map(|(play, _)| (*play).to_owned()).collect();
        plays.push("silent".to_owned());
        check_plays(Places { root: &root }, &root, &plays)
    }

    #[test]
    fn exit_status_and_last_line_are_the_result() {
        let found = run(&[
            ("good", "#!/bin/sh\necho one\necho '3 members, healthy'\necho\n"),
            ("bad", "#!/bin/sh\necho 'no leader'\nexit 1\n"),
            ("quiet", "#!/bin/sh\necho reason >&2; exit 4\n"),
            ("vars", "#!/bin/sh\necho \"$KUBEDOS_VARS\"\n"),
            ("python", "#!/usr/bin/python3\nprint('x' * 400)\n"),
        ]);
        let said: Vec<_> = found.iter().map(|c| (c.name.as_str(), c.ok, c.detail.as_str())).collect();
        assert_eq!(said[..3], [("good", true, "3 members, healthy"), ("bad", false, "no leader"), ("quiet", false, "reason")]);
        assert!(said[3].2.ends_with("/run/kubedos/converge/vars.json"));
        assert_eq!((said[4].1, said[4].2.len(), found.len()), (true, MAX_DETAIL, 5));
    }

    #[test]
    fn only_the_two_interpreters_run_a_check() {
        for text in ["", "echo", "#!/bin/bash\n", "#!/bin/sh -x\n", "#! /usr/bin/env python3\n", "\u{feff}#!/bin/sh\n"] {
            let found = run(&[("a", text)]);
            assert!(!found[0].ok && found[0].detail.contains("first line"), "{text:?}");
        }
    }
}
