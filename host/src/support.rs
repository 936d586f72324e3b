//! Support bundles: what shows how a machine is, without secrets.

use std::time::Duration;

use cluster_seed::leak;

use crate::tool::Tool;

/// Largest part, in bytes; longer ones are cut at their beginning.
pub const MAX_PART: usize = 8 << 20;
/// Time limit of one program.
const LIMIT: Duration = Duration::from_secs(30);

/// The name of a part, and the program that prints it.
pub type Command = (&'static str, &'static [&'static str]);

/// Programs that show the machine; none of them prints a key.
pub const MACHINE: &[Command] = &[
    ("host/uname.txt", &["uname", "-a"]),
    ("host/uptime.txt", &["uptime"]),
    ("host/df.txt", &["df", "-h"]),
    ("host/free.txt", &["free", "-m"]),
    ("host/lsblk.txt", &["lsblk", "-o", "NAME,SIZE,TYPE,FSTYPE,MOUNTPOINTS,MODEL,SERIAL"]),
    ("host/addresses.txt", &["ip", "address"]),
    ("host/routes.txt", &["ip", "route", "show", "table", "all"]),
    ("host/links.txt", &["ip", "-s", "link"]),
    ("host/sockets.txt", &["ss", "-tulnp"]),
    ("host/wireguard.txt", &["wg", "show"]),
    ("host/nftables.txt", &["nft", "list", "ruleset"]),
    ("host/units.txt", &["systemctl", "list-units", "--all", "--no-pager"]),
    ("host/time.txt", &["chronyc", "-n", "tracking"]),
    ("host/journal.txt", &["journalctl", "-b", "-n", "5000", "--no-pager", "-o", "short-iso"]),
    ("host/kernel.txt", &["dmesg"]),
];

/// Parts by name, and what was left out and why.
#[derive(Default)]
pub struct Parts {
    pub files: Vec<(String, Vec<u8>)>,
    pub left_out: Vec<String>,
}

impl Parts {
    /// Adds a part, unless a secret is found in it.
    pub fn add(&mut self, name: &str, bytes: &[u8]) {
        // In all of it: of a key that begins before the cut, what is left does not look like one.
        match leak::secrets(bytes).first() {
            None => self.files.push((name.to_owned(), bytes[bytes.len().saturating_sub(MAX_PART)..].to_vec())),
            Some(what) => self.left_out.push(format!("{name}: it contains {what}")),
        }
    }

    /// The same of something that may have failed, for the reason given.
    pub fn add_result(&mut self, name: &str, content: Result<Vec<u8>, String>) {
        match content {
            Ok(bytes) => self.add(name, &bytes),
            Err(why) => self.left_out.push(format!("{name}: {why}")),
        }
    }

    /// What these programs print, whether they succeed or not.
    pub fn add_commands(&mut self, commands: &[Command]) {
        for (name, argv) in commands {
            let [program, rest @ ..] = argv else { continue };
            let output = Tool::new(program).args(rest).timeout(LIMIT).run_any();
            let printed = output.map(|(_, out)| [out.stdout, out.stderr.into_bytes()].concat());
            self.add_result(name, printed.map_err(|e| e.to_string()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_with_a_secret_is_left_out_by_name() {
        let mut parts = Parts::default();
        parts.add("a.txt", b"nothing");
        parts.add("b.txt", b"[Interface]\nPrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n");
        assert_eq!(parts.files.len(), 1);
        assert!(parts.left_out[0].starts_with("b.txt: it contains a WireGuard private key"), "{:?}", parts.left_out);
    }

    #[test]
    fn only_the_end_of_a_long_part_is_kept() {
        let mut parts = Parts::default();
        let mut long = vec![b'a'; MAX_PART];
        long.extend(b"end");
        parts.add("log", &long);
        assert_eq!(parts.files[0].1.len(), MAX_PART);
        assert!(parts.files[0].1.ends_with(b"end"));
    }

    #[test]
    fn a_key_whose_beginning_would_be_cut_off_is_found() {
        let mut parts = Parts::default();
        // In two halves, so that this file itself holds none.
        let key = format!("{}PRIVATE KEY-----\n{}\n", "-----BEGIN ", "A".repeat(60));
        let long = format!("{key}{}", "a".repeat(MAX_PART - 50));
        assert!(long.len() > MAX_PART);
        parts.add("log", long.as_bytes());
        assert_eq!((parts.files.len(), parts.left_out), (0, vec!["log: it contains a private key".to_owned()]));
    }

    #[test]
    fn a_program_that_is_missing_is_said_and_the_others_run() {
        let mut parts = Parts::default();
        parts.add_commands(&[("none.txt", &["kubedos-no-such-program"]), ("some.txt", &["echo", "here"])]);
        assert_eq!(parts.files, [("some.txt".to_owned(), b"here\n".to_vec())]);
        assert_eq!(parts.left_out, ["none.txt: cannot start kubedos-no-such-program"]);
    }
}
