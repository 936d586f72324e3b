//! Small signed repositories that are odd in one way, a server with odd habits, and apt's opinion.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use camino::Utf8Path;
use cluster_seed::extras::{ExtrasManifest, ExtrasSpec};
use cluster_seed::ids::Digest;
use cluster_seed::progress::Progress;
use darksite::extras::{ExtrasError, Job, build};
use darksite::format::date::format_date;
use darksite::{Clock, Fetch, ReleaseKey};
use sha2::Digest as _;

use crate::common::{NOW, Site, at, packed_deb, tool, write};

/// One repository with package `hello`. Change what is odd, then write it.
pub struct Odd {
    pub version: &'static str,
    /// Of the package and of the index's folder.
    pub arch: &'static str,
    /// The index. `{SIZE}`, `{SHA256}` and `{SHA512}` stand for those of the package, `{FILE}` for its place.
    pub packages: Vec<u8>,
    /// Where the package is, below the root.
    pub file: &'static str,
    /// The folder of a flat repository.
    pub flat: Option<&'static str>,
    /// Forms that the Release file lists, and those of them that are not there.
    pub forms: &'static [&'static str],
    pub absent: &'static [&'static str],
    /// A form that has other bytes.
    pub spoilt: Option<&'static str>,
    pub sums: &'static [&'static str],
    /// Changes the Release file before it is signed.
    pub release: fn(String) -> String,
    pub signed: Signed,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Signed {
    Inline,
    Armored,
    Binary,
}

pub const HELLO: &str = "Package: hello\nVersion: 1.0\nArchitecture: amd64\nMaintainer: C <c@example.org>\nFilename: {FILE}\n\
     Size: {SIZE}\nSHA256: {SHA256}\nDescription: a case\n";

impl Default for Odd {
    fn default() -> Self {
        Odd {
            version: "1.0",
            arch: "amd64",
            packages: HELLO.into(),
            file: "pool/hello_1.0_amd64.deb",
            flat: None,
            forms: &["", ".gz", ".xz"],
            absent: &[],
            spoilt: None,
            sums: &["SHA256"],
            release: |text| text,
            signed: Signed::Inline,
        }
    }
}

pub fn key(seed: u8) -> ReleaseKey {
    ReleaseKey::from_seed(&[seed; 32], "Odd <odd@example.org>", at(NOW - 1_000_000)).unwrap()
}

pub fn sha512(bytes: &[u8]) -> String {
    hex::encode(sha2::Sha512::digest(bytes))
}

pub fn pack(form: &str, bytes: &[u8]) -> Vec<u8> {
    let lzma = || {
        let options = liblzma::stream::LzmaOptions::new_preset(6).unwrap();
        liblzma::write::XzEncoder::new_stream(Vec::new(), liblzma::stream::Stream::new_lzma_encoder(&options).unwrap())
    };
    match form {
        ".xz" => pack_with(liblzma::write::XzEncoder::new(Vec::new(), 6), bytes, |w| w.finish()),
        ".lzma" => pack_with(lzma(), bytes, |w| w.finish()),
        ".gz" => pack_with(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()), bytes, |w| w.finish()),
        ".bz2" => pack_with(bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast()), bytes, |w| w.finish()),
        ".zst" => zstd::encode_all(bytes, 1).unwrap(),
        _ => bytes.to_vec(),
    }
}

fn pack_with<W: std::io::Write>(mut to: W, bytes: &[u8], end: impl Fn(W) -> std::io::Result<Vec<u8>>) -> Vec<u8> {
    to.write_all(bytes).unwrap();
    end(to).unwrap()
}

impl Odd {
    pub fn deb(&self) -> Vec<u8> {
        let control = format!("Package: hello\nVersion: {}\nArchitecture: {}\nDescription: a case\n", self.version, self.arch);
        packed_deb("hello", &control)
    }

    /// The index with the package's values.
    pub fn index(&self) -> Vec<u8> {
        let deb = self.deb();
        let values = [
            ("{FILE}", self.file.to_owned()),
            ("{SIZE}", deb.len().to_string()),
            ("{SHA256}", Digest::of(&deb).to_string()),
            ("{SHA512}", sha512(&deb)),
        ];
        let mut text = self.packages.clone();
        for (name, value) in values {
            while let Some(place) = text.windows(name.len()).position(|w| w == name.as_bytes()) {
                text.splice(place..place + name.len(), value.bytes());
            }
        }
        text
    }

