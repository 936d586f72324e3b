//! The plays that come with Kubedos. Each is an Ansible role made from Debian's packages (docs/platform/).

use serde::{Deserialize, Serialize};

/// A certificate authority of the site. Its key is in the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authority {
    /// Members and clients of etcd.
    Etcd,
    /// The Kubernetes API, its clients and kubelets.
    Kubernetes,
    /// Kubernetes' aggregation layer.
    FrontProxy,
    /// Every other service of the platform.
    Services,
}

impl Authority {
    pub const ALL: [Authority; 4] = [Authority::Etcd, Authority::Kubernetes, Authority::FrontProxy, Authority::Services];

    pub fn as_str(self) -> &'static str {
        match self {
            Authority::Etcd => "etcd",
            Authority::Kubernetes => "kubernetes",
            Authority::FrontProxy => "front-proxy",
            Authority::Services => "services",
        }
    }
}

/// What a certificate may be used for (RFC 5280, section 4.2.1.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    Client,
    /// TLS server and client.
    Both,
}

/// Whose certificate it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The node's, with its names, its addresses on every plane, and the virtual addresses.
    Node,
    /// The node's, with the names and the address of the service `kubernetes` in addition.
    Api,
    /// The kubelet of the node: `system:node:LABEL` of the group `system:nodes`.
    Kubelet,
    /// A user of the Kubernetes API or of etcd, without names of hosts: its name, and its group.
    User(&'static str, Option<&'static str>),
    /// What signs the tokens of service accounts: its key is the same on every node that has it.
    ServiceAccounts,
}

/// A certificate that a play needs on its node: `/etc/kubedos/pki/<authority>/<name>.pem` and `.key`, beside the authority's
/// `ca.pem`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certificate {
    pub authority: Authority,
    pub name: &'static str,
    pub usage: Usage,
    pub subject: Subject,
}

impl Certificate {
    /// For TLS between services of nodes.
    const fn node(authority: Authority, name: &'static str, usage: Usage) -> Self {
        Certificate { authority, name, usage, subject: Subject::Node }
    }

    /// For a client that is not a node.
    const fn user(authority: Authority, name: &'static str, user: &'static str, group: Option<&'static str>) -> Self {
        Certificate { authority, name, usage: Usage::Client, subject: Subject::User(user, group) }
    }
}

/// The play with Prometheus.
pub const MONITORING: &str = "monitoring";

/// A play of the platform.
#[derive(Debug)]
pub struct Play {
    pub name: &'static str,
    pub about: &'static str,
    /// Debian packages that it needs; they are part of the artifact of every role with the play.
    pub packages: &'static [&'static str],
    /// Units that Debian enables when a package is installed; the play starts them once they are configured.
    pub units: &'static [&'static str],
    pub certificates: &'static [Certificate],
    /// What Prometheus scrapes on the node's address of the metrics plane: job and TCP port; the path is [`metrics_path`].
    pub metrics: &'static [(&'static str, u16)],
    /// Variables with which cluster.yaml configures it, and what they mean.
    pub vars: &'static [(&'static str, &'static str)],
}

const ETCD_CLIENT: Certificate = Certificate::node(Authority::Etcd, "client", Usage::Client);
const SERVICE: Certificate = Certificate::node(Authority::Services, "node", Usage::Both);
const KUBELET_CLIENT: Certificate =
    Certificate { authority: Authority::Kubernetes, name: "kubelet-client", usage: Usage::Client, subject: Subject::Kubelet };
const KUBELET_SERVER: Certificate = Certificate::node(Authority::Kubernetes, "kubelet-server", Usage::Both);
const API_SERVER: Certificate =
    Certificate { authority: Authority::Kubernetes, name: "apiserver", usage: Usage::Both, subject: Subject::Api };
const SERVICE_ACCOUNTS: Certificate = Certificate {
    authority: Authority::Kubernetes,
    name: "service-accounts",
    usage: Usage::Client,
    subject: Subject::ServiceAccounts,
};

/// What kubeadm and kubelet call, beside the packages of the play `containers`. They themselves come from the extras.
const KUBERNETES_PACKAGES: &[&str] =
    &["iptables", "iproute2", "ethtool", "socat", "conntrack", "ebtables", "mount", "kmod", "iputils-ping"];

/// Plays that run another one first: its role is a dependency of theirs (`meta/main.yml`).
pub const INCLUDED: [(&str, &str); 2] = [("loadbalancer", "vip"), ("controlplane", "worker")];

/// Plays whose nodes have pods.
const KUBERNETES: [&str; 2] = ["controlplane", "worker"];

/// Whether the nodes with this play have pods.
pub fn is_kubernetes(play: &str) -> bool {
    KUBERNETES.contains(&play)
}

/// TCP port of the flow agent's metrics, on the metrics plane.
pub const FLOW_PORT: u16 = 9437;

