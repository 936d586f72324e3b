//! A running site begins countersigning, with a key that is made and used without a network. A third peer stays off the nodes until that key
//! has signed it, even if the site's own key lists it; it leaves without a signature. The key ends itself.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use camino::Utf8Path;
use cluster_seed::countersign::file::Request;
use cluster_seed::countersign::statement::NodeStatement;
use cluster_seed::peers::PeerNode;
use cluster_seed::seal::Sealed;
use serde_json::Value;
use site::store::Store;
use site::{Site, setting};

use crate::ask::{self, Node, PATIENCE, ask, cluster_text, lists_taken, until};
use crate::fake_agent::{FakeAgent, random};
use crate::fleet::Fleet;
use crate::say;
use crate::site::{PASSPHRASE, write_private};
use crate::tool;

/// The third peer: a program that speaks the agent's protocol up to its identity.
const THIRD: &str = "third";
const NUMBER: u8 = 7;
const DISK: u64 = 64 << 30;
/// Where a node keeps the key that it has seen.
const KEPT: &str = "cat /var/lib/kubedos/countersign.json";
/// The service is a oneshot, and `start` waits for its end. systemd starts no service more than five times in ten seconds.
const PEERS: &str = "sleep 2; systemctl start kubedos-peers.service && wg show wg1 peers";
/// As `seedd init` writes it.
const ENROLLMENT: &str = "\n  enrollment:\n";

fn with_key(text: &str, key: &str) -> Result<String> {
    ask::replaced(text, ENROLLMENT, &format!("{ENROLLMENT}    countersign: {{key: \"{key}\"}}\n"))
}

/// The machine with the key, and what is carried to it and back.
struct Offline {
    dir: PathBuf,
    program: String,
    /// The public half.
    key: String,
}

impl Offline {
    /// Makes the key.
    fn new(fleet: &Fleet) -> Result<Self> {
        let dir = fleet.work.join("offline");
        std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        write_private(&dir.join("passphrase"), "the offline key of the lab has no secrets either")?;
        let mut offline = Offline { dir, program: fleet.seedd.program.to_string_lossy().into_owned(), key: String::new() };
        let (file, passphrase) = (offline.file("countersign.key"), offline.file("passphrase"));
        let said = offline.run(&["countersign", "keygen", "--out", &file, "--passphrase-file", &passphrase])?;
        let public = said.lines().find_map(|line| line.trim().strip_prefix("public "));
        offline.key = public.with_context(|| format!("no public key: {said}"))?.trim().to_owned();
        Ok(offline)
    }

    fn file(&self, name: &str) -> String {
        self.dir.join(name).to_string_lossy().into_owned()
    }

    /// A verb without a network and without a site.
    fn run(&self, verb: &[&str]) -> Result<String> {
        let mut argv = tool::words(&["unshare", "--net"]);
        argv.push(self.program.clone());
        argv.extend(tool::words(verb));
        tool::run_owned(&argv)
    }

    /// A verb with the private key; it writes `answer`.
    fn with_private(&self, verb: &[&str], answer: &str) -> Result<String> {
        let (key, passphrase) = (self.file("countersign.key"), self.file("passphrase"));
        let mut all = verb.to_vec();
        all.extend(["--key", key.as_str(), "--passphrase-file", passphrase.as_str(), "--out", answer, "--yes"]);
        self.run(&all)
    }

    /// What the seed asks for now, in the file NAME-request.json.
    fn export(&self, fleet: &Fleet, name: &str) -> Result<Request> {
        let file = self.file(&format!("{name}-request.json"));
        fleet.seedd.say_plain(&["countersign", "export", "--out", &file])?;
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
        serde_json::from_str(&text).with_context(|| format!("reading {text:?}"))
    }

    /// Signs a request that was exported, and imports the answer.
    fn sign(&self, fleet: &Fleet, name: &str, request: &Request) -> Result<()> {
        let (file, answer) = (self.file(&format!("{name}-request.json")), self.file(&format!("{name}-answer.json")));
        let said = self.with_private(&["countersign", "sign", &file], &answer)?;
        for node in &request.nodes {
            ensure!(said.contains(&node.fingerprint()), "the fingerprint of {} is not shown: {said}", node.name);
        }
        let taken = ask(fleet, &["countersign", "import", &answer])?;
        let signed = taken["signed"].as_array().map_or(0, Vec::len);
        let outdated = taken["outdated"].as_array().map_or(0, Vec::len);
        ensure!((signed, outdated) == (request.nodes.len(), 0), "importing {} signatures: {taken}", request.nodes.len());
        Ok(())
    }
}

