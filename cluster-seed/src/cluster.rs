//! ClusterSpec: the operator's `cluster.yaml`, parsed strictly and validated.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::arch::{self, Arch};
pub use crate::converge::role::RoleSpec;
use crate::converge::{CHECKS, platform, role};
pub use crate::darksite_spec::DarksiteSpec;
use crate::extras::ExtrasSpec;
use crate::ids::Hostname;
use crate::inventory::{self, Known, NodeSpec};
use crate::kubernetes::KubernetesSpec;
use crate::netboot::{DhcpSpec, NetbootSpec, NetworkSpec, Pool};
use crate::people::Approvals;
use crate::planes::{AllowSpec, Reasoned, allows, check_allows, check_hubs, check_planes};
pub use crate::planes::{CONTROL_PLANE, PlaneSpec};
pub use crate::policy::EnrollmentPolicy;
pub use crate::spec_error::SpecError;
pub(crate) use crate::spec_error::read;
use crate::spec_error::{at, whole};
use crate::substrate::{Misplaced, SubstrateSpec};
use crate::time::TimeSpec;
use crate::webhooks::{self, WebhookSpec};

/// Largest cluster.yaml read, in bytes.
pub const MAX_SPEC: usize = 1 << 20;
pub const API_VERSION: &str = "kubedos/v1alpha1";

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterSpec {
    pub api_version: String,
    pub kind: String,
    pub metadata: Metadata,
    pub spec: Spec,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Site name; a host name label.
    pub name: Hostname,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    pub networking: Networking,
    pub darksite: DarksiteSpec,
    pub roles: BTreeMap<String, RoleSpec>,
    #[serde(default)]
    pub enrollment: EnrollmentPolicy,
    #[serde(default)]
    pub ssh: SshSpec,
    #[serde(default)]
    pub time: TimeSpec,
    #[serde(default)]
    pub acceptance: Acceptance,
    #[serde(default)]
    pub netboot: NetbootSpec,
    #[serde(default)]
    pub extras: ExtrasSpec,
    /// What nodes run after the fabric gate.
    #[serde(default)]
    pub payload: PayloadSpec,
    /// The machines of the site, where they are planned.
    #[serde(default)]
    pub nodes: Vec<NodeSpec>,
    /// What they run on.
    #[serde(default)]
    pub substrate: Option<SubstrateSpec>,
    /// Receivers of events.
    #[serde(default)]
    pub webhooks: Vec<WebhookSpec>,
    /// Architectures of the nodes: images are built for each, and the snapshot has the packages of each.
    #[serde(default = "arch::only_amd64")]
    pub architectures: Vec<Arch>,
}

/// Where the operator's Ansible roles are.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PayloadSpec {
    /// Absolute path of the directory; without it, `payload` in the data directory.
    pub source: Option<Spanned<String>>,
}

/// Target of a drill, and what has to hold on a site that is accepted.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Acceptance {
    /// Time from the loss of a site to its first node at the second site, in minutes (1 to 10080).
    pub mttr_target_minutes: u32,
    /// Checks of `seedd accept`, from [`crate::converge::CHECKS`].
    pub required: Vec<Spanned<String>>,
}

impl Default for Acceptance {
    fn default() -> Self {
        Acceptance { mttr_target_minutes: 60, required: Vec::new() }
    }
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Networking {
    /// Domain of every node's name.
    pub domain: Hostname,
    pub underlay: Underlay,
    pub planes: BTreeMap<String, Spanned<PlaneSpec>>,
    /// What the planes with the policy `deny` carry.
    #[serde(default)]
    pub allows: Vec<AllowSpec>,
    /// Networks of Kubernetes; with defaults if a role has its plays.
    #[serde(default)]
    pub kubernetes: Option<KubernetesSpec>,
}

/// The segment that machines netboot on.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Underlay {
    pub subnet: Ipv4Net,
    /// The seed's own address there.
    pub seed: Spanned<Ipv4Addr>,
    pub pool: Spanned<Pool>,
    #[serde(default)]
    pub router: Option<Ipv4Addr>,
    /// Name servers for DHCP option 6; default: the seed's own address, since installers prompt without the option.
    #[serde(default)]
    pub dns: Vec<Ipv4Addr>,
    #[serde(default = "default_lease")]
    pub lease_seconds: u32,
    #[serde(default)]
    pub dhcp: DhcpSpec,
}

