use cluster_seed::converge::platform::play;
use site::store::Store;

use super::*;

fn names() -> Names {
    Names {
        name: "e1.kubedos.lan".into(),
        dns: vec!["e1.kubedos.lan".into(), "localhost".into()],
        addresses: vec!["10.80.0.2".parse().unwrap()],
        api: None,
    }
}

#[test]
fn authorities_are_made_once_and_open_with_the_vault_only() {
    let (store, vault) = (Store::in_memory().unwrap(), AgeKey::generate());
    let made = || {
        store.write(|tx| ensure(tx, "a", &vault.recipient()).map(|()| certificates(tx).unwrap())).map_err(|e: anyhow::Error| e)
    };
    let (first, again) = (made().unwrap(), made().unwrap());
    assert_eq!((first.len(), &first), (4, &again));
    let distinct: std::collections::BTreeSet<_> = first.values().collect();
    assert_eq!(distinct.len(), 4, "one authority is not another's");
    let open = |key: &AgeKey| store.read(|tx| Authorities::open(tx, key).map(drop));
    assert!(open(&vault).is_ok() && open(&AgeKey::generate()).is_err());
}

#[test]
fn a_bundle_has_what_the_play_needs_and_openssl_accepts_it() {
    let (store, vault) = (Store::in_memory().unwrap(), AgeKey::generate());
    store.write(|tx| ensure(tx, "a", &vault.recipient())).unwrap();
    let wanted = play("etcd").unwrap().certificates;
    let bundle = store.read(|tx| Authorities::open(tx, &vault)?.issue(wanted, &names(), 1_800_000_000)).unwrap();
    assert_eq!(bundle.leaves.len(), 3);
    assert_eq!(bundle.authorities.keys().copied().collect::<Vec<_>>(), [Authority::Etcd]);
    assert_eq!(bundle.id, store.read(|tx| Ok::<_, StoreError>(bundle_id(&certificates(tx)?, wanted, &names()))).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("ca.pem"), &bundle.authorities[&Authority::Etcd]).unwrap();
    std::fs::write(path("leaf.pem"), &bundle.leaves[0].certificate).unwrap();
    let verify = |at: &str| {
        let args = [
            "verify",
            "-attime",
            at,
            "-verify_ip",
            "10.80.0.2",
            "-purpose",
            "sslserver",
            "-CAfile",
            &path("ca.pem"),
            &path("leaf.pem"),
        ];
        host::tool::Tool::new("openssl").args(args).run()
    };
    if let Err(host::tool::ToolError::Start { .. }) = verify("0") {
        return kubedos_skip::skip("openssl", "is not installed");
    }
    // From 1970 on, for a clock that is behind; not after a year.
    verify("100").unwrap();
    verify("1800000000").unwrap();
    assert!(verify(&(1_800_000_000 + LIFE + 2 * 86_400).to_string()).is_err());
}

#[test]
fn another_name_needs_another_bundle_and_age_is_told() {
    let (wanted, pems) = (play("etcd").unwrap().certificates, BTreeMap::from([(Authority::Etcd, "x".to_owned())]));
    let other = Names { addresses: vec![], ..names() };
    assert_ne!(bundle_id(&pems, wanted, &names()), bundle_id(&pems, wanted, &other));
    assert_ne!(bundle_id(&pems, wanted, &names()), bundle_id(&pems, &wanted[..1], &names()));
    let unrelated = BTreeMap::from([(Authority::Etcd, "x".to_owned()), (Authority::Kubernetes, "y".to_owned())]);
    assert_eq!(bundle_id(&pems, wanted, &names()), bundle_id(&unrelated, wanted, &names()));
    assert!(!is_old(1_000, 1_000 + RENEW - 1) && is_old(1_000, 1_000 + RENEW));
    assert!(!is_old(1_000, 1_000 - 500) && is_old(2 * AHEAD, AHEAD - 1));
}

