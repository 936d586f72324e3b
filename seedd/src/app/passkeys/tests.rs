use serde_json::json;
use web::api::PasskeyApi as _;

use super::*;
use crate::app::{Seed, testing};

const NAME: &str = "seed.kubedos.lan";

fn from(n: usize) -> IpAddr {
    std::net::Ipv4Addr::from(u32::try_from(n).unwrap()).into()
}

#[test]
fn the_options_name_the_seed_ask_for_verification_and_differ() {
    let ceremonies = Ceremonies::new(NAME);
    let known = PasskeyRecord {
        id: "0".repeat(16),
        user: "ada".into(),
        name: "laptop".into(),
        credential: vec![5; 32],
        handle: vec![7; HANDLE],
        fixed: Vec::new(),
        changing: Vec::new(),
        transports: 0,
        created: 0,
        used: None,
    };
    let make = ceremonies.begin_registration("ada", [7; HANDLE], &[known]).unwrap();
    assert_eq!((make["rp"]["id"].as_str(), make["user"]["name"].as_str()), (Some(NAME), Some("ada")), "{make}");
    assert_eq!(make["authenticatorSelection"]["userVerification"], "required", "{make}");
    assert_eq!(make["excludeCredentials"].as_array().map(Vec::len), Some(1), "{make}");
    let (one, other) = (ceremonies.begin_login(from(1)).unwrap(), ceremonies.begin_login(from(1)).unwrap());
    assert_eq!((one["rpId"].as_str(), one["userVerification"].as_str()), (Some(NAME), Some("required")), "{one}");
    assert!(one["challenge"].as_str().is_some_and(|c| c.len() >= 20) && one["challenge"] != other["challenge"]);
}

#[test]
fn answers_that_are_none_are_refused() {
    let ceremonies = Ceremonies::new(NAME);
    ceremonies.begin_login(from(1)).unwrap();
    for answer in [json!({}), json!(null), json!({"id": "AA", "response": {"clientDataJSON": "e30"}}), json!("x".repeat(5_000))] {
        let login = ceremonies.finish_login(&answer, |_| Ok(None::<(PasskeyRecord, ())>));
        assert!(matches!(login.map(|_| ()), Err(ApiError::Forbidden { .. })), "{answer}");
        assert!(matches!(ceremonies.finish_registration("ada", &answer).map(|_| ()), Err(ApiError::Forbidden { .. })));
    }
}

#[test]
fn the_oldest_ceremony_gives_way_and_an_address_pushes_out_its_own() {
    let ceremonies = Ceremonies::new(NAME);
    ceremonies.begin_login(from(1)).unwrap();
    for _ in 0..MAX_BEGUN + 5 {
        ceremonies.begin_login(from(2)).unwrap();
    }
    let of = |n| hold(&ceremonies.logins).iter().filter(|(of, _)| *of == from(n)).count();
    assert_eq!((of(1), of(2)), (1, MAX_BEGUN_OF_ONE));
    for n in 0..MAX_BEGUN {
        ceremonies.begin_login(from(1_000 + n)).unwrap();
    }
    assert_eq!((of(1), hold(&ceremonies.logins).len()), (0, MAX_BEGUN));
}

/// A host can use any address of its /64: with another one for each, it would push out everybody else's.
#[test]
fn all_addresses_of_an_ipv6_host_share_its_ceremonies() {
    let dir = tempfile::tempdir().unwrap();
    let seed = Seed(std::sync::Arc::new(testing::app(camino::Utf8Path::from_path(dir.path()).unwrap())));
    for n in 0..40 {
        let from = std::net::Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, n);
        seed.begin_passkey_login(from.into()).unwrap();
    }
    seed.begin_passkey_login(std::net::Ipv6Addr::new(0xfd00, 0, 0, 2, 0, 0, 0, 1).into()).unwrap();
    assert_eq!(hold(&seed.0.passkeys.logins).len(), MAX_BEGUN_OF_ONE + 1);
}
