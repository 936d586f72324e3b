//! Builds the netboot set and one artifact from a snapshot, and assembles the raw disk, to try things out.
//!
//! `cargo run -p image --example build -- SNAPSHOT_DIR SUITE AGENT DATA_DIR OUT.img`; signed with a throwaway key.

use std::io::Write as _;

use camino::Utf8PathBuf;
use cluster_seed::arch::Arch;
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use cluster_seed::seal::SigningKey;
use image::{Dirs, Inputs};

struct Lines;

impl Progress for Lines {
    fn begin(&self, step: &str, _total: Option<u64>) {
        self.say(step);
    }
    fn advance(&self, _n: u64) {}
    fn end(&self) {}
    fn say(&self, line: &str) {
        // Nothing can be done when the terminal is gone.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<Utf8PathBuf> = std::env::args().skip(1).map(Utf8PathBuf::from).collect();
    let [snapshot, suite, agent, data, out] = &args[..] else {
        return Err("usage: build SNAPSHOT_DIR SUITE AGENT DATA_DIR OUT.img".into());
    };
    let name = snapshot.file_name().unwrap_or_default();
    let inputs = Inputs {
        snapshot_dir: snapshot,
        snapshot_id: name.parse().unwrap_or_else(|_| Digest::of(name.as_bytes())),
        suite: suite.as_str(),
        keyring: &snapshot.join("keyring.gpg"),
        agent,
        arm64_agent: None,
        dirs: &Dirs::under(data),
        site_key: &SigningKey::from_bytes(&[7; 32]),
        no_rescue: false,
    };
    let netboot = image::build_netboot(&inputs, &Lines).map_err(chain)?;
    for file in &netboot.files {
        Lines.say(&format!("{} {} {}", file.sha256, file.size, file.name));
    }
    let wanted = image::Wanted { packages: &[], disabled: &[], payload: None };
    let artifact = image::build_artifact(&inputs, ("base", Arch::Amd64), &wanted, &Lines).map_err(chain)?;
    let sizes = (artifact.disk_size, artifact.stored_size());
    Lines.say(&format!("artifact {} raw {} disk {} stored {}", artifact.id, artifact.raw, sizes.0, sizes.1));
    image::assemble(&artifact, &data.join("blobs"), out, &Lines)?;
    Ok(())
}

/// The error with its causes.
fn chain(error: image::Error) -> String {
    let mut text = error.to_string();
    let mut at: &dyn std::error::Error = &error;
    while let Some(source) = at.source() {
        text = format!("{text}: {source}");
        at = source;
    }
    text
}
