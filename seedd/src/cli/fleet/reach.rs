//! Which seed a verb asks: one on this machine, or one of a context.

use anyhow::{Result, anyhow};
use camino::Utf8PathBuf;
use clap::{Args, Parser};
use clap_complete::{ArgValueCandidates, CompletionCandidate};
use site::hint::Hint as _;

use super::super::args::DEFAULT_DATA;
use crate::remote::Remote;
use crate::remote::contexts::{Contexts, Entry, LOCAL};

// Ordinary comments on purpose: clap would show a doc comment of a flattened struct as its parent's description.

// Where an operator's settings are.
#[derive(Args, Clone, Default)]
pub struct Home {
    /// Directory of settings
    #[arg(long, env = "XDG_CONFIG_HOME", hide = true)]
    pub config_home: Option<Utf8PathBuf>,
    /// Home directory, for the settings if XDG_CONFIG_HOME is not set
    #[arg(long, env = "HOME", hide = true)]
    pub home: Option<Utf8PathBuf>,
}

impl Home {
    /// `$XDG_CONFIG_HOME/kubedos`, or `~/.config/kubedos`.
    pub fn dir(&self) -> Result<Utf8PathBuf> {
        let set = |dir: &Option<Utf8PathBuf>| dir.clone().filter(|d| d.is_absolute());
        let config = set(&self.config_home).or_else(|| set(&self.home).map(|home| home.join(".config")));
        let config = config.ok_or_else(|| anyhow!("neither XDG_CONFIG_HOME nor HOME is an absolute path"));
        Ok(config.hint("set HOME")?.join("kubedos"))
    }
}

// Which seed.
#[derive(Args, Clone, Default)]
pub struct SeedArgs {
    /// Ask the seed of this context (see `seedd context list`); `local` is the one on this machine
    #[arg(long, env = "KUBEDOS_CONTEXT", value_name = "NAME", add = context_names())]
    pub context: Option<String>,
    /// Ask the seed on this machine that serves this data directory
    #[arg(long, env = "KUBEDOS_DATA", value_name = "DIR")]
    pub data: Option<Utf8PathBuf>,
    #[command(flatten)]
    pub home: Home,
}

/// Names of contexts, for completion.
fn context_names() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let dir = SeedArgs::of_environment().and_then(|args| args.home.dir().ok());
        let all = dir.and_then(|dir| Contexts::read(&dir).ok()).unwrap_or_default();
        let names = all.contexts.into_keys().chain([LOCAL.to_owned()]);
        names.map(CompletionCandidate::new).collect()
    })
}

/// The seed that is asked.
pub enum Which {
    /// By its data directory.
    Here(Utf8PathBuf),
    /// By the name of its context.
    There(String, Box<Entry>),
}

/// No arguments at all.
#[derive(Parser)]
struct Environment {
    #[command(flatten)]
    seed: SeedArgs,
}

impl SeedArgs {
    /// What the environment says, for completion: it runs before the command line is complete.
    pub fn of_environment() -> Option<Self> {
        Environment::try_parse_from(["seedd"]).ok().map(|e| e.seed)
    }

    /// A context that is named counts first, then a data directory, then the current context, then the usual data directory.
    pub fn which(&self) -> Result<Which> {
        let here = || Which::Here(self.data.clone().unwrap_or_else(|| DEFAULT_DATA.into()));
        let there =
            |name: &str, all: &Contexts| -> Result<Which> { Ok(Which::There(name.to_owned(), Box::new(all.get(name)?.clone()))) };
        let named = self.context.as_deref().filter(|name| !name.is_empty());
        match (named, &self.data) {
            (Some(LOCAL), _) | (None, Some(_)) => Ok(here()),
            (Some(name), _) => there(name, &Contexts::read(&self.home.dir()?)?),
            (None, None) => {
                // Without a home there are no contexts, and the seed on this machine can be asked all the same.
                let Ok(dir) = self.home.dir() else { return Ok(here()) };
                let all = Contexts::read(&dir)?;
                all.current.clone().map_or_else(|| Ok(here()), |name| there(&name, &all))
            }
        }
    }

    pub fn connect(&self) -> Result<Remote> {
        match self.which()? {
            Which::Here(data) => Remote::local(&data),
            Which::There(_, entry) => Remote::new(entry.server.clone(), &entry.believed()?, entry.token()?),
        }
    }

    /// A word for this seed in file names: that of its context.
    pub fn word(&self) -> Result<String> {
        Ok(match self.which()? {
            Which::Here(_) => LOCAL.to_owned(),
            Which::There(name, _) => name,
        })
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;

    fn args(dir: &Utf8Path, context: Option<&str>, data: Option<&str>) -> SeedArgs {
        let home = Home { config_home: Some(dir.to_owned()), home: None };
        SeedArgs { context: context.map(str::to_owned), data: data.map(Into::into), home }
    }

    #[test]
    fn what_is_named_counts_before_what_is_stored() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        let word = |context, data| args(dir, context, data).word().ok();
        assert_eq!(word(None, None).as_deref(), Some("local"));
        let text = "current: a\ncontexts:\n  a: {server: 'https://a'}\n  b: {server: 'https://b'}\n";
        std::fs::create_dir(dir.join("kubedos")).unwrap();
        std::fs::write(dir.join("kubedos/contexts.yaml"), text).unwrap();
        for (context, data, expected) in [
            (None, None, Some("a")),
            (Some("b"), None, Some("b")),
            (Some("b"), Some("/srv/seed"), Some("b")),
            (Some("local"), None, Some("local")),
            (None, Some("/srv/seed"), Some("local")),
            (Some(""), None, Some("a")),
            (Some("c"), None, None),
        ] {
            assert_eq!(word(context, data).as_deref(), expected, "{context:?} {data:?}");
        }
        let Which::Here(data) = args(dir, Some("local"), Some("/srv/seed")).which().unwrap() else { panic!("not local") };
        assert_eq!(data, "/srv/seed");
    }

    #[test]
    fn settings_are_below_the_home() {
        let home = |config: &str, home: &str| Home { config_home: Some(config.into()), home: Some(home.into()) }.dir().ok();
        assert_eq!(home("/cfg", "/home/ada").unwrap(), "/cfg/kubedos");
        assert_eq!(home("", "/home/ada").unwrap(), "/home/ada/.config/kubedos");
        assert_eq!(home("relative", "/home/ada").unwrap(), "/home/ada/.config/kubedos");
        assert_eq!(home("", ""), None);
    }
}