    /// Writes the repository below `root`, signed by `key(9)`.
    pub fn write(&self, root: &Utf8Path) {
        write(&root.join(self.file.trim_start_matches('/')), &self.deb());
        let index = self.index();
        let dir = match self.flat {
            Some(folder) => root.join(folder),
            None => root.join("dists/odd"),
        };
        let base = if self.flat.is_some() { "Packages".to_owned() } else { format!("main/binary-{}/Packages", self.arch) };
        let mut text = format!("Origin: Odd\nSuite: odd\nCodename: odd\nDate: {}\n", format_date(at(NOW - 1000)));
        text += "Architectures: amd64\nComponents: main\n";
        for sum in self.sums {
            text += &format!("{sum}:\n");
            for form in self.forms {
                let bytes = pack(form, &index);
                let digest = if *sum == "SHA512" { sha512(&bytes) } else { Digest::of(&bytes).to_string() };
                text += &format!(" {digest} {} {base}{form}\n", bytes.len());
                let served = if self.spoilt == Some(form) { pack(form, b"Package: other\n") } else { bytes };
                if !self.absent.contains(form) {
                    write(&dir.join(format!("{base}{form}")), &served);
                }
            }
        }
        let text = (self.release)(text);
        let key = key(9);
        match self.signed {
            Signed::Inline => write(&dir.join("InRelease"), key.sign_cleartext(&text, at(NOW - 500)).unwrap().as_bytes()),
            how => {
                write(&dir.join("Release"), text.as_bytes());
                let armor = key.sign_detached(text.as_bytes(), at(NOW - 500)).unwrap();
                let bytes = if how == Signed::Armored { armor.into_bytes() } else { dearmored(&armor) };
                write(&dir.join("Release.gpg"), &bytes);
            }
        }
        write(&root.join("key.gpg"), &key.public_keyring().unwrap());
    }

    /// The lines of cluster.yaml that ask for `hello`.
    pub fn yaml(&self, url: &str, key: &Utf8Path, suite: &str, digest: &Digest) -> String {
        let component = if self.flat.is_some() { "" } else { ", component: main" };
        let sha256 = Digest::of(&std::fs::read(key).unwrap());
        format!(
            "keys: {{k: {{url: {key}, sha256: {sha256}}}}}\nrepositories: {{r: {{url: {url:?}, suite: {suite}{component}, key: k}}}}\n\
             packages: [{{repository: r, package: hello, version: {:?}, architecture: {}, sha256: {digest}}}]\n",
            self.version, self.arch
        )
    }
}

/// The bytes of an armored signature.
pub fn dearmored(armor: &str) -> Vec<u8> {
    use base64::Engine as _;
    let lines = armor.lines().skip_while(|l| !l.is_empty()).filter(|l| !l.is_empty() && !l.starts_with(['-', '=']));
    base64::engine::general_purpose::STANDARD.decode(lines.collect::<String>()).unwrap()
}

/// What was said while extras were fetched.
#[derive(Default)]
pub struct Said(std::sync::Mutex<Vec<String>>);

impl Said {
    pub fn all(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

impl Progress for Said {
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
    fn say(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
    fn cancelled(&self) -> bool {
        false
    }
}

/// Fetches the extras of a section into an empty site; what was said comes with the result.
pub fn fetch(yaml: &str, fetch: &dyn Fetch) -> (Result<ExtrasManifest, ExtrasError>, String, Site) {
    let spec: ExtrasSpec = serde_saphyr::from_str(yaml).unwrap_or_else(|e| panic!("{yaml}: {e}"));
    spec.check().unwrap_or_else(|(why, _)| panic!("{yaml}: {why}"));
    let (site, said) = (Site::new(), Said::default());
    let built = build(&Job {
        spec: &spec,
        paths: &site.paths(),
        sets: &site.root().join("extras"),
        fetch,
        clock: Clock::At(at(NOW)),
        release_key: &site.release_key,
        site_key: &site.site_key,
        previous: None,
        progress: &said,
    });
    (built.map(|(manifest, _)| manifest), said.all(), site)
}

/// Status and body for a path and the request's header lines.
pub type Habit = dyn Fn(&str, &[String]) -> (u16, Vec<u8>) + Send + Sync;

/// An HTTP server on 127.0.0.1.
pub struct Server {
    pub url: String,
    address: std::net::SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

impl Server {
    pub fn start(habit: Arc<Habit>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let habit = Arc::clone(&habit);
                // A client may disconnect at any time.
                std::thread::spawn(move || _ = answer(stream, &*habit));
            }
        });
        Server { url: format!("http://{address}"), address, stop }
    }
}

fn answer(stream: TcpStream, habit: &Habit) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut lines = Vec::new();
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let path = lines.first().and_then(|l| l.split(' ').nth(1)).unwrap_or("/").to_owned();
    let (status, body) = habit(&path, &lines);
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    out.write_all(head.as_bytes())?;
    out.write_all(&body)
}

