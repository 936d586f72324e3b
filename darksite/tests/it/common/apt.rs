//! apt, pointed at one suite.

use camino::Utf8Path;

use super::{tool, write};

/// apt without this machine's configuration and state.
pub struct Apt {
    program: String,
    pub temp: tempfile::TempDir,
    options: Vec<String>,
}

impl Apt {
    pub fn new(program: String, url: &str, suite: &str, keyring: &Utf8Path) -> Apt {
        let temp = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(temp.path()).unwrap();
        for dir in ["lists/partial", "cache/archives/partial", "out"] {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
        write(&root.join("status"), b"");
        write(&root.join("sources.list"), format!("deb [signed-by={keyring}] {url} {suite} main\n").as_bytes());
        let options = [
            format!("Dir::Etc::sourcelist={root}/sources.list"),
            "Dir::Etc::sourceparts=-".into(),
            "Dir::Etc::main=/dev/null".into(),
            "Dir::Etc::parts=-".into(),
            "Dir::Etc::trusted=/dev/null".into(),
            "Dir::Etc::trustedparts=-".into(),
            format!("Dir::State::lists={root}/lists"),
            format!("Dir::State::status={root}/status"),
            format!("Dir::Cache={root}/cache"),
            "APT::Architecture=amd64".into(),
            "APT::Sandbox::User=".into(),
            "Acquire::Languages=none".into(),
        ]
        .into_iter()
        .flat_map(|option: String| ["-o".to_owned(), option])
        .collect();
        Apt { program, temp, options }
    }

    pub fn run(&self, args: &[&str]) -> (bool, String) {
        let args: Vec<String> = self.options.iter().cloned().chain(args.iter().map(|a| (*a).to_owned())).collect();
        tool::run(&self.program, &args, &Utf8Path::from_path(self.temp.path()).unwrap().join("out"))
    }

    /// apt-get update exits 0 with warnings on a bad signature; with this option it fails.
    pub fn update(&self) -> (bool, String) {
        self.run(&["-o", "APT::Update::Error-Mode=any", "update"])
    }
}
