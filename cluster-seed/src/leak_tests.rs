use super::secrets;

/// Made for this test; in two halves, so that this file itself holds none.
fn pem(kind: &str) -> String {
    format!(
        "{}{kind}-----\n{}\n-----END {kind}-----\n",
        "-----BEGIN ",
        "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAAB".repeat(2)
    )
}

fn of(text: &str) -> Vec<&'static str> {
    secrets(text.as_bytes())
}

#[test]
fn private_keys_of_every_kind() {
    for kind in [
        "PRIVATE KEY",
        "RSA PRIVATE KEY",
        "EC PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
        "PGP PRIVATE KEY BLOCK",
    ] {
        assert_eq!(of(&pem(kind)), ["a private key"], "{kind}");
        assert_eq!(of(&pem(kind).replace('\n', "\\n")), ["a private key"], "{kind} in JSON");
    }
    for kind in ["CERTIFICATE", "PUBLIC KEY", "PGP PUBLIC KEY BLOCK", "CERTIFICATE REQUEST"] {
        assert!(of(&pem(kind)).is_empty(), "{kind}");
    }
    // What a program that reads keys has in it.
    assert!(of("-----BEGIN RSA PRIVATE KEY-----\0-----END RSA PRIVATE KEY-----\0expected -----BEGIN ").is_empty());
    assert_eq!(of(&format!("AGE-SECRET-KEY-1{}", "Q".repeat(58))), ["an age secret key"]);
    assert!(of("AGE-SECRET-KEY-1...").is_empty());
    assert_eq!(of(&format!("[Interface]\nPrivateKey = {}=\n", "a".repeat(43))), ["a WireGuard private key"]);
    assert!(of(&format!("PublicKey = {}=\nPrivateKey = <yours>\n", "a".repeat(43))).is_empty());
}

#[test]
fn password_hashes_with_exactly_their_length() {
    let h = |n: usize| "aB3./".repeat(20)[..n].to_owned();
    for (good, near) in [
        (format!("root:$6$saltsalt${}:19000", h(86)), format!("$6$saltsalt${}", h(85))),
        (format!("$6$rounds=5000$salt${}", h(86)), format!("$6$rounds=5000${}", h(86))),
        (format!("$5$salt${}\n", h(43)), format!("$5$salt${}", h(44))),
        (format!("$1$salt${}", h(22)), format!("$1$salt${}", h(23))),
        (format!("'$y$j9T$salt${}'", h(43)), format!("$y$j9T${}", h(43))),
        (format!("$2b$12${}", h(53)), format!("$2b$12${}", h(52))),
        (
            format!("$argon2id$v=19$m=65536,t=3,p=4${}${}", h(22), h(43)).replace('.', "x"),
            "$argon2id$v=19$m=65536,t=3,p=4$".to_owned(),
        ),
    ] {
        assert_eq!(of(&good), ["a password hash"], "{good}");
        assert!(of(&near).is_empty(), "{near}");
    }
    assert!(of("root:*:19000:0:99999:7:::\nuser:!:\necho $1 $2 $6$x").is_empty());
    assert_eq!(of("d-i passwd/root-password password insecure\n"), ["a password in a preseed"]);
    assert_eq!(of("d-i passwd/user-password-crypted password [crypt hash]\n"), ["a password in a preseed"]);
    assert!(of("d-i passwd/root-login boolean false\nd-i passwd/root-password-crypted password !\n").is_empty());
}

/// A program with this module in it has its patterns beside each other; it is published in images and extras.
#[test]
fn the_patterns_themselves_are_no_secret() {
    let patterns =
        "-----BEGIN -----a private keyan age secret keyPuTTY-User-Key-File-PrivateKeya WireGuard private keyPrivate-Lines";
    assert!(of(patterns).is_empty());
    let putty = "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPrivate-Lines: 1\nAAAA\n";
    assert_eq!(of(putty), ["a private key"]);
}

#[test]
fn a_join_token_is_found_where_the_kernel_prints_its_command_line() {
    let token = crate::join::token::JoinToken::from_random(&[7; crate::join::token::TOKEN_RANDOM]).to_text();
    assert_eq!(of(&format!("Command line: quiet kubedos.token={} ro", *token)), ["a join token"]);
    for near in ["kubedos.token=kjt-ID-SECRET", "kjt-07070707", "kjt-07070707-", "kjt-07070707-0707"] {
        assert!(of(near).is_empty(), "{near}");
    }
}

#[test]
fn an_api_token_is_found_in_a_script() {
    let (_, token) = crate::people::api_token(&[7; crate::people::TOKEN_RANDOM]);
    assert_eq!(of(&format!("curl -H 'Authorization: Bearer {}' https://seed/", *token)), ["an API token"]);
    for near in ["kbd_07070707", "kbd_07070707_", "kbd_07070707_0707", "kbd_ID_SECRET"] {
        assert!(of(near).is_empty(), "{near}");
    }
}

#[test]
fn a_metrics_token_is_found_in_a_configuration() {
    let token = format!("kdm-{}", &"aB3-_xYz".repeat(6)[..43]);
    assert_eq!(of(&format!("credentials: {token}\n")), ["a metrics token"]);
    let name = format!("kdm-{}", "wallpapers-of-an-older-release".repeat(2));
    for near in [&token[..46], &format!("{token}x"), &token.to_lowercase(), &name, "kdm-"] {
        assert!(of(near).is_empty(), "{near}");
    }
}
