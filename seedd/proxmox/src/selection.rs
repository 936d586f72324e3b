//! Which nodes a run is about: all, some names, some roles. The old targets `proxmox-all`, `proxmox-cluster` and
//! `proxmox-k8s-ha` are selections.

use cluster_seed::inventory::NodeSpec;
use serde::{Deserialize, Serialize};

/// Roles that make a highly available Kubernetes, in the names of examples/cluster-16.yaml.
const K8S_HA: [&str; 4] = ["etcd", "load-balancer", "control-plane", "worker"];

/// Nodes to work on. Empty: all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Selection {
    names: Vec<String>,
    roles: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    #[error("cluster.yaml has no node {0:?}")]
    NoNode(String),
    #[error("no node in cluster.yaml has the role {0:?}")]
    NoRole(String),
    #[error("cluster.yaml has no nodes")]
    NoNodes,
}

impl SelectionError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            SelectionError::NoNode(_) => "write a name of spec.nodes, or role=ROLE",
            SelectionError::NoRole(_) => "roles of nodes are in spec.nodes of cluster.yaml",
            SelectionError::NoNodes => "add spec.nodes to cluster.yaml; examples/cluster-16.yaml is an example",
        }
    }
}

impl Selection {
    /// Reads words: the name of a node, `role=ROLE`, or one of the targets `proxmox-all` (every node), `proxmox-cluster` (every
    /// node, too) and `proxmox-k8s-ha` (the roles of Kubernetes). No words: every node.
    pub fn parse(words: &[String], nodes: &[NodeSpec]) -> Result<Self, SelectionError> {
        // Without nodes, a plan still has surplus machines.
        if nodes.is_empty() && !words.is_empty() {
            return Err(SelectionError::NoNodes);
        }
        let has_role = |role: &str| nodes.iter().any(|n| n.role.value == role);
        let mut found = Selection::default();
        let mut all = words.is_empty();
        for word in words {
            match word.as_str() {
                "all" | "proxmox-all" | "proxmox-cluster" => all = true,
                "proxmox-k8s-ha" => {
                    let roles: Vec<String> = K8S_HA.iter().filter(|r| has_role(r)).map(|r| (*r).to_owned()).collect();
                    if roles.is_empty() {
                        return Err(SelectionError::NoRole(K8S_HA.join(", ")));
                    }
                    found.roles.extend(roles);
                }
                word => match word.strip_prefix("role=") {
                    Some(role) if has_role(role) => found.roles.push(role.to_owned()),
                    Some(role) => return Err(SelectionError::NoRole(role.to_owned())),
                    None if nodes.iter().any(|n| n.name.value.as_str() == word) => found.names.push(word.to_owned()),
                    None => return Err(SelectionError::NoNode(word.to_owned())),
                },
            }
        }
        Ok(if all { Selection::default() } else { found })
    }

    pub fn is_all(&self) -> bool {
        self.names.is_empty() && self.roles.is_empty()
    }

    pub fn has(&self, name: &str, role: &str) -> bool {
        self.is_all() || self.names.iter().any(|n| n == name) || self.roles.iter().any(|r| r == role)
    }
}

#[cfg(test)]
mod tests {
    use cluster_seed::cluster::ClusterSpec;

    use super::*;

    fn selected(words: &[&str]) -> Result<Vec<String>, SelectionError> {
        let spec = ClusterSpec::parse(include_str!("../../../examples/cluster-16.yaml")).unwrap().spec;
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        let selection = Selection::parse(&words, &spec.nodes)?;
        let inside = spec.nodes.iter().filter(|n| selection.has(n.name.value.as_str(), &n.role.value));
        Ok(inside.map(|n| n.name.value.to_string()).collect())
    }

    #[test]
    fn names_roles_and_old_targets_select_nodes() {
        assert_eq!(selected(&[]).unwrap().len(), 16);
        for all in ["all", "proxmox-all", "proxmox-cluster"] {
            assert_eq!(selected(&[all]).unwrap().len(), 16, "{all}");
        }
        assert_eq!(selected(&["proxmox-k8s-ha"]).unwrap().len(), 12);
        assert_eq!(selected(&["role=etcd", "master"]).unwrap(), ["master", "etcd-1", "etcd-2", "etcd-3"]);
        assert_eq!(selected(&["master", "all"]).unwrap().len(), 16);
        assert_eq!(selected(&["etcd"]), Err(SelectionError::NoNode("etcd".to_owned())));
        assert_eq!(selected(&["role=etc"]), Err(SelectionError::NoRole("etc".to_owned())));
        assert_eq!(Selection::parse(&["master".to_owned()], &[]), Err(SelectionError::NoNodes));
        assert!(Selection::parse(&[], &[]).unwrap().is_all());
    }
}
