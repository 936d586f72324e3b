//! What is wanted: a version of Kubernetes with a network of pods, and the images that follow.

use serde_json::Value;

use super::chart::{self, ChartError, cilium_values, lay_over};
use super::facts::Minor;
use super::have::Chart;
use super::reference::Reference;
use super::version::Version;

/// Cilium as the network of pods.
#[derive(Debug, Clone, PartialEq)]
pub struct Cilium {
    pub version: Version,
    /// `cilium_values` of cluster.yaml, over those of the play.
    pub values: Value,
    /// `cilium_helm`: path of the program helm among the extras' files.
    pub helm: String,
}

impl Cilium {
    pub fn new(version: Version) -> Self {
        Cilium { version, values: Value::Null, helm: "helm".to_owned() }
    }

    /// Values of the play with those of cluster.yaml.
    pub fn all_values(&self) -> Value {
        let mut all = cilium_values();
        if !self.values.is_null() {
            lay_over(&mut all, &self.values);
        }
        all
    }
}

/// What is to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    pub kubernetes: Version,
    /// Without it the CNI plugins of Debian connect pods, and kube-proxy serves services.
    pub cilium: Option<Cilium>,
    /// `kubernetes_images`: prefix of kubeadm's images instead of its own.
    pub registry: Option<String>,
    /// `kubernetes_proxy` and `kubernetes_coredns`.
    pub proxy: bool,
    pub coredns: bool,
}

impl Choice {
    pub fn new(kubernetes: Version) -> Self {
        Choice { kubernetes, cilium: None, registry: None, proxy: true, coredns: true }
    }
}

/// An image, and what asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub reference: Reference,
    pub why: String,
}

/// The image of a pod's sandbox that kubeadm names.
pub fn pause(choice: &Choice, facts: &Minor) -> Reference {
    Reference::tagged(&format!("{}/pause", prefix(choice, facts)), facts.pause_tag)
}

fn prefix<'a>(choice: &'a Choice, facts: &Minor) -> &'a str {
    choice.registry.as_deref().unwrap_or(facts.registry).trim_end_matches('/')
}

/// What `kubeadm config images list` prints, without etcd, which is Debian's, and without kube-proxy where Cilium replaces it.
pub fn of_kubeadm(choice: &Choice, facts: &Minor) -> Vec<Wanted> {
    let prefix = prefix(choice, facts);
    let why = format!("kubeadm {}", choice.kubernetes);
    let mut names = vec!["kube-apiserver", "kube-controller-manager", "kube-scheduler"];
    if choice.proxy && choice.cilium.is_none() {
        names.push("kube-proxy");
    }
    let tag = format!("v{}", choice.kubernetes);
    let mut all: Vec<Reference> = names.iter().map(|n| Reference::tagged(&format!("{prefix}/{n}"), &tag)).collect();
    if choice.coredns {
        // In a registry of one's own, kubeadm does not look into the folder (GetDNSImage in app/images/images.go).
        let path = if choice.registry.is_none() { facts.coredns } else { "coredns" };
        all.push(Reference::tagged(&format!("{prefix}/{path}"), facts.coredns_tag));
    }
    all.push(pause(choice, facts));
    all.into_iter().map(|reference| Wanted { reference, why: why.clone() }).collect()
}

/// The images of a chart.
pub fn of_chart(chart: &Chart, values: &Value) -> Result<Vec<Wanted>, ChartError> {
    let why = |path: &str| format!("{path} of chart {} {}", chart.name, chart.version);
    let named = chart::images(chart, values)?;
    Ok(named.into_iter().map(|n| Wanted { why: why(&n.path), reference: n.reference }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::facts::minor;

    fn list(choice: &Choice) -> Vec<String> {
        let facts = minor(&choice.kubernetes).unwrap();
        of_kubeadm(choice, facts).iter().map(|w| w.reference.to_string()).collect()
    }

    #[test]
    fn the_list_is_that_of_kubeadm_without_etcd() {
        // `kubeadm config images list` of 1.36.3, as minikube's table has it.
        let mut choice = Choice::new(Version::new(1, 36, 3));
        let mut wanted = vec![
            "registry.k8s.io/kube-apiserver:v1.36.3",
            "registry.k8s.io/kube-controller-manager:v1.36.3",
            "registry.k8s.io/kube-scheduler:v1.36.3",
            "registry.k8s.io/kube-proxy:v1.36.3",
            "registry.k8s.io/coredns/coredns:v1.14.2",
            "registry.k8s.io/pause:3.10.2",
        ];
        assert_eq!(list(&choice), wanted);
        choice.cilium = Some(Cilium::new(Version::new(1, 18, 5)));
        wanted.remove(3);
        assert_eq!(list(&choice), wanted);
        choice.coredns = false;
        wanted.remove(3);
        assert_eq!(list(&choice), wanted);
    }

    #[test]
    fn in_another_registry_coredns_has_no_folder() {
        let mut choice = Choice::new(Version::new(1, 35, 0));
        choice.registry = Some("r.example/k8s/".to_owned());
        choice.proxy = false;
        assert_eq!(list(&choice)[3..], ["r.example/k8s/coredns:v1.13.1", "r.example/k8s/pause:3.10.1"]);
        let fixture = Choice::new(Version::new(1, 20, 2));
        assert_eq!(list(&fixture)[4..], ["k8s.gcr.io/coredns:1.7.0", "k8s.gcr.io/pause:3.2"]);
    }
}
