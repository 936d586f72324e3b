//! The CA and the certificates of the pages, judged by rustls as a client would.

use std::time::Duration;

use cluster_seed::cluster::ClusterSpec;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{ServerName, UnixTime};

use super::ca::Permitted;
use super::*;
use crate::default_cluster_yaml;

const NOW: u64 = 1_795_377_600;

fn spec() -> ClusterSpec {
    ClusterSpec::parse(&default_cluster_yaml("site-a")).unwrap()
}

fn made() -> Ca {
    Ca::generate("site-a", Permitted::of(&spec(), Some("myhost"))).unwrap()
}

fn leaf(ca: Option<&Ca>, names: &[SanType]) -> CertificateDer<'static> {
    ca::certificate(ca, &KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(), names).unwrap()
}

fn trusted(root: &CertificateDer<'static>, leaf: &CertificateDer<'static>, name: &str, at: u64) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider())).build();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(at));
    verifier.unwrap().verify_server_cert(leaf, &[], &name, &[], at).is_ok()
}

#[test]
fn the_ca_speaks_for_the_site_at_any_time() {
    let ca = made();
    let names = host_names(Some(&spec()));
    let leaf = leaf(Some(&ca), &names);
    for name in ["localhost", "127.0.0.1", "seed.kubedos.lan", "10.44.0.1", "10.78.0.1", "10.80.0.1"] {
        assert!(trusted(ca.der(), &leaf, name, NOW), "{name}");
    }
    for name in ["kubedos.example", "10.44.0.2", "192.0.2.1"] {
        assert!(!trusted(ca.der(), &leaf, name, NOW), "{name}");
    }
    // A clock that was never set, one that ran away, and the last day of the certificates.
    for at in [0, 1, NOW, 4_070_908_800, 253_402_214_400] {
        assert!(trusted(ca.der(), &leaf, "localhost", at), "{at}");
    }
    assert!(!trusted(made().der(), &leaf, "localhost", NOW), "another site's CA");
}

#[test]
fn the_constraints_hold_against_the_holder_of_the_key() {
    let mut ca = made();
    let all = [dns_name("bank.example").unwrap(), dns_name("seed.kubedos.lan").unwrap(), ip_name([192, 0, 2, 1].into()).unwrap()];
    let honest = leaf(Some(&ca), &all);
    assert!(trusted(ca.der(), &honest, "seed.kubedos.lan", NOW), "what is not permitted is left out");
    assert!(!trusted(ca.der(), &honest, "bank.example", NOW));
    ca.permitted.domains.push("bank.example".to_owned());
    let greedy = leaf(Some(&ca), &all[..1]);
    assert!(!trusted(ca.der(), &greedy, "bank.example", NOW));
}

#[test]
fn permitted_names() {
    let permitted = Permitted::of(&spec(), Some("myhost"));
    for (name, ok) in [
        ("kubedos.lan", true),
        ("seed.kubedos.lan", true),
        ("a.b.kubedos.lan", true),
        ("notkubedos.lan", false),
        ("lan", false),
        ("myhost", true),
        ("localhost", true),
        ("otherhost", false),
    ] {
        assert_eq!(permitted.allows(&dns_name(name).unwrap()), ok, "{name}");
    }
    for (ip, ok) in [("10.1.2.3", true), ("8.8.8.8", false), ("::1", true), ("fd00::1", true), ("2001:db8::1", false)] {
        assert_eq!(permitted.allows(&ip_name(ip.parse().unwrap()).unwrap()), ok, "{ip}");
    }
    for bad in ["", "a b", "ä", "x\n", &"a".repeat(254)] {
        assert!(dns_name(bad).is_none(), "{bad:?}");
    }
    assert!(ip_name("fe80::1".parse().unwrap()).is_none() && ip_name("0.0.0.0".parse().unwrap()).is_none());
}

