//! `--netrc`: user names and passwords for servers that want them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, anyhow};
use camino::Utf8PathBuf;
use clap::Args;
use darksite::upstream::netrc::{MAX_NETRC, Netrc};
use darksite::{AnyFetch, HttpLimits};
use host::files::read_limited;
use site::hint::Hint as _;
use zeroize::Zeroizing;

#[derive(Args)]
pub struct Logins {
    /// User names and passwords of servers, in the form of netrc(5); only its owner may have access
    #[arg(long, value_name = "FILE")]
    netrc: Option<Utf8PathBuf>,
}

impl Logins {
    /// What files are fetched with.
    pub fn fetch(&self) -> Result<AnyFetch> {
        let logins = self.netrc.as_ref().map(read).transpose()?.unwrap_or_default();
        Ok(AnyFetch::with_logins(HttpLimits::default(), logins))
    }
}

fn read(path: &Utf8PathBuf) -> Result<Netrc> {
    let mode = fs::metadata(path).with_context(|| format!("opening {path}"))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(anyhow!("other users have access to {path}")).hint(format!("chmod 600 {path}"));
    }
    let bytes = Zeroizing::new(read_limited(path, MAX_NETRC)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| anyhow!("{path} is not UTF-8 text"))?;
    Netrc::parse(text).with_context(|| format!("reading {path}")).hint("machine HOST login NAME password WORD; see netrc(5)")
}