pub fn shown(fleet: &Fleet, key: &Path) -> Result<()> {
    let nodes = ask::nodes(fleet, key)?;
    let before = cluster_text(fleet)?;
    let offline = Offline::new(fleet)?;
    begin(fleet, &offline, &before, &nodes)?;
    say::line("the countersigning key is in force: both nodes keep it, and keys of nodes are not replaced");

    let request = enroll_third(fleet, &offline)?;
    let third = request.nodes.first().context("nobody waits")?;
    stays_out(fleet, &nodes, third)?;
    say::line(&format!("{THIRD} is approved and not countersigned: it is no peer of the nodes"));
    stolen(fleet, &nodes, third)?;
    say::line(&format!("the site's own key listed {THIRD}: both nodes left it out and reported that"));

    offline.sign(fleet, THIRD, &request)?;
    third_is_peer(fleet, &nodes, third, true)?;
    say::line(&format!("{THIRD} is countersigned: it is a peer of both nodes and the seed"));
    ask(fleet, &["node", "revoke", THIRD, "--reason", "the lab is done with it"])?;
    third_is_peer(fleet, &nodes, third, false)?;
    say::line(&format!("{THIRD} is revoked without a signature: nobody has it as a peer"));

    end(fleet, &offline, &before, &nodes)?;
    say::line("the countersigning key ended countersigning");
    Ok(())
}

/// Waits until what `seedd countersign show` says is right.
fn show(fleet: &Fleet, what: &str, right: impl Fn(&Value) -> bool) -> Result<()> {
    until(what, PATIENCE, |seen| {
        let said = ask(fleet, &["countersign", "show"])?;
        *seen = said.to_string();
        Ok(right(&said).then_some(()))
    })
}

fn waiting(said: &Value) -> Vec<&Value> {
    said["waiting"].as_array().into_iter().flatten().collect()
}

