//! Reads what is there: hosts, their storages and bridges, all machines, and the configuration of those of this site.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cluster_seed::cluster::ClusterSpec;
use cluster_seed::substrate::HostSpec;
use host::parallel;

use crate::present::{self, DEFAULT_IMAGES, HostFacts, HostState, Present, PresentVm, Unexpected};
use crate::ssh::{Remote, SshError, SshSettings};

/// Hosts that are asked at once.
const HOSTS_AT_ONCE: usize = 8;
/// Configurations that are read by one command.
const CONFIGS_PER_LOGIN: usize = 50;
/// `pvesh` takes a second; a busy cluster file system takes longer.
const SURVEY_LIMIT: Duration = Duration::from_secs(600);

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Ssh(#[from] SshError),
    #[error("reading the state of host {host}")]
    Unexpected {
        host: String,
        #[source]
        source: Unexpected,
    },
    #[error("host {host} says that its name is {found:?}")]
    WrongHost { host: String, found: String },
}

impl ReadError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            ReadError::Ssh(e) => e.hint(),
            ReadError::Unexpected { .. } => "check with pvesh on the host; this version may be newer than Kubedos knows",
            ReadError::WrongHost { .. } => "check address and name in substrate.hosts",
        }
    }
}

/// Connections to all hosts of cluster.yaml.
pub struct Fleet<'a> {
    remotes: Vec<Remote<'a>>,
}

/// Between the answers of a script. JSON has no line breaks in its texts, so no answer contains this line.
const SEPARATOR: &str = "==";

/// One login for everything: `$1` is the host's name. A host with another name is asked nothing.
const SURVEY: &str = r#"set -e
name=$(hostname)
echo "$name"
[ "${name%%.*}" = "$1" ] || exit 0
ask() { echo ==; pvesh get "$@" --output-format json; echo; }
ask /version
ask /cluster/resources --type vm
ask "/nodes/$1/status"
ask "/nodes/$1/storage"
ask "/nodes/$1/network" --type any_bridge
ask /storage"#;

/// Configurations as they are in force, without pending changes, of the machines `$1/qemu/$2`, ….
const CONFIGS: &str = r#"set -e
for vm; do
  echo ==
  pvesh get "/nodes/$vm/config" --current 1 --output-format json
  echo
done"#;

fn answers(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for line in text.lines() {
        match all.last_mut() {
            Some(last) if line != SEPARATOR => last.push_str(line),
            _ => all.push(String::new()),
        }
    }
    all
}

/// The configurations of machines, each given as host and number, in their order.
pub(crate) fn configs(remote: &Remote<'_>, vms: &[(&str, u32)]) -> Result<Vec<BTreeMap<String, String>>, ReadError> {
    let paths: Vec<String> = vms.iter().map(|(node, vmid)| format!("{node}/qemu/{vmid}")).collect();
    let args: Vec<&str> = paths.iter().map(String::as_str).collect();
    let output = remote.script("reading configurations", CONFIGS, &args, SURVEY_LIMIT)?;
    let found = answers(&output.text());
    let odd = |source| ReadError::Unexpected { host: remote.name().to_owned(), source };
    let read: Result<Vec<_>, _> = found.iter().skip(1).map(|json| present::config(json.as_bytes()).map_err(odd)).collect();
    let read = read?;
    if read.len() != vms.len() {
        return Err(odd(Unexpected { what: "configurations", why: format!("{} of {}", read.len(), vms.len()) }));
    }
    Ok(read)
}

impl<'a> Fleet<'a> {
    /// Connects to every host of cluster.yaml. One that does not answer is an error: a machine may exist there already.
    pub fn connect(
        spec: &'a ClusterSpec,
        settings: &'a SshSettings,
        cancelled: &'a (dyn Fn() -> bool + Sync),
    ) -> Result<Self, SshError> {
        let hosts: Vec<&'a HostSpec> = spec.spec.substrate.iter().flat_map(|s| &s.hosts).collect();
        let remotes = parallel::try_each(HOSTS_AT_ONCE, &hosts, |_, host| Remote::open(host, settings, cancelled))?;
        Ok(Fleet { remotes })
    }

    /// A host by its name in cluster.yaml.
    pub fn remote(&self, host: &str) -> Option<&Remote<'a>> {
        self.remotes.iter().find(|r| r.name() == host)
    }

    /// Everything that a plan needs.
    pub fn read(&self, site: &str) -> Result<Present, ReadError> {
        let read = parallel::try_each(HOSTS_AT_ONCE, &self.remotes, |_, remote| read_host(remote))?;
        let mut present = Present::default();
        // Hosts of one cluster all list all machines of it.
        let mut seen = BTreeSet::new();
        for (state, vms) in read {
            present.hosts.push(state);
            present.vms.extend(vms.into_iter().filter(|vm| seen.insert((vm.vmid, vm.node.clone()))));
        }
        let mut ours: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, vm) in present.vms.iter().enumerate().filter(|(_, vm)| vm.is_of(site)) {
            ours.entry(vm.node.as_str()).or_default().push(at);
        }
        let groups: Vec<(&str, &[usize])> =
            ours.iter().flat_map(|(node, all)| all.chunks(CONFIGS_PER_LOGIN).map(|some| (*node, some))).collect();
        let read = parallel::try_each(HOSTS_AT_ONCE, &groups, |_, (node, some)| {
            let vms: Vec<(&str, u32)> = some.iter().map(|at| (*node, present.vms[*at].vmid)).collect();
            // Any host of the cluster answers for one that cluster.yaml does not name.
            let remote = self.remote(node).or(self.remotes.first());
            remote.map_or(Ok(Vec::new()), |r| configs(r, &vms))
        })?;
        let places: Vec<usize> = groups.iter().flat_map(|(_, some)| some.iter().copied()).collect();
        for (at, config) in places.into_iter().zip(read.into_iter().flatten()) {
            present.vms[at].config = config;
        }
        Ok(present)
    }
}

fn read_host(remote: &Remote<'_>) -> Result<(HostState, Vec<PresentVm>), ReadError> {
    let name = remote.name();
    let output = remote.script("reading the state", SURVEY, &[name], SURVEY_LIMIT)?;
    let found = answers(&output.text());
    let hostname = found.first().map_or("", String::as_str);
    if hostname.split('.').next() != Some(name) {
        return Err(ReadError::WrongHost { host: name.to_owned(), found: hostname.chars().take(64).collect() });
    }
    let odd = |source| ReadError::Unexpected { host: name.to_owned(), source };
    let [_, version, vms, status, storages, bridges, storage] = &found[..] else {
        return Err(odd(Unexpected { what: "state", why: format!("{} answers", found.len()) }));
    };
    let version = present::version(version.as_bytes()).map_err(odd)?;
    let vms = present::vms(vms.as_bytes()).map_err(odd)?;
    let (cpus, memory) = present::capacity(status.as_bytes()).map_err(odd)?;
    let storages = present::storages(storages.as_bytes()).map_err(odd)?;
    let bridges = present::bridges(bridges.as_bytes()).map_err(odd)?;
    let folder = present::import_folder(storage.as_bytes(), &storages).map_err(odd)?;
    let facts = HostFacts { version, cpus, memory, storages, bridges };
    let images = folder.unwrap_or_else(|| DEFAULT_IMAGES.into());
    Ok((HostState { name: name.to_owned(), facts: Some(facts), images }, vms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_separated() {
        assert_eq!(answers("pve1\n==\n{\"a\":\n1}\n\n==\n[]\n"), ["pve1", "{\"a\":1}", "[]"]);
        assert_eq!(answers(""), [""]);
    }
}
