//! A prompt for a passphrase on a real terminal, and the ways out of it.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

/// What a terminal shows while `keys` are typed at the prompt of `seedd unseal`, and then how the terminal is.
fn at_the_prompt(keys: &[u8]) -> String {
    // The shell outlives the Ctrl-C, which goes to everybody on the terminal.
    let command = format!("trap : INT; {} unseal --data /nonesuch; echo status=$?; stty -a", env!("CARGO_BIN_EXE_seedd"));
    let mut script = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, mut output) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
    let (mut shown, mut buffer) = (Vec::new(), [0; 1024]);
    while !shown.ends_with(b"Passphrase: ") {
        let n = output.read(&mut buffer).unwrap();
        assert!(n > 0, "no prompt: {}", String::from_utf8_lossy(&shown));
        shown.extend(&buffer[..n]);
    }
    shown.clear();
    input.write_all(keys).unwrap();
    // `input` stays open: at its end `script` would hang up.
    output.read_to_end(&mut shown).unwrap();
    script.wait().unwrap();
    String::from_utf8_lossy(&shown).into_owned()
}

fn has_echo(shown: &str) -> bool {
    assert!(shown.contains("status=") && shown.contains("echo"), "{shown}");
    shown.split_whitespace().any(|word| word == "echo")
}

#[test]
fn ctrl_c_once_or_twice_ends_the_prompt_and_gives_the_echo_back() {
    for keys in [&b"\x03"[..], b"\x03\x03", b"half a pass\x03\x03"] {
        let shown = at_the_prompt(keys);
        assert!(has_echo(&shown) && shown.contains("status=130"), "{shown}");
    }
}

#[test]
fn what_is_typed_is_not_shown() {
    let shown = at_the_prompt(b"open sesame\n");
    assert!(!shown.contains("sesame") && has_echo(&shown) && shown.contains("status=1\r"), "{shown}");
}