/// Every play of the platform, in the order of the documentation.
pub static PLAYS: [Play; 13] = [
    Play {
        name: "etcd",
        about: "A member of the site's etcd cluster: TLS, on the kubernetes plane, with snapshots",
        packages: &["etcd-server", "etcd-client"],
        units: &["etcd.service"],
        certificates: &[
            Certificate::node(Authority::Etcd, "peer", Usage::Both),
            Certificate::node(Authority::Etcd, "server", Usage::Both),
            ETCD_CLIENT,
        ],
        metrics: &[("etcd", 2381)],
        vars: &[
            ("etcd_heartbeat_ms", "time between heartbeats of the leader, in milliseconds; default 250"),
            ("etcd_election_ms", "time without a heartbeat until an election, in milliseconds; default 2500"),
            ("etcd_quota_mib", "largest size of the database, in MiB; default 2048"),
            ("etcd_snapshots", "snapshots that are kept; default 12"),
        ],
    },
    Play {
        name: "vip",
        about: "Follows the virtual address of the load balancers: for every node that uses it",
        packages: &["wireguard-tools", "iputils-ping"],
        units: &[],
        certificates: &[],
        metrics: &[],
        vars: &[("lb_vip_wg3", "the only virtual address that is accepted; default any unused one of the kubernetes plane")],
    },
    Play {
        name: "loadbalancer",
        about: "HAProxy and keepalived: virtual addresses that move to a healthy node; includes vip",
        packages: &["haproxy", "keepalived"],
        units: &["haproxy.service", "keepalived.service"],
        certificates: &[ETCD_CLIENT, SERVICE],
        metrics: &[("haproxy", 8404)],
        vars: &[
            ("lb_vip_wg3", "virtual address on the kubernetes plane; required"),
            ("lb_vip_underlay", "virtual address on the boot network; default none"),
            ("lb_services", "list of services: name, port, group, targetPort, plane, check; default etcd and the Kubernetes API"),
            ("lb_check_interval", "time between two checks of a server, each with a TLS handshake; default 1s"),
            ("lb_router_id", "VRRP router number of the site's pair, 1 to 255; default 78"),
        ],
    },
    Play {
        name: "containers",
        about: "containerd, with the seed as its only registry",
        packages: &["containerd", "runc", "containernetworking-plugins"],
        units: &["containerd.service"],
        certificates: &[],
        metrics: &[("containerd", 1338)],
        vars: &[(
            "containers_sandbox_image",
            "image of the pod sandbox; default the one of kubeadm where it is installed, else registry.k8s.io/pause:3.10",
        )],
    },
    Play {
        name: "controlplane",
        about: "A node of the Kubernetes control plane: API server, controller manager and scheduler; includes worker",
        packages: KUBERNETES_PACKAGES,
        units: &[],
        certificates: &[
            KUBELET_CLIENT,
            KUBELET_SERVER,
            API_SERVER,
            SERVICE_ACCOUNTS,
            Certificate::user(Authority::Kubernetes, "apiserver-kubelet-client", "kube-apiserver-kubelet-client", None),
            Certificate::user(Authority::Kubernetes, "controller-manager", "system:kube-controller-manager", None),
            Certificate::user(Authority::Kubernetes, "scheduler", "system:kube-scheduler", None),
            Certificate::user(Authority::Kubernetes, "admin", "kubernetes-admin", Some("system:masters")),
            Certificate::user(Authority::FrontProxy, "front-proxy-client", "front-proxy-client", None),
            Certificate::user(Authority::Etcd, "apiserver-etcd-client", "kube-apiserver-etcd-client", None),
        ],
        metrics: &[],
        vars: &[
            ("kubernetes_schedule", "whether control planes run pods of users; default false"),
            (
                "kubernetes_lease",
                "seconds of silence after which the controllers and the scheduler of another control plane become active; default 15, at least 5",
            ),
            ("cilium_version", "version of Cilium's chart in the extras; required with cni cilium"),
            ("cilium_sha256", "sha256 of the chart's archive, as in the extras; required with cni cilium"),
            ("cilium_helm", "path of the program helm among the files of the extras; default helm"),
            ("cilium_helm_sha256", "sha256 of the program helm, as in the extras; required with cni cilium"),
            ("cilium_values", "values of Cilium's chart in addition to the play's; default none"),
        ],
    },
    Play {
        name: "worker",
        about: "A Kubernetes node: kubelet and the network of pods; packages and images come from the extras",
        packages: KUBERNETES_PACKAGES,
        units: &[],
        certificates: &[KUBELET_CLIENT, KUBELET_SERVER],
        metrics: &[],
        vars: &[
            ("kubernetes_version", "version that has to be installed; default any that the extras have"),
            ("kubernetes_cni", "network of pods: wireguard or cilium; default wireguard"),
            ("kubernetes_images", "prefix of kubeadm's images; default that of kubeadm"),
            ("kubernetes_proxy", "whether kubeadm's kube-proxy is installed, with cni wireguard; default true"),
            ("kubernetes_coredns", "whether kubeadm's CoreDNS is installed; default true"),
            ("kubernetes_wait", "time that the API may take to answer, in seconds; default 1200"),
            ("kubernetes_kubelet", "map of further fields of KubeletConfiguration; default none"),
        ],
    },
    Play {
        name: "podman",
        about: "Podman with quadlets, with the seed as its only registry",
        packages: &["podman", "crun", "netavark", "aardvark-dns", "nftables"],
        units: &[
            "podman.service",
            "podman.socket",
            "podman-auto-update.timer",
            "podman-auto-update.service",
            "podman-restart.service",
            "podman-clean-transient.service",
        ],
        certificates: &[],
        metrics: &[],
        vars: &[
            ("podman_quadlets", "map of file name to text of a quadlet file; default none"),
            (
                "podman_registries",
                "list of registries in addition to the usual ones and those of the extras' images; default none",
            ),
        ],
    },
    Play {
        name: "exporters",
        about: "Metrics of the node and its services for Prometheus, on the metrics plane only",
        packages: &["prometheus-node-exporter"],
        units: &[
            "prometheus-node-exporter.service",
            "prometheus-node-exporter-apt.timer",
            "prometheus-node-exporter-ipmitool-sensor.timer",
            "prometheus-node-exporter-mellanox-hca-temp.timer",
            "prometheus-node-exporter-nvme.timer",
            "prometheus-node-exporter-smartmon.timer",
        ],
        certificates: &[],
        metrics: &[("node", 9100)],
        vars: &[],
    },
    Play {
        name: "flow",
        about: "Counts what crosses the planes, by eBPF: flows, connections, drops, and services on the wrong plane",
        packages: &["bpftool", "libbpf-tools"],
        units: &[],
        certificates: &[],
        metrics: &[("flow", FLOW_PORT)],
        vars: &[
            ("flow_underlay", "interface of the boot network; default the one with the node's address there"),
            ("flow_allow", "map of plane to ports that it may carry besides the platform's, as [tcp/8080]; default none"),
            (
                "flow_ranges",
                "list of cidr, node and plane: addresses behind nodes besides those of pods, which the peer list has; default none",
            ),
        ],
    },
    Play {
        name: MONITORING,
        about: "Prometheus and Alertmanager on the metrics plane; targets come from the seed",
        packages: &["prometheus", "prometheus-alertmanager"],
        units: &["prometheus.service", "prometheus-alertmanager.service"],
        certificates: &[],
        metrics: &[("prometheus", 9090), ("alertmanager", 9093)],
        vars: &[
            ("monitoring_retention", "how long samples are kept; default 30d"),
            ("monitoring_interval", "time between two samples of a target; default 15s"),
            ("monitoring_webhook", "URL that Alertmanager sends alerts to; default none"),
        ],
    },
    Play {
        name: "logs",
        about: "Sends the journal to the nodes that collect logs, over the metrics plane",
        packages: &["systemd-journal-remote"],
        units: &["systemd-journal-upload.service", "systemd-journal-remote.socket", "systemd-journal-gatewayd.socket"],
        certificates: &[],
        metrics: &[],
        vars: &[],
    },
    Play {
        name: "log-collector",
        about: "Receives the journals of the other nodes on the metrics plane, with limits",
        packages: &["systemd-journal-remote"],
        units: &["systemd-journal-upload.service", "systemd-journal-remote.socket", "systemd-journal-gatewayd.socket"],
        certificates: &[],
        metrics: &[],
        vars: &[
            ("logs_max_mib", "disk space for collected journals, in MiB; default 4096"),
            ("logs_keep_free_mib", "disk space that stays free, in MiB; default 1024"),
        ],
    },
    Play {
        name: "storage",
        about: "A disk chosen by rule, exported by NFS on the kubernetes plane",
        packages: &["nfs-kernel-server", "e2fsprogs", "util-linux"],
        units: &["nfs-server.service", "nfs-kernel-server.service", "rpcbind.service", "rpcbind.socket", "rpc-statd.service"],
        certificates: &[],
        metrics: &[],
        vars: &[
            (
                "storage_disk",
                "rule for the disk: `empty` (the largest without partitions) or a path below /dev/disk/by-id; default none",
            ),
            ("storage_path", "directory that is exported; default /srv/kubedos"),
        ],
    },
];

/// HTTP path of a job's metrics.
pub fn metrics_path(job: &str) -> &'static str {
    // containerd has its metrics there in every version.
    if job == "containerd" { "/v1/metrics" } else { "/metrics" }
}

/// The play of this name.
pub fn play(name: &str) -> Option<&'static Play> {
    PLAYS.iter().find(|p| p.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::spec_error::is_package_name;

    #[test]
    fn names_are_distinct_and_packages_are_debians() {
        let names: BTreeSet<_> = PLAYS.iter().map(|p| p.name).collect();
        assert_eq!(names.len(), PLAYS.len());
        assert!(PLAYS.iter().flat_map(|p| p.packages).all(|p| is_package_name(p)));
        assert!(PLAYS.iter().flat_map(|p| p.units).all(|u| u.contains('.')));
        assert!(KUBERNETES.iter().all(|name| play(name).is_some()));
        assert!(play("etcd").is_some() && play("").is_none() && play("Etcd").is_none());
    }

    #[test]
    fn the_word_of_an_authority_is_its_file_name() {
        for authority in Authority::ALL {
            assert_eq!(serde_json::to_string(&authority).unwrap(), format!("\"{}\"", authority.as_str()));
        }
    }
}