/// Issues the certificates of a play into a directory, as files `NAME.pem` and `NAME.key`.
fn issued(play_name: &str, store: &Store, vault: &AgeKey, names: &Names) -> tempfile::TempDir {
    let wanted = play(play_name).unwrap().certificates;
    let bundle = store.read(|tx| Authorities::open(tx, vault)?.issue(wanted, names, 1_800_000_000)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (authority, text) in &bundle.authorities {
        std::fs::write(dir.path().join(format!("{}-ca.pem", authority.as_str())), text).unwrap();
    }
    for leaf in &bundle.leaves {
        std::fs::write(dir.path().join(format!("{}.pem", leaf.name)), &leaf.certificate).unwrap();
        std::fs::write(dir.path().join(format!("{}.key", leaf.name)), &leaf.key).unwrap();
    }
    dir
}

fn text_of(dir: &tempfile::TempDir, name: &str) -> Option<String> {
    let path = dir.path().join(name).to_str().unwrap().to_owned();
    let args = ["x509", "-noout", "-subject", "-nameopt", "RFC2253", "-ext", "subjectAltName,extendedKeyUsage", "-in", &path];
    match host::tool::Tool::new("openssl").args(args).run() {
        Err(host::tool::ToolError::Start { .. }) => {
            kubedos_skip::skip("openssl", "is not installed");
            None
        }
        done => Some(done.unwrap().text()),
    }
}

#[test]
fn a_control_plane_gets_what_kubernetes_knows_its_parts_by() {
    let (store, vault) = (Store::in_memory().unwrap(), AgeKey::generate());
    store.write(|tx| ensure(tx, "a", &vault.recipient())).unwrap();
    let api = (vec!["kubernetes".to_owned(), "kubernetes.default.svc.cluster.local".to_owned()], "10.96.0.1".parse().unwrap());
    let dir = issued("controlplane", &store, &vault, &Names { api: Some(api), ..names() });
    for (name, subject) in [
        ("kubelet-client", "subject=O=system:nodes,CN=system:node:e1"),
        ("controller-manager", "subject=CN=system:kube-controller-manager"),
        ("scheduler", "subject=CN=system:kube-scheduler"),
        ("admin", "subject=O=system:masters,CN=kubernetes-admin"),
        ("apiserver-kubelet-client", "subject=CN=kube-apiserver-kubelet-client"),
        ("front-proxy-client", "subject=CN=front-proxy-client"),
        ("apiserver-etcd-client", "subject=CN=kube-apiserver-etcd-client"),
    ] {
        let Some(text) = text_of(&dir, &format!("{name}.pem")) else { return };
        assert!(text.contains(subject) && !text.contains("Alternative Name"), "{name}: {text}");
        assert!(text.contains("Client Authentication") && !text.contains("Server Authentication"), "{name}: {text}");
    }
    let Some(server) = text_of(&dir, "apiserver.pem") else { return };
    for wanted in ["DNS:kubernetes.default.svc.cluster.local", "IP Address:10.96.0.1", "IP Address:10.80.0.2", "Server Auth"] {
        assert!(server.contains(wanted), "{wanted}: {server}");
    }
    let Some(kubelet) = text_of(&dir, "kubelet-server.pem") else { return };
    assert!(kubelet.contains("IP Address:10.80.0.2") && !kubelet.contains("10.96.0.1"), "{kubelet}");
}

#[test]
fn control_planes_share_the_key_of_service_accounts_and_workers_do_not_get_it() {
    let (store, vault) = (Store::in_memory().unwrap(), AgeKey::generate());
    store.write(|tx| ensure(tx, "a", &vault.recipient())).unwrap();
    let read = |dir: &tempfile::TempDir, name: &str| std::fs::read_to_string(dir.path().join(name)).ok();
    let first = issued("controlplane", &store, &vault, &names());
    let second = issued("controlplane", &store, &vault, &Names { name: "e2.kubedos.lan".into(), ..names() });
    let worker = issued("worker", &store, &vault, &names());
    let key = read(&first, "service-accounts.key");
    assert!(key.is_some() && key == read(&second, "service-accounts.key"));
    for own in ["apiserver.key", "kubelet-client.key", "admin.key"] {
        assert_ne!(read(&first, own), read(&second, own), "{own}");
    }
    for kept in ["service-accounts.key", "admin.key", "apiserver.key", "etcd-ca.pem"] {
        assert_eq!(read(&worker, kept), None, "{kept}");
    }
    assert!(read(&worker, "kubelet-client.key").is_some());
    // The key outlives a renewal: tokens that were issued before stay valid.
    let again = issued("controlplane", &store, &vault, &names());
    assert_eq!(key, read(&again, "service-accounts.key"));
}

#[test]
fn the_id_of_a_bundle_follows_subjects_and_the_services_of_the_api() {
    let pems = BTreeMap::from([(Authority::Kubernetes, "x".to_owned())]);
    let wanted = play("controlplane").unwrap().certificates;
    let api = |last| Names { api: Some((vec![], [10, 96, 0, last].into())), ..names() };
    assert_ne!(bundle_id(&pems, wanted, &api(1)), bundle_id(&pems, wanted, &api(2)));
    let node = Certificate { subject: Subject::Node, ..wanted[0] };
    assert_ne!(bundle_id(&pems, &wanted[..1], &names()), bundle_id(&pems, &[node], &names()));
}

#[test]
fn a_bundle_of_certificates_of_nodes_keeps_the_id_of_earlier_versions() {
    let pems = BTreeMap::from([(Authority::Etcd, "x".to_owned())]);
    let names = r#"{"name":"e1.kubedos.lan","dns":["e1.kubedos.lan","localhost"],"addresses":["10.80.0.2"]}"#;
    let wanted = r#"[["etcd","peer",true],["etcd","server",true],["etcd","client",false]]"#;
    let text = format!(r#"[{{"etcd":"x"}},{wanted},{names}]"#);
    assert_eq!(bundle_id(&pems, play("etcd").unwrap().certificates, &self::names()), Digest::of(text.as_bytes()));
}
