//! An appliance without its medium's kernel: the same program in a network namespace of its own, set up by a form.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::seal::key_text;
use host::tool::{Running, Tool};

use crate::support::medium::{made_site, make_medium, utf8};

const PAGES: &str = "127.0.0.1:8443";
const PASSPHRASE: &str = "four random words here";
const PASSWORD: &str = "ten letters";
/// A network without anybody else, and its own /sys.
const SCRIPT: &str = "mount -t sysfs none /sys && ip link set lo up && ip link add boot0 type bridge && \
                      ip address add 10.44.0.1/24 dev boot0 && ip link set boot0 up && exec \"$@\"";

struct Appliance {
    dir: Utf8PathBuf,
    pin: String,
    process: Option<Running>,
    starts: u32,
}

fn can() -> bool {
    let works = nix::unistd::geteuid().is_root()
        && Tool::new("unshare").args(["--net", "--mount", "sh", "-c", SCRIPT, "sh", "true"]).run().is_ok()
        && ["curl", "nsenter"].iter().all(|p| Tool::new(p).arg("--version").run().is_ok());
    if !works {
        kubedos_skip::skip("netns", "needs root, network namespaces with bridges, curl and nsenter");
    }
    works
}

impl Appliance {
    fn new(dir: &Utf8Path) -> Self {
        let made = made_site(&dir.join("maker"));
        let maker = make_medium(&made, crate::support::medium::PASSPHRASE, &dir.join("medium"));
        Appliance { dir: dir.to_owned(), pin: key_text(&maker), process: None, starts: 0 }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join(format!("log.{}", self.starts))).unwrap_or_default()
    }

    /// Starts it and waits for one of the two lines that say what it does.
    fn start(&mut self) {
        self.starts += 1;
        let log = File::create(self.dir.join(format!("log.{}", self.starts))).unwrap();
        let (state, run, medium) = (self.dir.join("state"), self.dir.join("run"), self.dir.join("medium"));
        fs::write(self.dir.join("cmdline"), "quiet kubedos.state=ram kubedos.address=nonsense\n").unwrap();
        let cmdline = self.dir.join("cmdline");
        let args =
            ["--net", "--mount", "sh", "-c", SCRIPT, "sh", env!("CARGO_BIN_EXE_seedd"), "appliance", "run", "--iface", "boot0"];
        let more = ["--pages", PAGES, "--wireguard", "off", "--pin", &self.pin, "--state-dir", state.as_str()];
        let paths = ["--run-dir", run.as_str(), "--medium", medium.as_str(), "--cmdline", cmdline.as_str()];
        self.process = Some(Tool::new("unshare").args(args).args(more).args(paths).spawn(log).unwrap());
        self.wait("its first line", |a| a.log().contains("no site yet") || a.log().contains("machines at"));
    }

    fn wait(&mut self, what: &str, ready: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !ready(self) {
            assert!(self.process.as_mut().unwrap().ended().is_none(), "it ended: {}", self.log());
            assert!(started.elapsed() < Duration::from_secs(300), "waiting for {what}: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    fn code(&self) -> String {
        self.log().split("setup code: ").nth(1).unwrap().lines().next().unwrap().trim().to_owned()
    }

    fn curl(&self, args: &[&str]) -> (String, String) {
        let pid = self.process.as_ref().unwrap().pid().to_string();
        let base = ["--target", &pid, "--net", "curl", "-sk", "--max-time", "240", "-w", "\n%{http_code}"];
        let (_, output) = Tool::new("nsenter").args(base).args(args).run_any().unwrap();
        let text = output.text();
        let (body, status) = text.rsplit_once('\n').unwrap_or(("", &text));
        (status.to_owned(), body.to_owned())
    }

    fn form(code: &str) -> Vec<String> {
        let fields = [
            ("code", code),
            ("site", "site-b"),
            ("passphrase", PASSPHRASE),
            ("passphrase2", PASSPHRASE),
            ("user", "ada"),
            ("password", PASSWORD),
            ("password2", PASSWORD),
            ("iface", "boot0"),
        ];
        fields.iter().flat_map(|(k, v)| ["--data-urlencode".to_owned(), format!("{k}={v}")]).collect()
    }

    fn post(&self, code: &str, from: &str) -> (String, String) {
        let form = Self::form(code);
        let jar = self.dir.join("jar");
        let url = format!("https://{PAGES}/setup");
        let mut args = vec!["--interface", from, "-c", jar.as_str(), url.as_str()];
        args.extend(form.iter().map(String::as_str));
        self.curl(&args)
    }

    fn get(&self, url: &str) -> (String, String) {
        let jar = self.dir.join("jar");
        self.curl(&["-b", jar.as_str(), url])
    }

    fn site(&self) -> Utf8PathBuf {
        self.dir.join("state/site")
    }
}

#[test]
fn a_seed_is_set_up_in_a_browser_and_serves_from_its_medium() {
    if !can() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut seed = Appliance::new(&utf8(dir.path()));
    seed.start();
    let page = seed.get(&format!("https://{PAGES}/setup"));
    assert_eq!(page.0, "200");
    assert!(page.1.contains("boot0") && page.1.contains("kubedos.address"), "interfaces and the bad boot parameter: {}", page.1);
    assert_eq!(seed.get(&format!("https://{PAGES}/")).0, "303");
    assert_eq!(seed.get("http://10.44.0.1/boot/ipxe").0, "000", "nothing is served to machines before there is a site");

    // Guessing is slowed down, for the one who guesses.
    let refused: Vec<String> = (0..8).map(|_| seed.post("AAAA-AAAA", "127.0.0.2").0).collect();
    assert_eq!((refused[0].as_str(), refused.last().map(String::as_str)), ("403", Some("429")), "{refused:?}");
    assert!(!seed.site().exists());

    let done = seed.post(&seed.code(), "127.0.0.1");
    assert_eq!(done.0, "303", "{} {}", done.1, seed.log());
    seed.wait("the site", |a| a.log().contains("machines at"));
    let home = seed.get(&format!("https://{PAGES}/"));
    assert_eq!(home.0, "200", "the page is where it was, and the browser is logged in: {}", home.1);
    let status: serde_json::Value = serde_json::from_str(&seed.get(&format!("https://{PAGES}/api/v1/status")).1).unwrap();
    assert_eq!((status["site"].as_str(), status["sealed"].as_bool()), (Some("site-b"), Some(false)), "{status}");
    assert!(status["roles"][0]["artifact"].is_string() && status["snapshot"].is_string(), "{status}");
    assert_eq!(seed.get("http://10.44.0.1/boot/vmlinuz"), ("200".to_owned(), "vmlinuz".to_owned()));
    assert_eq!(seed.get("http://10.44.0.1/darksite/current/pool/main/t/tree/tree_1_amd64.deb").1, "a package");
    let told = Tool::new(env!("CARGO_BIN_EXE_seedd")).args(["status", "--json", "--data", seed.site().as_str()]).run().unwrap();
    assert!(told.text().contains("site-b"), "{}", told.text());

    seed.kill();
    seed.start();
    assert!(seed.log().contains("sealed (run"), "{}", seed.log());
    let (status, body) = seed.get(&format!("https://{PAGES}/"));
    assert_eq!(status, "200", "the session is kept: {body}");
    assert!(body.contains("The seed is sealed"));
}

#[test]
fn a_set_up_that_is_cut_off_leaves_no_half_site() {
    if !can() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut seed = Appliance::new(&utf8(dir.path()));
    let (mut empty, mut whole) = (0, 0);
    // Later and later, until one attempt is through.
    for step in 0u32.. {
        seed.start();
        let code = seed.code();
        std::thread::scope(|s| {
            let posting = s.spawn(|| seed.post(&code, "127.0.0.1"));
            std::thread::sleep(Duration::from_millis(40).mul_f64(1.3f64.powi(step as i32)));
            nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(seed.process.as_ref().unwrap().pid() as i32),
                nix::sys::signal::Signal::SIGKILL,
            )
            .unwrap();
            posting.join().unwrap();
        });
        seed.kill();
        seed.start();
        let left: Vec<String> =
            seed.dir.join("state").read_dir_utf8().unwrap().map(|e| e.unwrap().file_name().to_owned()).collect();
        if seed.log().contains("machines at") {
            whole += 1;
            let site = site::Site::new(&seed.site());
            assert!(site.keys().unseal(PASSPHRASE).is_ok());
            assert!(site.open_store().unwrap().read(|tx| tx.has_admin()).unwrap());
            assert_eq!(left.iter().filter(|n| n.ends_with(".new")).count(), 0, "{left:?}");
            break;
        }
        empty += 1;
        assert!(!left.iter().any(|n| n == "site" || n.ends_with(".new")), "{left:?}");
        seed.kill();
    }
    assert_eq!(whole, 1);
    assert!(empty > 1, "the first attempts were cut off");
}
