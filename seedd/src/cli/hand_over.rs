//! `seedd hand-over`, and the same at the end of every command that root runs on a site.

use anyhow::Result;
use camino::Utf8PathBuf;
use clap::{ArgMatches, Args};

use super::args::DataDir;

#[derive(Args)]
pub struct HandOver {
    #[command(flatten)]
    args: DataDir,
}

impl HandOver {
    pub fn run(&self) -> Result<()> {
        self.args.site().hand_over().map(drop)
    }
}

/// The data directory of a command: `--data` of the innermost verb, or what stands for it.
pub fn data_of(line: &ArgMatches) -> Option<Utf8PathBuf> {
    let mut here = line;
    loop {
        if let Ok(Some(data)) = here.try_get_one::<Utf8PathBuf>("data") {
            return Some(data.clone());
        }
        (_, here) = here.subcommand()?;
    }
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches as _;

    use crate::cli::{Cli, command, site_of};

    fn data(words: &[&str]) -> Option<String> {
        let line = command().try_get_matches_from(["seedd"].iter().chain(words)).unwrap();
        let cli = Cli::from_arg_matches(&line).unwrap();
        site_of(&cli.verb, &line).map(|site| site.data.into_string())
    }

    #[test]
    fn the_site_of_every_verb_that_writes_is_known() {
        for words in [
            &["init"][..],
            &["darksite", "build"],
            &["image", "build"],
            &["build"],
            &["cluster", "apply"],
            &["payload", "publish"],
            &["token", "list"],
            &["serve", "--iface", "lo"],
        ] {
            let words: Vec<&str> = words.iter().copied().chain(["--data", "/d"]).collect();
            assert_eq!(data(&words).as_deref(), Some("/d"), "{words:?}");
        }
        assert_eq!(data(&["status", "--data", "/d"]), None, "it only asks");
        assert_eq!(data(&["man", "--out", "/d"]), None);
    }
}
