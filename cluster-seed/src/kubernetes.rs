//! Networks of Kubernetes: the addresses of pods and services, and which node has which part of them.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::ids::Hostname;

const DEFAULT_PODS: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16);
const DEFAULT_SERVICES: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16);
const DEFAULT_DOMAIN: &str = "cluster.local";
/// Prefix length of one node's range of pods: 254 addresses, more than the 110 pods that a kubelet takes.
pub const NODE_PREFIX: u8 = 24;
/// Shortest and longest prefix of the range of all pods: 65,536 nodes, and 2.
const PODS: std::ops::RangeInclusive<u8> = 8..=23;
/// Shortest and longest prefix of the range of services. An API server takes no more than 2^20 addresses (service-cluster-ip-range).
const SERVICES: std::ops::RangeInclusive<u8> = 12..=26;
/// Host number of the service `kubernetes`, and of the name server, as kubeadm has them.
const API: u32 = 1;
const DNS: u32 = 10;

/// `networking.kubernetes` of cluster.yaml.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KubernetesSpec {
    /// Addresses of pods. Node number N has the Nth /24 of them.
    pub pods: Ipv4Net,
    /// Addresses of services.
    pub services: Ipv4Net,
    /// Domain of the names of services.
    pub domain: String,
}

impl Default for KubernetesSpec {
    fn default() -> Self {
        KubernetesSpec { pods: DEFAULT_PODS, services: DEFAULT_SERVICES, domain: DEFAULT_DOMAIN.to_owned() }
    }
}

fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

impl KubernetesSpec {
    /// The range of the node with this host number; `None` if the range of all pods is too small for it.
    pub fn range(&self, host: u32) -> Option<Ipv4Net> {
        let count = 1u32 << NODE_PREFIX.saturating_sub(self.pods.prefix_len());
        let base = u32::from(self.pods.network());
        if host >= count {
            return None;
        }
        Ipv4Net::new(Ipv4Addr::from(base + (host << (32 - NODE_PREFIX))), NODE_PREFIX).ok()
    }

    /// Address of the service `kubernetes`.
    pub fn api(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.services.network()) + API)
    }

    /// Address of the name server of pods.
    pub fn dns(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.services.network()) + DNS)
    }

    /// Names of the service `kubernetes`.
    pub fn api_names(&self) -> Vec<String> {
        let with = |rest: &str| format!("kubernetes{rest}");
        vec![with(""), with(".default"), with(".default.svc"), format!("kubernetes.default.svc.{}", self.domain)]
    }

    /// The first contradiction, as message and hint. `others` are the networks of the site with their names.
    pub(crate) fn check<'a>(&self, others: impl Iterator<Item = (&'a str, Ipv4Net)>) -> Result<(), (String, &'static str)> {
        for (name, net, limits) in [("pods", self.pods, PODS), ("services", self.services, SERVICES)] {
            if net.addr() != net.network() {
                return Err((
                    format!("networking.kubernetes.{name}: {net} has host bits set"),
                    "write the address of the network",
                ));
            }
            if !limits.contains(&net.prefix_len()) {
                let message = format!("networking.kubernetes.{name}: {net} is not /{} to /{}", limits.start(), limits.end());
                return Err((message, "for example pods: 10.244.0.0/16, services: 10.96.0.0/16"));
            }
        }
        if self.domain.parse::<Hostname>().is_err() {
            let message = format!("networking.kubernetes.domain: {:?} is not a domain", self.domain);
            return Err((message, "for example cluster.local"));
        }
        if overlap(self.pods, self.services) {
            let message = format!("networking.kubernetes: pods ({}) and services ({}) overlap", self.pods, self.services);
            return Err((message, "choose separate ranges"));
        }
        for (other, net) in others {
            for (name, own) in [("pods", self.pods), ("services", self.services)] {
                if overlap(own, net) {
                    return Err((
                        format!("networking.kubernetes.{name} ({own}) overlaps {other} ({net})"),
                        "write networking.kubernetes with ranges that nothing else uses",
                    ));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(pods: &str, services: &str) -> KubernetesSpec {
        KubernetesSpec { pods: pods.parse().unwrap(), services: services.parse().unwrap(), ..KubernetesSpec::default() }
    }

    #[test]
    fn node_number_n_has_the_nth_range() {
        let spec = KubernetesSpec::default();
        assert_eq!(spec.range(2).unwrap().to_string(), "10.244.2.0/24");
        assert_eq!(spec.range(255).unwrap().to_string(), "10.244.255.0/24");
        assert_eq!(spec.range(256), None);
        let wide = self::spec("10.128.0.0/14", "10.96.0.0/16");
        assert_eq!(wide.range(256).unwrap().to_string(), "10.129.0.0/24");
        assert_eq!((wide.range(1023).unwrap().to_string().as_str(), wide.range(1024)), ("10.131.255.0/24", None));
    }

    #[test]
    fn services_have_kubeadms_addresses() {
        let spec = KubernetesSpec::default();
        assert_eq!((spec.api().to_string(), spec.dns().to_string()), ("10.96.0.1".into(), "10.96.0.10".into()));
        assert_eq!(spec.api_names().last().unwrap(), "kubernetes.default.svc.cluster.local");
    }

    #[test]
    fn ranges_are_separate_and_of_a_size_that_works() {
        let planes = || [("plane wg1", "10.78.0.0/16".parse().unwrap())].into_iter();
        assert_eq!(KubernetesSpec::default().check(planes()), Ok(()));
        for (pods, services, word) in [
            ("10.244.0.1/16", "10.96.0.0/16", "host bits"),
            ("10.244.0.0/24", "10.96.0.0/16", "not /8 to /23"),
            ("10.0.0.0/7", "192.168.0.0/16", "not /8 to /23"),
            ("10.244.0.0/16", "10.96.0.0/27", "not /12 to /26"),
            ("10.244.0.0/16", "10.0.0.0/11", "not /12 to /26"),
            ("10.244.0.0/16", "10.244.128.0/17", "overlap"),
            ("10.78.0.0/20", "10.96.0.0/16", "overlaps plane wg1"),
            ("10.244.0.0/16", "10.78.255.0/24", "overlaps plane wg1"),
        ] {
            let (message, _) = spec(pods, services).check(planes()).unwrap_err();
            assert!(message.contains(word), "{pods} {services}: {message}");
        }
        let named = KubernetesSpec { domain: "Cluster local".into(), ..KubernetesSpec::default() };
        assert!(named.check(planes()).unwrap_err().0.contains("not a domain"));
        for (pods, services) in [("10.0.0.0/8", "172.16.0.0/12"), ("10.244.0.0/23", "10.96.0.0/26")] {
            assert_eq!(spec(pods, services).check(std::iter::empty()), Ok(()), "{pods} {services}");
        }
    }
}
