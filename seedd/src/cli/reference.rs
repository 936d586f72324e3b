//! `seedd reference`: the documents that are made from the parser, so that they cannot contradict it.

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use clap::builder::StyledStr;
use clap::{Arg, Args, Command, Subcommand};
use clap_complete::Shell;

use super::args::say;

#[derive(Subcommand)]
pub enum Reference {
    /// Print docs/cli.md, the reference of all commands
    Markdown,
    /// Print docs/cluster-yaml.md, the reference of all keys of cluster.yaml
    ClusterYaml,
    /// Write a man page per command into a directory
    Man(Into),
    /// Write completions for bash, zsh and fish into a directory
    Completions(Into),
}

#[derive(Args)]
pub struct Into {
    /// Existing directory to write to
    dir: Utf8PathBuf,
}

#[derive(Args)]
pub struct Man {
    /// Directory to write to; it is created if it is not there
    #[arg(long, value_name = "DIR")]
    out: Utf8PathBuf,
}

impl Man {
    pub fn run(&self, command: Command) -> Result<()> {
        host::files::create_dirs(&self.out)?;
        man_pages(command, &self.out)
    }
}

fn man_pages(command: Command, dir: &Utf8Path) -> Result<()> {
    let command = command.disable_help_subcommand(true);
    clap_mangen::generate_to(command, dir).with_context(|| format!("writing man pages to {dir}"))
}

impl Reference {
    pub fn run(&self, mut command: Command) -> Result<()> {
        match self {
            Reference::Markdown => say(markdown(command).trim_end()),
            Reference::ClusterYaml => say(cluster_seed::cluster_keys::markdown().trim_end()),
            Reference::Man(Into { dir }) => man_pages(command, dir),
            Reference::Completions(Into { dir }) => [Shell::Bash, Shell::Zsh, Shell::Fish].into_iter().try_for_each(|shell| {
                clap_complete::generate_to(shell, &mut command, "seedd", dir)
                    .map(drop)
                    .with_context(|| format!("writing completions to {dir}"))
            }),
        }
    }
}

/// All commands that are not hidden, as one page.
pub fn markdown(command: Command) -> String {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut commands = Vec::new();
    collect(&command, &mut commands);
    let mut text = "# Commands of seedd\n\nMade from the parser by `seedd reference markdown`; do not edit.\n\n".to_owned();
    for command in &commands {
        let name = full_name(command);
        let about = command.get_about().map(StyledStr::to_string).unwrap_or_default();
        text.push_str(&format!("- [`{name}`](#{}): {about}\n", name.replace(' ', "-")));
    }
    for command in commands {
        section(command, &mut text);
    }
    text
}

fn collect<'a>(command: &'a Command, all: &mut Vec<&'a Command>) {
    all.push(command);
    command.get_subcommands().filter(|c| !c.is_hide_set()).for_each(|c| collect(c, all));
}

fn full_name(command: &Command) -> &str {
    command.get_bin_name().unwrap_or(command.get_name())
}

fn section(command: &Command, text: &mut String) {
    text.push_str(&format!("\n## {}\n\n", full_name(command)));
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        text.push_str(&format!("{about}\n\n"));
    }
    let usage = command.clone().render_usage().to_string();
    text.push_str(&format!("```\n{}\n```\n", usage.trim_start_matches("Usage: ").trim()));
    let shown = |a: &&Arg| !a.is_hide_set() && !matches!(a.get_id().as_str(), "help" | "version");
    let (arguments, options): (Vec<&Arg>, Vec<&Arg>) = command.get_arguments().filter(shown).partition(|a| a.is_positional());
    for (title, list) in [("Arguments", arguments), ("Options", options)] {
        if !list.is_empty() {
            text.push_str(&format!("\n**{title}**\n\n"));
            list.into_iter().for_each(|arg| text.push_str(&format!("- `{}`: {}\n", spelled(arg), described(arg))));
        }
    }
    if let Some(after) = command.get_after_long_help() {
        after_help(&after.to_string(), text);
    }
}

