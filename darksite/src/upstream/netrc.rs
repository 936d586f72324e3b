//! User names and passwords for mirrors, from a file in the form of netrc(5), read as apt reads it (apt_auth.conf(5)).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Bytes of a netrc file.
pub const MAX_NETRC: u64 = 256 << 10;
/// Machines in one file.
const MAX_MACHINES: usize = 1_000;

/// Why a file is refused. No error repeats its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NetrcError {
    #[error("word {0} of the file is none of machine, default, login, password, account")]
    Word(usize),
    #[error("a word is missing at the end of the file")]
    End,
    #[error("a login or password comes before the first machine")]
    Order,
    #[error("the file has more than {MAX_MACHINES} machines")]
    TooMany,
}

#[derive(Default, Clone)]
struct Login {
    /// Empty for `https://` only, as for apt.
    scheme: String,
    host: String,
    port: Option<String>,
    /// Begins with `/`, or is empty.
    path: String,
    user: Zeroizing<String>,
    password: Zeroizing<String>,
}

/// Logins by machine. Its `Debug` output contains no secret.
#[derive(Default, Clone)]
pub struct Netrc {
    logins: Vec<Login>,
}

impl std::fmt::Debug for Netrc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hosts: Vec<&str> = self.logins.iter().map(|l| l.host.as_str()).collect();
        f.debug_struct("Netrc").field("hosts", &hosts).finish()
    }
}

impl Netrc {
    /// Reads `machine [http://|https://]HOST[:PORT][/PATH] login NAME password WORD …`. Without a scheme a login is for
    /// https only. `default` and its login are skipped: a password is for one server.
    pub fn parse(text: &str) -> Result<Netrc, NetrcError> {
        let mut words = text
            .lines()
            .map(|line| if line.trim_start().starts_with('#') { "" } else { line })
            .flat_map(str::split_whitespace)
            .enumerate();
        let mut logins: Vec<Login> = Vec::new();
        let mut skipped = false;
        while let Some((at, word)) = words.next() {
            let mut value = || words.next().map(|(_, word)| word).ok_or(NetrcError::End);
            match word {
                "default" => skipped = true,
                "machine" => {
                    if logins.len() == MAX_MACHINES {
                        return Err(NetrcError::TooMany);
                    }
                    skipped = false;
                    logins.push(machine(value()?));
                }
                "login" | "password" | "account" => {
                    let value = Zeroizing::new(value()?.to_owned());
                    let Some(login) = logins.last_mut().filter(|_| !skipped) else {
                        if skipped {
                            continue;
                        }
                        return Err(NetrcError::Order);
                    };
                    match word {
                        "login" => login.user = value,
                        "password" => login.password = value,
                        _ => {}
                    }
                }
                _ => return Err(NetrcError::Word(at + 1)),
            }
        }
        Ok(Netrc { logins })
    }

    /// The value of an `Authorization` header for an address (RFC 7617). The first machine that fits counts.
    pub fn authorization(&self, url: &str) -> Option<Zeroizing<String>> {
        let (scheme, rest) = url.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (host, path) = (&rest[..end], &rest[end..]);
        let usual = if scheme.eq_ignore_ascii_case("https") { "443" } else { "80" };
        let (host, port) = match host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())) {
            Some((host, port)) => (host, port),
            None => (host, usual),
        };
        let fits = |l: &&Login| {
            let schemes = if l.scheme.is_empty() { "https" } else { &l.scheme };
            let below = path.strip_prefix(l.path.as_str());
            schemes.eq_ignore_ascii_case(scheme)
                && l.host.eq_ignore_ascii_case(host)
                && l.port.as_deref().unwrap_or(if l.scheme.is_empty() { port } else { usual }) == port
                && below
                    .is_some_and(|rest| rest.is_empty() || l.path.is_empty() || l.path.ends_with('/') || rest.starts_with('/'))
        };
        let login = self.logins.iter().find(fits)?;
        let pair = Zeroizing::new(format!("{}:{}", *login.user, *login.password));
        let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
        Some(Zeroizing::new(format!("Basic {}", *encoded)))
    }
}

/// The host, with what stands around it.
fn machine(text: &str) -> Login {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let end = rest.find('/').unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.to_owned())),
        None => (host, None),
    };
    Login { scheme: scheme.to_owned(), host: host.to_owned(), port, path: path.to_owned(), ..Login::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(netrc: &str, url: &str) -> Option<String> {
        Netrc::parse(netrc).unwrap().authorization(url).map(|value| (*value).clone())
    }

    #[test]
    fn a_login_is_sent_to_its_machine_only() {
        // "u:p" in base64
        let yes = Some("Basic dTpw".to_owned());
        for (machine, url, fits) in [
            ("h.example", "https://h.example/x", true),
            ("h.example", "https://H.example:8443/x", true),
            ("h.example", "http://h.example/x", false),
            ("https://h.example", "https://h.example:8443/x", false),
            ("http://h.example", "http://h.example/x", true),
            ("http://h.example", "https://h.example/x", false),
            ("http://h.example:8080", "http://h.example:8080/x", true),
            ("http://h.example:8080", "http://h.example/x", false),
            ("h.example/apt", "https://h.example/apt/x", true),
            ("h.example/apt", "https://h.example/apt", true),
            ("h.example/apt", "https://h.example/aptitude", false),
            ("h.example/apt", "https://h.example/x/apt", false),
            ("h.example", "https://h.example.evil/x", false),
            ("h.example", "https://evil/h.example", false),
            ("h.example", "https://evil?h.example", false),
            ("example", "https://h.example/x", false),
        ] {
            let found = sent(&format!("machine {machine} login u password p"), url);
            assert_eq!(found, yes.clone().filter(|_| fits), "{machine} {url}");
        }
    }

    #[test]
    fn the_form_of_netrc() {
        let text = "# machine no login x password x\nmachine a\n login u\n password p\nmachine b login v account w password q\ndefault login d password d\n";
        assert_eq!(sent(text, "https://a/").as_deref(), Some("Basic dTpw"));
        assert_eq!(sent(text, "https://b/").as_deref(), Some("Basic dTpx").map(|_| "Basic djpx"));
        assert_eq!(sent(text, "https://c/"), None, "default is for no server");
        assert_eq!(Netrc::parse("machine a login u password").unwrap_err(), NetrcError::End);
        assert_eq!(Netrc::parse("login u").unwrap_err(), NetrcError::Order);
        assert_eq!(Netrc::parse("machine a s3cret").unwrap_err(), NetrcError::Word(3));
        let debug = format!("{:?}", Netrc::parse(text).unwrap());
        assert!(debug.contains('b') && !debug.contains("\"q") && !debug.contains("\"u"), "{debug}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(machine|default|login|password|a|b:1|http://c/d| |\n|#){0,30}", url in "\\PC{0,30}") {
            if let Ok(netrc) = Netrc::parse(&text) {
                let _ = netrc.authorization(&url);
            }
        }
    }
}
