use super::*;

#[test]
fn fingerprints_are_read_as_programs_print_them() {
    let hex = "5d0a".repeat(16);
    let pairs = shown(&hex);
    assert!(pairs.starts_with("5D:0A:5D") && pairs.len() == 95);
    for typed in [
        hex.clone(),
        hex.to_uppercase(),
        pairs.clone(),
        format!(" {pairs}\n"),
        format!("sha256 {pairs}"),
        format!("SHA-256={hex}"),
    ] {
        assert_eq!(fingerprint(&typed).as_deref(), Some(hex.as_str()), "{typed}");
    }
    for bad in [&hex[1..], &format!("{hex}0"), "", "sha256", &"x".repeat(64)] {
        assert_eq!(fingerprint(bad), None, "{bad}");
    }
}

#[test]
fn a_certificate_that_ends_anywhere_is_no_panic() {
    let pair = rcgen::KeyPair::generate().unwrap();
    let made = rcgen::CertificateParams::new(vec!["bmc".to_owned()]).unwrap().self_signed(&pair).unwrap();
    let whole = made.der().to_vec();
    assert!(key(&whole).is_some_and(|k| !k.first) && weakness(&whole).is_none());
    for n in 0..whole.len() {
        assert!(key(&whole[..n]).is_none(), "{n}");
    }
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bent = whole.clone();
            bent[at] ^= 1 << bit;
            // Whatever it says, it is read without a panic.
            let _ = (key(&bent).is_some(), weakness(&bent), is_old(&CertificateDer::from(bent.clone())));
        }
    }
    for odd in [&[0x30, 0x80][..], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 0x83, 0xff, 0xff, 0xff], &[0x30]] {
        assert!(value(odd).is_none(), "{odd:?}");
    }
}