/// Every node keeps what has this in its text.
fn kept(nodes: &[Node<'_>], text: &str) -> Result<()> {
    for node in nodes {
        until(&format!("{} to keep {text}", node.name), PATIENCE, |seen| {
            *seen = node.run(KEPT)?;
            Ok(seen.contains(text).then_some(()))
        })?;
    }
    Ok(())
}

/// The key of cluster.yaml is checked by nodes once it has signed those that are there.
fn begin(fleet: &Fleet, offline: &Offline, before: &str, nodes: &[Node<'_>]) -> Result<()> {
    ask::apply(fleet, "countersigned", &with_key(before, &offline.key)?)?;
    show(fleet, "the key to wait for its signatures", |said| {
        let rows = waiting(said);
        let listed = rows.len() == nodes.len() && rows.iter().all(|node| node["listed"] == true);
        said["key"] == offline.key.as_str() && said["checked"] == false && listed
    })?;
    let request = offline.export(fleet, "first")?;
    offline.sign(fleet, "first", &request)?;
    show(fleet, "nodes to check the key", |said| said["checked"] == true && waiting(said).is_empty())?;
    lists_taken(fleet)?;
    kept(nodes, &offline.key)?;
    let refused = tool::outcome(&fleet.seedd.argv(&["plane", "rotate", "wg2"]))?;
    ensure!(refused.code != 0 && refused.stderr.contains("countersigning key"), "keys of nodes are replaced: {refused:?}");
    Ok(())
}

/// Enrolls and approves another machine; the request for its signature.
fn enroll_third(fleet: &Fleet, offline: &Offline) -> Result<Request> {
    let mut agent = FakeAgent::new(&fleet.ns, NUMBER, DISK)?;
    let code = agent.enroll()?;
    ask(fleet, &["machine", "approve", &code, "--role", "base", "--name", THIRD, "--disk", "vda", "--no-wait"])?;
    ensure!(agent.confirm()?, "{THIRD} did not confirm its code");
    agent.open(agent.send_claim(&agent.claim(random()?)?)?)?;
    let request = offline.export(fleet, THIRD)?;
    let names: Vec<&str> = request.nodes.iter().map(|node| node.name.label()).collect();
    ensure!(names == [THIRD], "the request is about {names:?}");
    Ok(request)
}

/// The key of a node on the control plane, as `wg` prints it.
fn key_of(node: &NodeStatement) -> Result<String> {
    Ok(node.keys.get("wg1").with_context(|| format!("{} has no key of wg1", node.name))?.to_string())
}

/// The peers of a node after it has acted on the list that it holds.
fn peers_of(node: &Node<'_>) -> Result<String> {
    until(&format!("{} to act on its peer list", node.name), PATIENCE, |_| node.run(PEERS).map(Some))
}

/// The nodes have acted on the newest list, and it is not among their peers.
fn stays_out(fleet: &Fleet, nodes: &[Node<'_>], third: &NodeStatement) -> Result<()> {
    let key = key_of(third)?;
    let said = ask(fleet, &["countersign", "show"])?;
    let waits = waiting(&said).iter().any(|node| node["name"] == third.name.as_str() && node["listed"] == false);
    ensure!(waits, "{} does not wait: {said}", third.name);
    lists_taken(fleet)?;
    for node in nodes {
        let peers = peers_of(node)?;
        // The seed and the other node.
        ensure!(peers.lines().count() == nodes.len(), "{} has the peers {peers}", node.name);
        ensure!(!peers.contains(&key), "{} has a peer that is not countersigned: {peers}", node.name);
    }
    Ok(())
}

/// Somebody with the disk of the seed and its passphrase signs a list that has the third peer.
fn stolen(fleet: &Fleet, nodes: &[Node<'_>], third: &NodeStatement) -> Result<()> {
    let site = Site::new(Utf8Path::from_path(&fleet.seedd.data).context("a path that is not UTF-8")?);
    let key = site.keys().unseal(PASSPHRASE).context("opening the keys of the site")?.site;
    let store = Store::open(&site.database()).context("opening the database")?;
    let own = store.read(|tx| tx.peers()).context("reading the peer list")?.context("there is no peer list")?;
    let mut list = own.open(&key.verifying_key()).context("checking the peer list")?;
    list.version += 1;
    let (role, keys, addresses) = (third.role.clone(), third.keys.clone(), third.addresses.clone());
    list.nodes.insert(third.name.clone(), PeerNode { endpoint: None, role, keys, addresses });
    let forged = serde_json::to_string(&Sealed::sign(&list, &key)?).context("writing a peer list")?;
    store.set(setting::PEERS, &forged).context("replacing the peer list")?;
    drop(store);
    // This time it was in their list.
    lists_taken(fleet)?;
    let key = key_of(third)?;
    for node in nodes {
        let peers = peers_of(node)?;
        ensure!(!peers.contains(&key), "{} has a peer that only the stolen seed signed: {peers}", node.name);
    }
    until("both nodes to report what they refused", PATIENCE, |seen| {
        let said = ask(fleet, &["event", "list", "--kind", "countersign.refused", "-n", "500"])?;
        *seen = said["events"].to_string();
        let texts: Vec<&str> = said["events"].as_array().into_iter().flatten().filter_map(|e| e["text"].as_str()).collect();
        let by =
            |node: &Node<'_>| texts.iter().any(|t| t.starts_with(&format!("{}.", node.name)) && t.contains(third.name.as_str()));
        Ok(nodes.iter().all(by).then_some(()))
    })
}

/// The nodes and the seed have it as a peer, or none of them.
fn third_is_peer(fleet: &Fleet, nodes: &[Node<'_>], third: &NodeStatement, wanted: bool) -> Result<()> {
    let key = key_of(third)?;
    lists_taken(fleet)?;
    let what = if wanted { "to have" } else { "to drop" };
    for node in nodes {
        until(&format!("{} {what} {THIRD}", node.name), PATIENCE, |seen| {
            *seen = node.run(PEERS)?;
            Ok((seen.contains(&key) == wanted).then_some(()))
        })?;
    }
    until(&format!("the seed {what} {THIRD}"), PATIENCE, |seen| {
        *seen = fleet.ns.run(&["wg", "show", "wg1", "peers"])?;
        Ok((seen.contains(&key) == wanted).then_some(()))
    })
}

/// The key signs that countersigning ends, and then leaves cluster.yaml.
fn end(fleet: &Fleet, offline: &Offline, before: &str, nodes: &[Node<'_>]) -> Result<()> {
    offline.export(fleet, "end")?;
    let (request, answer) = (offline.file("end-request.json"), offline.file("end-answer.json"));
    offline.with_private(&["countersign", "replace", &request, "--end"], &answer)?;
    let taken = ask(fleet, &["countersign", "import", &answer])?;
    ensure!(taken["change"] == true, "the end was not taken: {taken}");
    ask::apply(fleet, "ended", before)?;
    show(fleet, "the seed to have no countersigning key", |said| said["key"].is_null() && said["problem"].is_null())?;
    lists_taken(fleet)?;
    kept(nodes, "\"key\":null")
}

#[cfg(test)]
mod tests {
    use cluster_seed::cluster::ClusterSpec;
    use cluster_seed::seal::{SigningKey, key_text};

    use super::*;

    #[test]
    fn the_key_fits_the_file_of_init() {
        let key = key_text(&SigningKey::from_bytes(&[5; 32]).verifying_key());
        let text = with_key(&site::default_cluster_yaml("lab"), &key).unwrap();
        let spec = ClusterSpec::parse(&text).unwrap();
        assert_eq!(spec.spec.enrollment.countersign.map(|c| c.key.value), Some(key.clone()));
        assert!(with_key("spec: {}", &key).is_err());
    }
}
