use cluster_seed::converge::orders::{HeldBundle, SshHost};
use cluster_seed::secret::AgeKey;
use host::tool::Tool;
use site::store::Store;
use ssh_key::{Certificate, HashAlg};

use super::*;
use crate::pki::RENEW;

const NOW: u64 = 1_800_000_000;

fn names() -> Names {
    Names {
        name: "n1.lab.lan".into(),
        dns: vec!["n1.lab.lan".into()],
        addresses: vec![[10, 78, 0, 2].into(), [10, 79, 0, 2].into()],
        api: None,
    }
}

fn host(n: u8) -> String {
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&[n; 32]));
    key.public_key().to_openssh().unwrap()
}

fn site() -> (Store, AgeKey) {
    let (store, vault) = (Store::in_memory().unwrap(), AgeKey::generate());
    store.write(|tx| ensure(tx, "site-a", &vault.recipient())).unwrap();
    (store, vault)
}

fn issue(store: &Store, vault: &AgeKey, told: &SshHost, now: u64) -> Option<SshCertificate> {
    store.read(|tx| renew(tx, vault, &names(), &[], told, now)).unwrap()
}

#[test]
fn a_certificate_names_the_ipv6_addresses_too_and_is_renewed_when_there_are_others() {
    let (store, vault) = site();
    let first = issue(&store, &vault, &SshHost { key: host(1), held: None }, NOW).unwrap();
    let with = |text: &str, held| {
        let told = SshHost { key: host(1), held: Some(held) };
        store.read(|tx| renew(tx, &vault, &names(), &[text.parse().unwrap()], &told, NOW)).unwrap()
    };
    let made = with("fd00:78::2", first.held).expect("the plane got IPv6");
    let certificate = Certificate::from_openssh(&made.certificate).unwrap();
    assert_eq!(certificate.valid_principals(), ["n1.lab.lan", "n1", "10.78.0.2", "10.79.0.2", "fd00:78::2"]);
    assert!(with("fd00:78::2", made.held).is_none(), "one is enough");
    assert!(with("fd00:99::2", made.held).is_some(), "another range");
}

#[test]
fn a_certificate_names_the_node_and_is_of_this_authority() {
    let (store, vault) = site();
    let authority = store.read(authority).unwrap().unwrap();
    let made = issue(&store, &vault, &SshHost { key: host(1), held: None }, NOW).unwrap();
    let certificate = Certificate::from_openssh(&made.certificate).unwrap();
    assert_eq!(certificate.valid_principals(), ["n1.lab.lan", "n1", "10.78.0.2", "10.79.0.2"]);
    assert!(certificate.cert_type().is_host());
    let ca = PublicKey::from_openssh(&authority).unwrap().fingerprint(HashAlg::Sha256);
    for (at, valid) in [(1, true), (NOW, true), (NOW + LIFE - 1, true), (NOW + LIFE, false)] {
        assert_eq!(certificate.validate_at(at, [&ca]).is_ok(), valid, "{at}");
    }
    let other = PublicKey::from_openssh(&host(9)).unwrap().fingerprint(HashAlg::Sha256);
    assert!(certificate.validate_at(NOW, [&other]).is_err());
}

#[test]
fn a_certificate_is_made_once_until_it_is_old_or_says_something_else() {
    let (store, vault) = site();
    let first = issue(&store, &vault, &SshHost { key: host(1), held: None }, NOW).unwrap();
    let holds = |key, held| SshHost { key, held: Some(held) };
    for (told, now, renewed) in [
        (holds(host(1), first.held), NOW + RENEW - 1, false),
        (holds(host(1), first.held), NOW + RENEW, true),
        (holds(host(2), first.held), NOW + 1, true),
        (holds(host(1), HeldBundle { id: Digest([7; 32]), ..first.held }), NOW + 1, true),
    ] {
        assert_eq!(issue(&store, &vault, &told, now).is_some(), renewed, "{told:?} at {now}");
    }
    store.write(|tx| ensure(tx, "site-a", &vault.recipient())).unwrap();
    assert!(issue(&store, &vault, &holds(host(1), first.held), NOW).is_none(), "the authority is made once");
}

#[test]
fn nothing_is_certified_but_ed25519_keys_and_only_with_an_authority() {
    let (store, vault) = site();
    let rsa = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDN";
    for bad in ["", "nonsense", "ssh-ed25519", "ssh-ed25519 AAAA", rsa, &host(1)[..40]] {
        assert!(issue(&store, &vault, &SshHost { key: bad.to_owned(), held: None }, NOW).is_none(), "{bad}");
    }
    let empty = Store::in_memory().unwrap();
    assert_eq!(empty.read(authority).unwrap(), None);
    assert!(issue(&empty, &vault, &SshHost { key: host(1), held: None }, NOW).is_none());
}

#[test]
fn openssh_reads_the_certificate() {
    if Tool::new("ssh-keygen").args(["-Q", "cert-authority"]).run_any().is_err() {
        return kubedos_skip::skip("ssh-keygen", "OpenSSH reads the host certificate");
    }
    let (store, vault) = site();
    let made = issue(&store, &vault, &SshHost { key: host(1), held: None }, NOW).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("host-cert.pub");
    std::fs::write(&path, format!("{}\n", made.certificate)).unwrap();
    let said = Tool::new("ssh-keygen").arg("-L").arg("-f").arg(&path).env("TZ", "UTC").run().unwrap().text();
    for part in ["ssh-ed25519-cert-v01@openssh.com host certificate", "Key ID: \"n1.lab.lan\"", "10.78.0.2", "2028-01-"] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
}
