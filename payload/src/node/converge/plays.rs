//! Which plays a payload has, in which form, and the playbook and inventory that Ansible runs them from.

use std::fmt::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::converge::payload::{ANSIBLE, SALT, is_play_name};
use cluster_seed::ids::Hostname;
use serde_json::{Value, json};

/// The variable by which the callback plugin knows the play's name: a playbook's plays have names of their own.
const NAME: &str = "kubedos_play";

/// A play of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `ansible/roles/<name>/`
    Role,
    /// `ansible/playbooks/<name>.yml`
    Playbook,
    /// `salt/<name>.sls` or `salt/<name>/init.sls`
    State,
}

/// Consecutive plays that one program runs: each start of one takes long.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'r> {
    Ansible(Vec<(&'r str, Kind)>),
    Salt(&'r str),
}

pub fn ansible_dir(payload: &Utf8Path) -> Utf8PathBuf {
    payload.join(ANSIBLE)
}

pub fn salt_dir(payload: &Utf8Path) -> Utf8PathBuf {
    payload.join(SALT)
}

/// The form of a play in the unpacked payload.
pub fn kind(payload: &Utf8Path, name: &str) -> Option<Kind> {
    let (ansible, salt) = (ansible_dir(payload), salt_dir(payload));
    match name {
        _ if !is_play_name(name) => None,
        _ if ansible.join("roles").join(name).is_dir() => Some(Kind::Role),
        _ if ansible.join(format!("playbooks/{name}.yml")).is_file() => Some(Kind::Playbook),
        _ if salt.join(format!("{name}.sls")).is_file() || salt.join(name).join("init.sls").is_file() => Some(Kind::State),
        _ => None,
    }
}

/// The plays in their order, in as few steps as possible.
///
/// # Errors
/// The name of a play that the payload does not have.
pub fn steps<'r>(payload: &Utf8Path, plays: &'r [String]) -> Result<Vec<Step<'r>>, &'r str> {
    let mut steps = Vec::new();
    for name in plays {
        match (kind(payload, name).ok_or(name.as_str())?, steps.last_mut()) {
            (Kind::State, _) => steps.push(Step::Salt(name)),
            (kind, Some(Step::Ansible(held))) => held.push((name, kind)),
            (kind, _) => steps.push(Step::Ansible(vec![(name, kind)])),
        }
    }
    Ok(steps)
}

/// `kubedos-site.yml`, in JSON, which is YAML.
pub fn site(plays: &[(&str, Kind)]) -> String {
    let entry = |(name, kind): &(&str, Kind)| match kind {
        Kind::Playbook => json!({ "import_playbook": format!("playbooks/{name}.yml"), "vars": { NAME: name } }),
        Kind::Role | Kind::State => json!({
            "name": name,
            "hosts": "all",
            "connection": "local",
            "gather_facts": false,
            "vars": { NAME: name },
            "roles": [name],
        }),
    };
    format!("{:#}\n", Value::Array(plays.iter().map(entry).collect()))
}

/// The inventory: this node, by its name, in the groups of its role and its plays. So `host_vars` and `group_vars` of the payload
/// apply, and a playbook may say `hosts: all`, `hosts: localhost`, or name the role.
pub fn inventory(name: &Hostname, role: &str, plays: &[String]) -> String {
    let mut text = format!("{name} ansible_connection=local\n");
    let mut groups: Vec<&str> = plays.iter().map(String::as_str).chain([role]).filter(|g| *g != name.as_str()).collect();
    groups.sort_unstable();
    groups.dedup();
    for group in groups {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n[{group}]\n{name}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn payload(files: &[&str]) -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        for file in files {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), "").unwrap();
        }
        (dir, root)
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn plays_keep_their_order_and_share_a_start_of_ansible() {
        let files = [
            "ansible/roles/etcd/tasks/main.yml",
            "ansible/playbooks/users.yml",
            "salt/motd.sls",
            "salt/base/init.sls",
            "ansible/roles/web_2/tasks/main.yml",
        ];
        let (_dir, root) = payload(&files);
        let plays = names(&["etcd", "users", "motd", "base", "web_2"]);
        let expected = [
            Step::Ansible(vec![("etcd", Kind::Role), ("users", Kind::Playbook)]),
            Step::Salt("motd"),
            Step::Salt("base"),
            Step::Ansible(vec![("web_2", Kind::Role)]),
        ];
        assert_eq!(steps(&root, &plays).unwrap(), expected);
        assert_eq!(steps(&root, &names(&["etcd", "other"])), Err("other"));
    }

    #[test]
    fn a_role_comes_before_a_playbook_and_a_state_of_its_name() {
        let (_dir, root) =
            payload(&["ansible/roles/a/x", "ansible/playbooks/a.yml", "salt/a.sls", "ansible/playbooks/b.yml", "salt/b.sls"]);
        assert_eq!((kind(&root, "a"), kind(&root, "b")), (Some(Kind::Role), Some(Kind::Playbook)));
    }

    #[test]
    fn a_name_is_no_path() {
        let (_dir, root) = payload(&["ansible/roles/a/x", "ansible/x.yml"]);
        for name in ["", ".", "..", "../roles/a", "a/", "/a", "-a", "_a", "a.b", "a b", "a\n", &"a".repeat(65)] {
            assert_eq!(kind(&root, name), None, "{name:?}");
            assert!(!is_play_name(name), "{name:?}");
        }
        assert!(is_play_name(&"a".repeat(64)) && is_play_name("A-b_9") && is_play_name("9"));
    }

    #[test]
    fn the_playbook_has_one_entry_per_play() {
        let text = site(&[("etcd", Kind::Role), ("users", Kind::Playbook)]);
        let site: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(site[0]["roles"], json!(["etcd"]));
        assert_eq!((&site[0]["gather_facts"], &site[0]["vars"]["kubedos_play"]), (&json!(false), &json!("etcd")));
        assert_eq!(
            (&site[1]["import_playbook"], &site[1]["vars"]["kubedos_play"]),
            (&json!("playbooks/users.yml"), &json!("users"))
        );
        assert_eq!(site.as_array().unwrap().len(), 2);
    }

    #[test]
    fn the_node_is_in_the_groups_of_its_role_and_plays() {
        let text = inventory(&"n1.lan".parse().unwrap(), "etcd", &names(&["etcd", "podman"]));
        assert_eq!(text, "n1.lan ansible_connection=local\n\n[etcd]\nn1.lan\n\n[podman]\nn1.lan\n");
        // Ansible takes no group with the name of a host.
        assert_eq!(inventory(&"n1".parse().unwrap(), "n1", &[]), "n1 ansible_connection=local\n");
    }
}
