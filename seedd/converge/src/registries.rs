//! Podman needs the name of each registry whose images the seed has; containerd asks the seed for any.

use std::collections::{BTreeMap, BTreeSet};

use cluster_seed::converge::role::Resolved;
use cluster_seed::extras::ExtrasSpec;
use serde_json::Value;

const PLAY: &str = "podman";
const VARIABLE: &str = "podman_registries";

/// Adds the registries of the images among the extras to the variable of every role with the play `podman`. A list of the
/// operator's stays at its front; what is no list is left to the play, which refuses it.
pub fn add(roles: &mut BTreeMap<String, Resolved>, extras: &ExtrasSpec) {
    let names: BTreeSet<&str> = extras.images.iter().filter_map(|i| registry(&i.name)).collect();
    if names.is_empty() {
        return;
    }
    for role in roles.values_mut().filter(|r| r.plays.iter().any(|p| p == PLAY)) {
        let value = role.vars.entry(VARIABLE.to_owned()).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = value {
            let new: Vec<Value> = names.iter().map(|n| Value::from(*n)).filter(|n| !list.contains(n)).collect();
            list.extend(new);
        }
    }
}

/// The first part of an image's name, if it is a registry: it has a dot or a port
/// (github.com/distribution/reference, `splitDockerDomain`).
fn registry(name: &str) -> Option<&str> {
    let (first, _) = name.split_once('/')?;
    (first.contains(['.', ':']) || first == "localhost").then_some(first)
}

#[cfg(test)]
mod tests {
    use cluster_seed::converge::role::resolve_all;
    use serde_json::json;

    use super::*;

    fn added(vars: &Value, images: &[&str]) -> BTreeMap<String, Resolved> {
        let roles = json!({"runs": {"plays": ["podman"], "vars": vars}, "other": {"plays": ["logs"]}});
        let mut roles = resolve_all(&serde_json::from_value(roles).unwrap());
        let digest = "0".repeat(64);
        let images: Vec<Value> = images.iter().map(|n| json!({"name": n, "tag": "1", "url": "/x", "sha256": digest})).collect();
        add(&mut roles, &serde_json::from_value(json!({"images": images})).unwrap());
        roles
    }

    #[test]
    fn podman_finds_the_registry_of_every_image_of_the_extras() {
        let roles =
            added(&json!({"podman_registries": ["own.example"]}), &["r.example/team/a", "r.example/b", "own.example/c", "plain"]);
        assert_eq!(roles["runs"].vars[VARIABLE], json!(["own.example", "r.example"]));
        assert!(!roles["other"].vars.contains_key(VARIABLE));
    }

    #[test]
    fn a_site_without_images_keeps_its_variables() {
        assert!(added(&json!({}), &[])["runs"].vars.is_empty());
        assert_eq!(added(&json!({"podman_registries": "own"}), &["r.example/a"])["runs"].vars[VARIABLE], json!("own"));
    }
}