/// `-n, --lines <N>`
fn spelled(arg: &Arg) -> String {
    let names: Vec<String> = arg.get_value_names().unwrap_or_default().iter().map(|n| format!("<{n}>")).collect();
    let value = if arg.get_action().takes_values() { names.join(" ") } else { String::new() };
    let short = arg.get_short().map(|c| format!("-{c}"));
    let aliases = arg.get_visible_aliases().unwrap_or_default();
    let long = arg.get_long().into_iter().chain(aliases).map(|l| format!("--{l}"));
    let flags: Vec<String> = short.into_iter().chain(long).collect();
    [flags.join(", "), value].into_iter().filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The help of an argument with its default, its words and its variable.
fn described(arg: &Arg) -> String {
    let mut text = arg.get_long_help().or(arg.get_help()).map(StyledStr::to_string).unwrap_or_default();
    if !arg.get_action().takes_values() {
        return text;
    }
    let words = arg.get_possible_values();
    let list: Vec<String> = words
        .iter()
        .filter(|w| !w.is_hide_set())
        .map(|w| match w.get_help() {
            Some(help) => format!("`{}` ({help})", w.get_name()),
            None => format!("`{}`", w.get_name()),
        })
        .collect();
    if !list.is_empty() {
        text.push_str(&format!(": {}", list.join(", ")));
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|d| d.to_string_lossy()).collect();
    let default = (!defaults.is_empty()).then(|| format!("default: `{}`", defaults.join(" ")));
    let variable = arg.get_env().map(|v| format!("environment: `{}`", v.to_string_lossy()));
    let notes: Vec<String> = default.into_iter().chain(variable).collect();
    if !notes.is_empty() {
        text.push_str(&format!(" ({})", notes.join("; ")));
    }
    text
}

/// Titles and indented lines, as a title and a block.
fn after_help(after: &str, text: &mut String) {
    for part in after.split("\n\n") {
        let (title, lines) = part.split_once('\n').unwrap_or((part, ""));
        let lines: Vec<&str> = lines.lines().map(|l| l.strip_prefix("  ").unwrap_or(l)).collect();
        text.push_str(&format!("\n**{}**\n\n```\n{}\n```\n", title.trim_end_matches(':'), lines.join("\n")));
    }
}

#[cfg(test)]
#[path = "../../../tests/shared/golden.rs"]
mod golden;

#[cfg(test)]
#[path = "../../../tests/shared/help.rs"]
mod help;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn help_is_changed_on_purpose() {
        golden::check("tests/golden/seedd.help", &help::all(command()));
    }

    #[test]
    fn the_reference_of_commands_is_current() {
        golden::check("docs/cli.md", &markdown(command()));
    }

    #[test]
    fn every_command_and_argument_is_described() {
        let mut command = command();
        command.build();
        let mut all = Vec::new();
        collect(&command, &mut all);
        for command in all {
            assert!(command.get_about().is_some(), "{}", full_name(command));
            for arg in command.get_arguments().filter(|a| !a.is_hide_set()) {
                assert!(arg.get_help().is_some(), "{}: {}", full_name(command), arg.get_id());
            }
        }
    }

    #[test]
    fn man_pages_and_completions_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        Reference::Man(Into { dir: dir.clone() }).run(command()).unwrap();
        Reference::Completions(Into { dir: dir.clone() }).run(command()).unwrap();
        Man { out: dir.join("new") }.run(command()).unwrap();
        assert!(dir.join("new/seedd-machine-approve.1").is_file());
        for file in ["seedd.1", "seedd-darksite-build.1", "seedd.bash", "_seedd", "seedd.fish"] {
            assert!(std::fs::metadata(dir.join(file)).unwrap().len() > 500, "{file}");
        }
    }
}