#[test]
fn one_key_per_run_and_one_fingerprint_per_certificate() {
    let names = host_names(None);
    let (tls, other) = (Tls::new(names.clone()).unwrap(), Tls::new(names.clone()).unwrap());
    let first = tls.fingerprint();
    assert_eq!((first.len(), first.matches(':').count()), (95, 31));
    assert_ne!(first, other.fingerprint());
    let ca = made();
    assert!(tls.certify(&ca, names.clone()).unwrap());
    let second = tls.fingerprint();
    assert_ne!(first, second);
    assert!(!tls.certify(&ca, names.clone()).unwrap(), "the same names need no other certificate");
    assert_eq!(second, tls.fingerprint());
    let more = [names, vec![dns_name("later.kubedos.lan").unwrap()]].concat();
    assert!(tls.certify(&ca, more).unwrap());
    assert_ne!(second, tls.fingerprint());
    assert!(!format!("{tls:?}").to_lowercase().contains("key"));
    tls.server_config().unwrap();
}

#[test]
fn without_tls_only_at_the_end_of_a_tunnel() {
    for (address, ok) in [
        ("127.0.0.1:8080", true),
        ("127.9.9.9:80", true),
        ("[::1]:80", true),
        ("[::ffff:127.0.0.1]:80", true),
        ("0.0.0.0:8080", false),
        ("10.44.0.1:8080", false),
        ("[::]:80", false),
    ] {
        assert_eq!(check_plain(address.parse().unwrap()).is_ok(), ok, "{address}");
    }
}

#[test]
fn a_site_that_was_taken_over_shows_its_own_ca_at_once() {
    let tls = Tls::new(host_names(Some(&spec()))).unwrap();
    let names = || host_names(Some(&spec()));
    let (own, other) = (made(), made());
    assert!(tls.certify(&own, names()).unwrap());
    assert!(!tls.certify(&own, names()).unwrap(), "the same again is no news");
    let before = tls.fingerprint();
    assert!(tls.certify(&other, names()).unwrap(), "the same names, signed by another CA");
    assert_ne!(tls.fingerprint(), before);
}

#[test]
fn while_sealed_the_certificate_is_the_same_at_every_start_and_speaks_for_one_name() {
    let dir = tempfile::tempdir().unwrap();
    let dir = camino::Utf8Path::from_path(dir.path()).unwrap();
    let (ca, other) = (made(), made());
    assert!(SealedIdentity::read(dir).unwrap().is_none());
    let first = SealedIdentity::ensure(dir, &ca, "kubedos.lan").unwrap();
    for _ in 0..2 {
        assert_eq!(SealedIdentity::read(dir).unwrap().unwrap().certificate, first.certificate);
        assert_eq!(SealedIdentity::ensure(dir, &ca, "kubedos.lan").unwrap().certificate, first.certificate);
    }
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(dir.join(sealed::FILE)).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(trusted(ca.der(), &first.certificate, "sealed.kubedos.lan", 0));
    for name in ["seed.kubedos.lan", "localhost", "10.44.0.1"] {
        assert!(!trusted(ca.der(), &first.certificate, name, NOW), "{name}");
    }
    assert_ne!(SealedIdentity::ensure(dir, &other, "kubedos.lan").unwrap().certificate, first.certificate, "another CA");

    let tls = Tls::new(host_names(Some(&spec()))).unwrap();
    let own = tls.fingerprint();
    tls.seal();
    assert_eq!((tls.fingerprint(), tls.sealed_fingerprint()), (own, None));
    tls.keep_sealed(&first).unwrap();
    tls.seal();
    assert_eq!(tls.fingerprint(), fingerprint(&first.certificate));
    assert!(tls.certify(&ca, host_names(Some(&spec()))).unwrap() && tls.is_certified());
    assert_ne!(tls.fingerprint(), fingerprint(&first.certificate));
    tls.seal();
    assert_eq!(Some(tls.fingerprint()), tls.sealed_fingerprint());
    assert!(!tls.is_certified());
}