/// A file below `root` by its escaped path; `plus` reads a literal `+` as a space.
pub fn file_at(root: &Utf8Path, path: &str, plus: bool) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    let mut bytes = path.trim_start_matches('/').bytes();
    while let Some(byte) = bytes.next() {
        name.push(match byte {
            b'%' => u8::from_str_radix(std::str::from_utf8(&[bytes.next()?, bytes.next()?]).ok()?, 16).ok()?,
            b'+' if plus => b' ',
            other => other,
        });
    }
    let mut content = Vec::new();
    std::fs::File::open(root.join(String::from_utf8(name).ok()?)).ok()?.read_to_end(&mut content).ok()?;
    Some(content)
}

/// apt with a directory of its own.
pub struct Apt {
    program: String,
    temp: tempfile::TempDir,
}

impl Apt {
    /// None where apt-get is not installed; the test is then counted as skipped.
    #[track_caller]
    pub fn find() -> Option<Apt> {
        match tool::find("apt-get") {
            Ok(program) => Some(Apt { program, temp: tempfile::tempdir().unwrap() }),
            Err(why) => {
                kubedos_skip::skip("apt-get", why);
                None
            }
        }
    }

    fn run(&self, line: &str, args: &[&str]) -> (bool, String) {
        let root = Utf8Path::from_path(self.temp.path()).unwrap();
        for dir in ["lists/partial", "cache/archives/partial", "out"] {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
        write(&root.join("status"), b"");
        write(&root.join("s.list"), line.as_bytes());
        let mut all = Vec::new();
        for option in [
            format!("Dir::Etc::sourcelist={root}/s.list"),
            "Dir::Etc::sourceparts=-".into(),
            "Dir::Etc::main=/dev/null".into(),
            "Dir::Etc::parts=-".into(),
            format!("Dir::State={root}"),
            format!("Dir::State::lists={root}/lists"),
            format!("Dir::State::status={root}/status"),
            format!("Dir::Cache={root}/cache"),
            "APT::Architecture=amd64".into(),
            "APT::Architectures=amd64".into(),
            "APT::Sandbox::User=".into(),
            "Acquire::Languages=none".into(),
            "Acquire::Retries=0".into(),
            // The repositories are as old as the tests' clock says.
            "Acquire::Check-Date=false".into(),
            "Acquire::Check-Valid-Until=false".into(),
        ] {
            all.extend(["-o".to_owned(), option]);
        }
        all.extend(args.iter().map(|a| (*a).to_owned()));
        tool::run(&self.program, &all, &root.join("out"))
    }

    /// Whether apt can use an index, and offers `hello` in a version. The index is put where apt keeps it.
    pub fn reads(&self, index: &[u8], version: &str) -> (bool, String) {
        let root = Utf8Path::from_path(self.temp.path()).unwrap();
        let _ = std::fs::remove_dir_all(root.join("cache"));
        write(&root.join("lists/h_r_dists_s_main_binary-amd64_Packages"), index);
        self.run("deb [trusted=yes] http://h/r s main\n", &["download", "--print-uris", &format!("hello={version}")])
    }

    /// Whether apt fetches `hello` from a repository: `rest` is what follows the address in sources.list.
    pub fn fetches(&self, url: &str, key: &Utf8Path, rest: &str, version: &str) -> (bool, String) {
        let root = Utf8Path::from_path(self.temp.path()).unwrap();
        for dir in ["cache", "lists", "out"] {
            let _ = std::fs::remove_dir_all(root.join(dir));
        }
        let line = format!("deb [signed-by={key}] {url} {rest}\n");
        let (_, said) = self.run(&line, &["update"]);
        let (fetched, more) = self.run(&line, &["download", &format!("hello={version}")]);
        (fetched, said + &more)
    }
}
