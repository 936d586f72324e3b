use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::*;
use crate::cluster::{ClusterSpec, read};

#[path = "../../../tests/shared/golden.rs"]
mod golden;

/// Every section once, each with its required keys only.
const SPARSE: &str = r#"
apiVersion: kubedos/v1alpha1
kind: Cluster
metadata: {name: site-a}
spec:
  networking:
    domain: kubedos.lan
    underlay:
      subnet: 10.44.0.0/24
      seed: 10.44.0.1
      pool: {first: 10.44.0.100, last: 10.44.0.199}
      dhcp:
        pools: [{first: 10.44.0.50, last: 10.44.0.60}]
        reservations: [{mac: "02:00:00:00:00:01", address: 10.44.0.5}]
        routes: [{to: 10.9.0.0/16, via: 10.44.0.254}]
        options: [{code: 252, number: 1}]
        relayed: [{subnet: 10.45.0.0/24}]
        interfaces: [{interface: eth1, seed: 10.46.0.1, network: {subnet: 10.46.0.0/24}}]
    planes: {wg1: {cidr: 10.78.0.0/16, port: 51821, policy: deny}}
    allows: [{plane: wg1, from: any, to: base, ports: [tcp/80]}]
    kubernetes: {}
  darksite: {suite: trixie}
  roles: {base: {count: {}}}
  enrollment: {rules: [{match: {}, role: base}], countersign: {key: "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"}, inventory: {url: "http://i.lan/", secretFile: /s}}
  ssh: {}
  time: {}
  acceptance: {}
  payload: {}
  netboot: {}
  extras:
    keys: {vendor: {url: /k, sha256: @}}
    files: [{path: a, url: /a, sha256: @}]
    images: [{name: r.example/a, tag: "1", url: /a, sha256: @}]
    charts: [{name: a, version: "1", url: /a, sha256: @}]
    repositories: {vendor: {url: /r, suite: /, key: vendor}}
    packages: [{repository: vendor, package: a, version: "1", sha256: @}]
    debs: [{url: /a, sha256: @}]
    lintAllow: [{sha256: @, why: a}]
  nodes: [{name: a, role: base, resources: {}, disks: [{sizeGiB: 8}], nics: [{}]}]
  substrate: {type: proxmox, hosts: [{name: pve1}]}
  webhooks: [{url: "http://hooks.lan/", secretFile: /s}]
"#;

fn sparse() -> Value {
    let text = SPARSE.replace('@', &format!("\"{}\"", "a".repeat(64)));
    ClusterSpec::parse(&text).unwrap();
    serde_json::from_str(&serde_json::to_string(&read::<Value>(&text).unwrap()).unwrap()).unwrap()
}

/// The mapping at a path of [`Section::at`]; what is missing on the way is added.
fn mapping<'a>(root: &'a mut Value, at: &str) -> &'a mut Map<String, Value> {
    let mut here = root;
    for step in at.split('.').filter(|s| !s.is_empty()) {
        let (name, list) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
        let map = here.as_object_mut().unwrap();
        here = match name {
            "<name>" => map.values_mut().next().unwrap(),
            _ => map.entry(name).or_insert(if list { json!([{}]) } else { json!({}) }),
        };
        if list {
            let entries = here.as_array_mut().unwrap();
            if entries.is_empty() {
                entries.push(json!({}));
            }
            here = &mut entries[0];
        }
    }
    here.as_object_mut().unwrap()
}

/// The keys that the parser accepts at a place, as it lists them when it meets an unknown one.
fn accepted(at: &str) -> Vec<String> {
    let mut root = sparse();
    mapping(&mut root, at).insert("aaUnknown".to_owned(), json!(1));
    let error = read::<ClusterSpec>(&root.to_string()).unwrap_err().message;
    let (_, list) = error.split_once("expected ").unwrap_or_else(|| panic!("{at}: {error}"));
    let list = list.trim_start_matches("one of ").split(" at line ").next().unwrap_or("");
    list.split([',', ' ']).map(|w| w.trim_matches('`').to_owned()).filter(|w| !w.is_empty() && w != "or").collect()
}

#[test]
fn the_list_and_the_parser_agree() {
    for section in KEYS {
        for at in section.at {
            let mut listed: Vec<&str> = section.keys.iter().map(|k| k.name).collect();
            let mut known = accepted(at);
            listed.sort_unstable();
            known.sort_unstable();
            assert_eq!(listed, known, "{at:?}");
        }
    }
}

/// Paths of all mappings below a value.
fn mappings(value: &Value, at: String, all: &mut BTreeMap<String, ()>) {
    const NAMED: [&str; 4] = ["spec.roles", "spec.networking.planes", "spec.extras.keys", "spec.extras.repositories"];
    match value {
        Value::Object(map) => {
            let named = NAMED.contains(&at.as_str());
            for (name, inner) in map {
                let name = if named { "<name>" } else { name };
                mappings(inner, if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }, all);
            }
            if !named {
                all.insert(at, ());
            }
        }
        Value::Array(list) => list.iter().for_each(|inner| mappings(inner, format!("{at}[]"), all)),
        _ => {}
    }
}

#[test]
fn no_section_is_missing() {
    let mut all = BTreeMap::new();
    mappings(&sparse(), String::new(), &mut all);
    let described: Vec<&str> = KEYS.iter().flat_map(|s| s.at.iter().copied()).collect();
    for at in all.keys() {
        assert!(described.contains(&at.as_str()), "{at} is in the example and not in the list");
    }
    // A key that is a section, a list of sections or a map of them has its own section somewhere.
    for section in KEYS {
        for key in section.keys.iter().filter(|k| ["section", "list", "map"].contains(&k.kind)) {
            let at = section.at[0];
            let path = if at.is_empty() { key.name.to_owned() } else { format!("{at}.{}", key.name) };
            let below = [path.clone(), format!("{path}[]"), format!("{path}.<name>")];
            assert!(below.iter().any(|b| described.contains(&b.as_str())), "{path} has no section");
        }
    }
}

#[test]
fn defaults_are_the_parsers() {
    let given = sparse();
    let mut parsed = serde_json::to_value(read::<ClusterSpec>(&given.to_string()).unwrap()).unwrap();
    let mut checked = 0;
    for section in KEYS.iter().filter(|s| !s.at[0].ends_with("signature")) {
        let written = mapping(&mut given.clone(), section.at[0]).clone();
        let full = mapping(&mut parsed, section.at[0]).clone();
        for key in section.keys {
            let at = format!("{}.{}", section.at[0], key.name);
            match (key.default, written.contains_key(key.name)) {
                (REQUIRED, there) => assert!(there, "{at} is not needed"),
                (NONE, _) | (_, true) => {}
                (default, false) => {
                    assert_eq!(full[key.name], read::<Value>(default).unwrap(), "{at}");
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 40, "only {checked} defaults compared");
}

#[test]
fn required_keys_are_required() {
    for section in KEYS {
        for key in section.keys.iter().filter(|k| k.default == REQUIRED) {
            let mut root = sparse();
            mapping(&mut root, section.at[0]).remove(key.name);
            assert!(read::<ClusterSpec>(&root.to_string()).is_err(), "{:?} without {}", section.at[0], key.name);
        }
    }
}

#[test]
fn the_reference_of_cluster_yaml_is_current() {
    golden::check("docs/cluster-yaml.md", &markdown());
}
