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
/// Configurations that are read at once.
const CONFIGS_AT_ONCE: usize = 8;
/// `pvesh` takes a second; a busy cluster file system takes longer.
pub(crate) const ASK: Duration = Duration::from_secs(120);

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Ssh(#[from] SshError),
    #[error("host {host}")]
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

/// `pvesh get PATH …`, as JSON.
pub(crate) fn get(remote: &Remote<'_>, path: &[&str]) -> Result<Vec<u8>, SshError> {
    let argv: Vec<&str> = ["pvesh", "get"].iter().chain(path).chain(&["--output-format", "json"]).copied().collect();
    Ok(remote.run(&argv, ASK)?.stdout)
}

/// The configuration of a machine as it runs now.
pub(crate) fn config(remote: &Remote<'_>, node: &str, vmid: u32) -> Result<BTreeMap<String, String>, ReadError> {
    let json = get(remote, &[&format!("/nodes/{node}/qemu/{vmid}/config"), "--current", "1"])?;
    present::config(&json).map_err(|source| ReadError::Unexpected { host: remote.name().to_owned(), source })
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
        let ours: Vec<(usize, &PresentVm)> = present.vms.iter().enumerate().filter(|(_, vm)| vm.is_of(site)).collect();
        let configs = parallel::try_each(CONFIGS_AT_ONCE, &ours, |_, (at, vm)| {
            // Any host of the cluster answers for the others.
            let remote = self.remote(&vm.node).or(self.remotes.first());
            remote.map_or(Ok((*at, BTreeMap::new())), |r| config(r, &vm.node, vm.vmid).map(|c| (*at, c)))
        })?;
        for (at, config) in configs {
            present.vms[at].config = config;
        }
        Ok(present)
    }
}

fn read_host(remote: &Remote<'_>) -> Result<(HostState, Vec<PresentVm>), ReadError> {
    let name = remote.name();
    let found = remote.run(&["hostname"], ASK)?.text();
    if found.split('.').next() != Some(name) {
        let found = found.chars().take(64).collect();
        return Err(ReadError::WrongHost { host: name.to_owned(), found });
    }
    let odd = |source| ReadError::Unexpected { host: name.to_owned(), source };
    let node = |rest: &str| format!("/nodes/{name}/{rest}");
    let version = present::version(&get(remote, &["/version"])?).map_err(odd)?;
    let vms = present::vms(&get(remote, &["/cluster/resources", "--type", "vm"])?).map_err(odd)?;
    let (cpus, memory) = present::capacity(&get(remote, &[&node("status")])?).map_err(odd)?;
    let storages = present::storages(&get(remote, &[&node("storage")])?).map_err(odd)?;
    let bridges = present::bridges(&get(remote, &[&node("network"), "--type", "any_bridge"])?).map_err(odd)?;
    let folder = present::import_folder(&get(remote, &["/storage"])?, &storages).map_err(odd)?;
    let facts = HostFacts { version, cpus, memory, storages, bridges };
    let images = folder.unwrap_or_else(|| DEFAULT_IMAGES.into());
    Ok((HostState { name: name.to_owned(), facts: Some(facts), images }, vms))
}
