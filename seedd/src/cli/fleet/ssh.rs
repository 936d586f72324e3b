//! ssh to the nodes: configuration, known hosts, and the login itself.

use anyhow::{Context as _, Result, anyhow, bail};
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use cluster_seed::ids::Hostname;
use host::files::{PRIVATE, create_dirs, write_atomic};
use host::process::become_program;
use site::hint::Hint as _;

use super::reach::SeedArgs;
use super::rows::{self, Node, Ssh};
use crate::cli::args::say;
use crate::remote::Remote;

/// Files in the directory of a seed.
const CONFIG: &str = "config";
const KNOWN_HOSTS: &str = "known_hosts";
/// Keys that an operator accepted by hand: those of nodes that have no certificate yet.
const ACCEPTED: &str = "accepted";

// How nodes are reached.
#[derive(Args, Clone, Default)]
pub struct Way {
    /// User on the nodes
    #[arg(long, value_name = "USER", default_value = "root", value_parser = word)]
    user: String,
    /// Go through this host, for example root@seed
    #[arg(long, value_name = "[USER@]HOST", value_parser = word)]
    jump: Option<String>,
}

/// Words of ssh's command line and of its configuration: none may begin with a dash or contain a blank or a quote.
fn word(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"@._:[]-,".contains(&b);
    if !text.is_empty() && !text.starts_with('-') && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("has characters that ssh would read otherwise".to_owned())
    }
}

#[derive(Args)]
pub struct SshConfig {
    /// Directory for the two files [default: ~/.config/kubedos/ssh/CONTEXT]
    #[arg(long, value_name = "DIR")]
    out: Option<Utf8PathBuf>,
    #[command(flatten)]
    way: Way,
    #[command(flatten)]
    seed: SeedArgs,
}

#[derive(Args)]
pub struct KnownHosts {
    #[command(flatten)]
    seed: SeedArgs,
}

/// What the seed tells: the authority of host keys, and the nodes.
fn told(remote: &Remote) -> Result<(Ssh, Vec<Node>)> {
    let ssh: Ssh = rows::read(remote.get("/api/v1/ssh")?)?;
    Ok((ssh, rows::nodes(remote)?))
}

/// Nodes with a name and an address. What a seed tells becomes lines of files that ssh obeys, so names are checked here too.
fn reachable(nodes: &[Node]) -> impl Iterator<Item = (&Node, std::net::Ipv4Addr)> {
    nodes.iter().filter(|n| n.hostname.parse::<Hostname>().is_ok()).filter_map(|n| Some((n, n.address()?)))
}

/// A line for known_hosts (sshd(8)): the authority certifies the names of the domain, and the addresses of the nodes.
fn known_hosts(ssh: &Ssh, nodes: &[Node]) -> Result<String> {
    let authority = ssh.authority.as_deref().ok_or_else(|| anyhow!("the site has no SSH host authority yet"));
    let authority = authority.hint("it is made when the seed is unsealed the next time: `seedd unseal`")?;
    let good = authority.starts_with("ssh-ed25519 ") && !authority.chars().any(char::is_control);
    if !good || ssh.domain.parse::<Hostname>().is_err() {
        bail!("the seed has no key of an SSH host authority");
    }
    let mut hosts = vec![format!("*.{}", ssh.domain)];
    hosts.extend(reachable(nodes).map(|(_, address)| address.to_string()));
    hosts.extend(reachable(nodes).filter_map(|(node, _)| Some(node.address6()?.to_string())));
    Ok(format!("@cert-authority {} {authority}", hosts.join(",")))
}

/// A part of ssh_config(5) per node. Its IPv6 address is another name for it; ssh connects to the IPv4 one.
fn config(nodes: &[Node], known_hosts: &[Utf8PathBuf], way: &Way) -> String {
    let mut text = "# Made by `seedd ssh-config`; do not edit.\n".to_owned();
    let files: Vec<String> = known_hosts.iter().map(|file| format!("\"{file}\"")).collect();
    for (node, address) in reachable(nodes) {
        let second = node.address6().map(|ip| format!(" {ip}")).unwrap_or_default();
        text.push_str(&format!("\nHost {} {} {address}{second}\n", node.label(), node.hostname));
        text.push_str(&format!("    HostName {address}\n    HostKeyAlias {}\n    User {}\n", node.hostname, way.user));
        text.push_str(&format!("    UserKnownHostsFile {}\n", files.join(" ")));
        if let Some(jump) = &way.jump {
            text.push_str(&format!("    ProxyJump {jump}\n"));
        }
    }
    text
}

/// The directory of this seed's files. It is named in a file where a quote would end the name.
fn folder(seed: &SeedArgs, out: Option<&Utf8Path>) -> Result<Utf8PathBuf> {
    let dir = match out {
        Some(dir) if dir.is_absolute() => dir.to_owned(),
        Some(dir) => Utf8PathBuf::try_from(std::env::current_dir().context("finding the current directory")?)?.join(dir),
        None => seed.home.dir()?.join("ssh").join(seed.word()?),
    };
    if dir.as_str().contains(['"', '\n', '%', '$']) {
        return Err(anyhow!("{dir} has characters that ssh would read otherwise")).hint("choose another directory with --out");
    }
    Ok(dir)
}

