//! The plays of the platform (`cluster_seed::converge::platform`): the files that are in every payload archive, beside the
//! operator's. Each play is an Ansible role of one task (docs/platform/).

macro_rules! files {
    ($($path:literal)*) => {
        &[$(($path, include_bytes!(concat!("../platform/", $path)))),*]
    };
}

/// Path below the archive's root, and content; sorted by path.
pub static FILES: &[(&str, &[u8])] = files![
    "ansible/library/kubedos_service.py"
    "ansible/playbooks/00_fabric_gate.yml"
    "ansible/roles/containers/defaults/main.yml"
    "ansible/roles/containers/files/check"
    "ansible/roles/containers/tasks/main.yml"
    "ansible/roles/containers/templates/config.toml.j2"
    "ansible/roles/containers/templates/hosts.toml.j2"
    "ansible/roles/controlplane/defaults/main.yml"
    "ansible/roles/controlplane/files/check"
    "ansible/roles/controlplane/meta/main.yml"
    "ansible/roles/controlplane/tasks/main.yml"
    "ansible/roles/etcd/defaults/main.yml"
    "ansible/roles/etcd/files/check"
    "ansible/roles/etcd/files/defrag.service"
    "ansible/roles/etcd/files/etcd.conf"
    "ansible/roles/etcd/files/kubedos-etcd"
    "ansible/roles/etcd/files/kubedos-etcd-restore"
    "ansible/roles/etcd/files/snapshot.service"
    "ansible/roles/etcd/files/snapshot.timer"
    "ansible/roles/etcd/tasks/main.yml"
    "ansible/roles/etcd/templates/defrag.timer.j2"
    "ansible/roles/exporters/defaults/main.yml"
    "ansible/roles/exporters/files/check"
    "ansible/roles/exporters/files/facts"
    "ansible/roles/exporters/files/facts.service"
    "ansible/roles/exporters/files/facts.timer"
    "ansible/roles/exporters/tasks/main.yml"
    "ansible/roles/flow/defaults/main.yml"
    "ansible/roles/flow/files/check"
    "ansible/roles/flow/files/kubedos-flow.service"
    "ansible/roles/flow/tasks/main.yml"
    "ansible/roles/loadbalancer/defaults/main.yml"
    "ansible/roles/loadbalancer/files/check"
    "ansible/roles/loadbalancer/files/haproxy-alive"
    "ansible/roles/loadbalancer/files/vip-notify"
    "ansible/roles/loadbalancer/meta/main.yml"
    "ansible/roles/loadbalancer/tasks/main.yml"
    "ansible/roles/loadbalancer/templates/firewall.nft.j2"
    "ansible/roles/loadbalancer/templates/haproxy.cfg.j2"
    "ansible/roles/loadbalancer/templates/keepalived.conf.j2"
    "ansible/roles/loadbalancer/templates/services.j2"
    "ansible/roles/log-collector/defaults/main.yml"
    "ansible/roles/log-collector/files/check"
    "ansible/roles/log-collector/tasks/main.yml"
    "ansible/roles/logs/defaults/main.yml"
    "ansible/roles/logs/files/check"
    "ansible/roles/logs/tasks/main.yml"
    "ansible/roles/monitoring/defaults/main.yml"
    "ansible/roles/monitoring/files/check"
    "ansible/roles/monitoring/files/rules.yml"
    "ansible/roles/monitoring/tasks/main.yml"
    "ansible/roles/monitoring/templates/alertmanager.env.j2"
    "ansible/roles/monitoring/templates/alertmanager.yml.j2"
    "ansible/roles/monitoring/templates/prometheus.yml.j2"
    "ansible/roles/podman/defaults/main.yml"
    "ansible/roles/podman/files/check"
    "ansible/roles/podman/files/podman.nft"
    "ansible/roles/podman/tasks/main.yml"
    "ansible/roles/podman/templates/registries.conf.j2"
    "ansible/roles/storage/defaults/main.yml"
    "ansible/roles/storage/files/check"
    "ansible/roles/storage/files/kubedos-storage"
    "ansible/roles/storage/tasks/main.yml"
    "ansible/roles/vip/defaults/main.yml"
    "ansible/roles/vip/files/check"
    "ansible/roles/vip/files/kubedos-vip"
    "ansible/roles/vip/files/kubedos-vip.service"
    "ansible/roles/vip/tasks/main.yml"
    "ansible/roles/worker/defaults/main.yml"
    "ansible/roles/worker/files/check"
    "ansible/roles/worker/files/kube/cluster.py"
    "ansible/roles/worker/files/kube/network.py"
    "ansible/roles/worker/files/kube/node.py"
    "ansible/roles/worker/files/kube/preflight.py"
    "ansible/roles/worker/files/kube/render.py"
    "ansible/roles/worker/files/kubedos-kube"
    "ansible/roles/worker/tasks/main.yml"
    "ansible/roles/worker/templates/settings.j2"
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use cluster_seed::converge::payload::is_safe_path;
    use cluster_seed::converge::platform::PLAYS;

    use super::*;

    fn walk(dir: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true if path.ends_with("__pycache__") => {}
                true => walk(&path, found),
                false => assert!(found.insert(path.to_str().unwrap().to_owned())),
            }
        }
    }

    #[test]
    fn the_list_is_the_folder() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/platform/");
        let mut found = BTreeSet::new();
        walk(Path::new(root), &mut found);
        let listed: Vec<String> = FILES.iter().map(|(path, _)| format!("{root}{path}")).collect();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), listed);
        assert!(FILES.iter().all(|(path, bytes)| is_safe_path(path) && !bytes.is_empty()));
    }

    #[test]
    fn every_play_of_the_table_has_tasks_a_check_and_its_variables() {
        let text = |path: &str| {
            let file = FILES.iter().find(|(p, _)| *p == path);
            String::from_utf8(file.unwrap_or_else(|| panic!("{path} is missing")).1.to_vec()).unwrap()
        };
        for play in &PLAYS {
            let role = format!("ansible/roles/{}", play.name);
            let (tasks, check) = (text(&format!("{role}/tasks/main.yml")), text(&format!("{role}/files/check")));
            assert!(check.starts_with("#!/bin/sh\n") || check.starts_with("#!/usr/bin/python3\n"), "{}: {check}", play.name);
            let defaults = text(&format!("{role}/defaults/main.yml"));
            let set: BTreeSet<&str> = defaults.lines().filter_map(|l| l.split_once(':')).map(|(name, _)| name).collect();
            let set: BTreeSet<&str> = set.into_iter().filter(|n| !n.starts_with([' ', '#'])).collect();
            // A required variable has no default.
            let known: BTreeSet<&str> = play.vars.iter().filter(|(_, about)| !about.contains("required")).map(|v| v.0).collect();
            assert_eq!(set, known, "{}: defaults and the table of plays", play.name);
            assert!(tasks.contains("kubedos_service:"), "{}", play.name);
        }
        let roles: BTreeSet<&str> =
            FILES.iter().filter_map(|(p, _)| p.strip_prefix("ansible/roles/")?.split('/').next()).collect();
        assert_eq!(roles, PLAYS.iter().map(|p| p.name).collect());
    }
}
