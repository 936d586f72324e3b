//! Completion in shells: the script of a shell asks this program, which asks the seed for names.

use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, ValueEnum};
use clap_complete::env::Shells;
use clap_complete::{ArgValueCandidates, CompleteEnv, CompletionCandidate};

use super::super::args::say;
use super::reach::SeedArgs;
use super::rows;

/// The variable by which a shell asks for candidates.
const VARIABLE: &str = "SEEDD_COMPLETE";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Args)]
pub struct Completion {
    /// Shell that is to complete commands
    shell: Shell,
}

impl Completion {
    pub fn run(&self) -> Result<()> {
        let name = match self.shell {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
        };
        let shells = Shells::builtins();
        let shell = shells.completer(name).ok_or_else(|| anyhow!("no completion for {name}"))?;
        let mut script = Vec::new();
        shell.write_registration(VARIABLE, "seedd", "seedd", "seedd", &mut script).context("writing the completion script")?;
        say(String::from_utf8(script).context("writing the completion script")?.trim_end())
    }
}

/// Answers a shell that asks for candidates; `None` if none does. `words`: the command line.
pub fn answer(command: fn() -> clap::Command, words: impl IntoIterator<Item = std::ffi::OsString>) -> Option<ExitCode> {
    match CompleteEnv::with_factory(command).var(VARIABLE).try_complete(words, None) {
        Ok(false) => None,
        Ok(true) => Some(ExitCode::SUCCESS),
        Err(error) => {
            let _ = error.print();
            Some(ExitCode::FAILURE)
        }
    }
}

/// Names of nodes.
pub fn nodes() -> ArgValueCandidates {
    candidates(|seed| {
        let all = rows::nodes(&seed.connect()?)?;
        Ok(all.iter().map(|n| n.label().to_owned()).collect())
    })
}

/// MAC addresses of machines, and host names of those that have one.
pub fn machines() -> ArgValueCandidates {
    candidates(|seed| {
        let all = rows::machines(&seed.connect()?)?;
        let all = all.into_iter().map(rows::read).collect::<Result<Vec<rows::Machine>>>()?;
        let name = |m: rows::Machine| m.enrollment.and_then(|e| e.hostname).unwrap_or(m.mac);
        Ok(all.into_iter().map(name).collect())
    })
}

/// A seed that cannot be asked has no names: a shell shows no errors.
fn candidates(names: fn(&SeedArgs) -> Result<Vec<String>>) -> ArgValueCandidates {
    ArgValueCandidates::new(move || {
        let all = SeedArgs::of_environment().and_then(|seed| names(&seed).ok()).unwrap_or_default();
        all.into_iter().map(CompletionCandidate::new).collect()
    })
}