impl Underlay {
    /// The boot network, in the same form as the other networks.
    pub fn network(&self) -> NetworkSpec {
        let DhcpSpec { pools, reservations, mtu, options, .. } = &self.dhcp;
        NetworkSpec {
            subnet: self.subnet,
            pools: std::iter::once(self.pool.value).chain(pools.iter().copied()).collect(),
            router: self.router,
            dns: self.dns.clone(),
            lease_seconds: Some(self.lease_seconds),
            reservations: reservations.clone(),
            mtu: *mtu,
            options: options.clone(),
        }
    }
}

fn default_lease() -> u32 {
    3600
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SshSpec {
    /// Lines for root's authorized_keys on every node; there are no passwords.
    #[serde(default)]
    pub authorized_keys: Vec<String>,
}

impl ClusterSpec {
    /// How many people have to approve a machine of this role.
    pub fn approvals_of(&self, role: &str) -> Approvals {
        let of_all = self.spec.enrollment.approvals;
        self.spec.roles.get(role).map_or(of_all, |r| r.approvals.max(of_all))
    }

    /// Parses and checks. Unknown keys, wrong types and contradictions are errors.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        if text.len() > MAX_SPEC {
            return Err(whole(format!("the file has {} bytes, but at most {MAX_SPEC} are allowed", text.len()), ""));
        }
        let spec: ClusterSpec = read(text)?;
        spec.check()?;
        Ok(spec)
    }

    fn check(&self) -> Result<(), SpecError> {
        if self.api_version != API_VERSION {
            return Err(whole(format!("apiVersion is {:?}", self.api_version), &format!("write apiVersion: {API_VERSION}")));
        }
        if self.kind != "Cluster" {
            return Err(whole(format!("kind is {:?}", self.kind), "write kind: Cluster"));
        }
        if self.metadata.name.as_str().contains('.') {
            return Err(whole("metadata.name has a dot".to_owned(), "a site name is one label; the domain is networking.domain"));
        }
        self.check_underlay()?;
        self.check_planes()?;
        self.check_kubernetes()?;
        self.spec.extras.check().map_err(|(why, hint)| whole(why, hint))?;
        self.spec.time.check().map_err(|why| whole(why, "for example servers: [ntp.example.org, 10.0.0.9]"))?;
        if !(1..=10_080).contains(&self.spec.acceptance.mttr_target_minutes) {
            let found = self.spec.acceptance.mttr_target_minutes;
            return Err(whole(format!("acceptance.mttrTargetMinutes is {found}"), "1 to 10080 (a week)"));
        }
        arch::check(&self.spec.architectures).map_err(|(why, hint)| whole(why, hint))?;
        webhooks::check(&self.spec.webhooks)?;
        self.check_roles()?;
        self.check_converge()?;
        self.spec.enrollment.check(&self.spec.roles.keys().map(String::as_str).collect())?;
        self.check_inventory()
    }

    fn check_converge(&self) -> Result<(), SpecError> {
        if let Some(source) = self.spec.payload.source.as_ref().filter(|s| !s.value.starts_with('/')) {
            return Err(at(source, format!("payload.source {:?} is not an absolute path", source.value), ""));
        }
        let known = |name: &str| CHECKS.iter().any(|(check, _)| *check == name);
        if let Some(bad) = self.spec.acceptance.required.iter().find(|c| !known(&c.value)) {
            let all: Vec<&str> = CHECKS.iter().map(|(name, _)| *name).collect();
            return Err(at(bad, format!("acceptance.required: there is no check {:?}", bad.value), &all.join(", ")));
        }
        Ok(())
    }

    fn check_inventory(&self) -> Result<(), SpecError> {
        let Spec { nodes, substrate, roles, networking, .. } = &self.spec;
        let roles = roles.keys().map(String::as_str).collect();
        let known = Known { roles, subnet: networking.underlay.subnet, seed: networking.underlay.seed.value };
        inventory::check(nodes, substrate.as_ref(), &known).map_err(|Misplaced { line, column, message, hint }| SpecError {
            line,
            column,
            message,
            hint: (!hint.is_empty()).then_some(hint),
        })
    }

    pub(crate) fn check_underlay(&self) -> Result<(), SpecError> {
        let u = &self.spec.networking.underlay;
        let net = u.subnet;
        if !net.contains(&u.seed.value) || net.network() == u.seed.value || net.broadcast() == u.seed.value {
            return Err(at(&u.seed, format!("the seed's address {} is not a host of {net}", u.seed.value), ""));
        }
        let Pool { first, last } = u.pool.value;
        if first > last || !net.contains(&first) || !net.contains(&last) || net.network() == first || net.broadcast() == last {
            return Err(at(
                &u.pool,
                format!("the pool {first} to {last} is not within {net}"),
                "first <= last, both hosts of the subnet",
            ));
        }
        if (first..=last).contains(&u.seed.value) {
            return Err(at(
                &u.pool,
                format!("the pool holds the seed's own address {}", u.seed.value),
                "start the pool after it",
            ));
        }
        if u.lease_seconds < 120 {
            return Err(at(&u.pool, format!("leaseSeconds is {}, below 120", u.lease_seconds), "use, for example, 3600"));
        }
        u.dhcp.check(net).map_err(|why| at(&u.pool, why, "docs/netboot.md shows the dhcp section"))
    }

    fn check_planes(&self) -> Result<(), SpecError> {
        let Networking { planes, allows, underlay, .. } = &self.spec.networking;
        check_planes(planes, underlay.subnet)?;
        check_hubs(planes, &self.spec.roles, self.kubernetes().is_some())?;
        check_allows(allows, planes, &self.spec.roles)
    }

    fn check_kubernetes(&self) -> Result<(), SpecError> {
        let Some(kubernetes) = self.kubernetes() else { return Ok(()) };
        let n = &self.spec.networking;
        let names: Vec<(String, Ipv4Net)> = n.planes.iter().map(|(name, p)| (format!("plane {name}"), p.value.cidr)).collect();
        let others = names.iter().map(|(name, net)| (name.as_str(), *net)).chain([("the underlay", n.underlay.subnet)]);
        kubernetes.check(others).map_err(|(message, hint)| whole(message, hint))
    }

    /// The networks of Kubernetes, if the site has a role with its plays or names them.
    pub fn kubernetes(&self) -> Option<KubernetesSpec> {
        let s = &self.spec;
        let has = || s.roles.values().any(|r| r.plays.iter().any(|p| platform::is_kubernetes(&p.value)));
        s.networking.kubernetes.clone().or_else(|| has().then(KubernetesSpec::default))
    }

    /// Everything that the planes with the policy `deny` carry, by plane.
    pub fn allows(&self) -> BTreeMap<String, Vec<Reasoned>> {
        let Networking { planes, allows: specs, .. } = &self.spec.networking;
        allows(planes, specs, &self.spec.roles)
    }

    fn check_roles(&self) -> Result<(), SpecError> {
        let s = &self.spec;
        role::check(&s.roles)?;
        s.darksite.check()?;
        if let Some(bad) = s.ssh.authorized_keys.iter().find(|k| k.chars().any(char::is_control) || k.split(' ').count() < 2) {
            return Err(whole(
                format!("ssh.authorizedKeys: {:?} is not a public key line", bad.chars().take(40).collect::<String>()),
                "",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