impl SshConfig {
    pub fn run(&self) -> Result<()> {
        let (ssh, nodes) = told(&self.seed.connect()?)?;
        let dir = folder(&self.seed, self.out.as_deref())?;
        let known = known_hosts(&ssh, &nodes)?;
        create_dirs(&dir)?;
        write_atomic(&dir.join(KNOWN_HOSTS), format!("{known}\n").as_bytes(), PRIVATE)?;
        let files = [dir.join(ACCEPTED), dir.join(KNOWN_HOSTS)];
        write_atomic(&dir.join(CONFIG), config(&nodes, &files, &self.way).as_bytes(), PRIVATE)?;
        let count = reachable(&nodes).count();
        say(&format!("{count} nodes; put this line at the top of ~/.ssh/config:\nInclude {}", dir.join(CONFIG)))
    }
}

impl KnownHosts {
    pub fn run(&self) -> Result<()> {
        let (ssh, nodes) = told(&self.seed.connect()?)?;
        say(&known_hosts(&ssh, &nodes)?)
    }
}

/// Becomes ssh to a node.
pub fn login(seed: &SeedArgs, way: &Way, name: &str, command: &[String]) -> Result<()> {
    let remote = seed.connect()?;
    let (ssh, nodes) = told(&remote)?;
    let wanted = rows::node(&remote, name)?.hostname;
    let found = reachable(&nodes).find(|(n, _)| n.hostname == wanted);
    let (node, address) = found.ok_or_else(|| anyhow!("{wanted} has no address on the control plane"))?;
    let dir = folder(seed, None)?;
    create_dirs(&dir)?;
    match known_hosts(&ssh, &nodes) {
        Ok(line) => write_atomic(&dir.join(KNOWN_HOSTS), format!("{line}\n").as_bytes(), PRIVATE)?,
        // ssh then asks about the key.
        Err(error) => eprintln!("seedd: {error:#}"),
    }
    let known = format!("UserKnownHostsFile=\"{}\" \"{}\"", dir.join(ACCEPTED), dir.join(KNOWN_HOSTS));
    let mut words = vec!["-o".to_owned(), known, "-o".to_owned(), format!("HostKeyAlias={}", node.hostname)];
    words.extend(way.jump.iter().flat_map(|jump| ["-J".to_owned(), jump.clone()]));
    words.push(format!("{}@{address}", way.user));
    if !command.is_empty() {
        words.push("--".to_owned());
        words.extend(command.iter().cloned());
    }
    tracing::debug!(?words, "becoming ssh");
    Err(become_program("ssh", &words)).context("starting ssh")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, address: &str) -> Node {
        let planes = json!([{"plane": "wg1", "address": address}]);
        rows::read(json!({
            "hostname": name, "role": "base", "state": "Converged", "enrollment": "e", "machine": 1, "mac": "m", "planes": planes,
        }))
        .unwrap()
    }

    fn site() -> (Ssh, Vec<Node>) {
        let ssh = Ssh { authority: Some("ssh-ed25519 AAAA SSH hosts of a".into()), domain: "lab.lan".into() };
        (ssh, vec![node("n1.lab.lan", "10.78.0.2"), node("n2.lab.lan", "10.78.0.3")])
    }

    #[test]
    fn one_line_accepts_every_node() {
        let (ssh, nodes) = site();
        let line = known_hosts(&ssh, &nodes).unwrap();
        assert_eq!(line, "@cert-authority *.lab.lan,10.78.0.2,10.78.0.3 ssh-ed25519 AAAA SSH hosts of a");
        assert!(known_hosts(&Ssh { authority: None, domain: "lab.lan".into() }, &nodes).is_err());
    }

    #[test]
    fn the_ipv6_address_of_a_node_is_another_name_for_it() {
        let (ssh, mut nodes) = site();
        nodes[1].planes[0].address6 = Some("fd00:78::3".parse().unwrap());
        let line = known_hosts(&ssh, &nodes).unwrap();
        assert!(line.starts_with("@cert-authority *.lab.lan,10.78.0.2,10.78.0.3,fd00:78::3 ssh-ed25519 "), "{line}");
        let text = config(&nodes, &[], &Way { user: "root".into(), jump: None });
        assert!(text.contains("\nHost n1 n1.lab.lan 10.78.0.2\n"), "{text}");
        assert!(text.contains("\nHost n2 n2.lab.lan 10.78.0.3 fd00:78::3\n    HostName 10.78.0.3\n"), "{text}");
    }

    #[test]
    fn what_a_seed_tells_adds_no_lines() {
        let (ssh, mut nodes) = site();
        nodes.push(node("n3\n  ProxyCommand x.lab.lan", "10.78.0.4"));
        nodes.push(node("n4 *", "10.78.0.5"));
        let way = Way { user: "root".into(), jump: Some("root@seed".into()) };
        let text = config(&nodes, &["/a b/known_hosts".into()], &way);
        assert_eq!(text.matches("\nHost ").count(), 2, "{text}");
        assert!(
            text.contains("\nHost n1 n1.lab.lan 10.78.0.2\n    HostName 10.78.0.2\n    HostKeyAlias n1.lab.lan\n    User root\n")
        );
        assert!(
            text.contains("    UserKnownHostsFile \"/a b/known_hosts\"\n    ProxyJump root@seed\n") && !text.contains("Command")
        );
        for authority in ["ssh-ed25519 A\n* ssh-rsa B", "ssh-rsa A", ""] {
            assert!(known_hosts(&Ssh { authority: Some(authority.into()), domain: ssh.domain.clone() }, &nodes).is_err());
        }
        assert!(known_hosts(&Ssh { authority: ssh.authority, domain: "lab.lan,*".into() }, &nodes).is_err());
        for bad in ["", "-oProxyCommand=x", "a b", "a\"b", "a;b"] {
            assert!(word(bad).is_err(), "{bad}");
        }
    }
}
