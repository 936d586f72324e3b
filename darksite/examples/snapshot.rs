//! Builds a snapshot from the mirror of this machine's apt configuration, by hand:
//! `cargo run -p darksite --example snapshot -- DATA_DIR KEYRING [PACKAGE...]`

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::progress::Progress;
use cluster_seed::repo::RepoProfile;
use cluster_seed::seal::SigningKey;
use darksite::{AnyFetch, Clock, HttpLimits, Keyring, Paths, PlanRequest, ReleaseKey, Source};

const ROOTS: &str = "linux-image-amd64 openssh-server wireguard-tools ansible-core nftables iproute2 systemd-sysv udev busybox ipxe \
    grub-pc-bin grub-efi-amd64-bin grub-efi-amd64-signed shim-signed mmdebstrap e2fsprogs mtools dosfstools zstd xz-utils cpio \
    gdisk kmod python3";

struct Terminal {
    start: Instant,
    bytes: AtomicU64,
    printed: AtomicU64,
}

impl Progress for Terminal {
    fn begin(&self, step: &str, total: Option<u64>) {
        println!("{:7.2} s  {step} {}", self.start.elapsed().as_secs_f64(), total.map(|t| t.to_string()).unwrap_or_default());
    }
    fn advance(&self, n: u64) {
        let now = self.bytes.fetch_add(n, Ordering::Relaxed) + n;
        if now / (64 << 20) > self.printed.swap(now / (64 << 20), Ordering::Relaxed) {
            println!("{:7.2} s  {} MB", self.start.elapsed().as_secs_f64(), now >> 20);
        }
    }
    fn end(&self) {
        println!("{:7.2} s  done", self.start.elapsed().as_secs_f64());
    }
    fn say(&self, line: &str) {
        println!("{line}");
    }
}

fn secret(path: &Utf8Path, make: impl FnOnce() -> Vec<u8>) -> std::io::Result<Vec<u8>> {
    if let Ok(bytes) = std::fs::read(path) {
        return Ok(bytes);
    }
    let bytes = make();
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(&bytes)?;
    Ok(bytes)
}

fn apt_configuration() -> String {
    let mut text = std::fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
    for entry in std::fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten() {
        text += "\n";
        text += &std::fs::read_to_string(entry.path()).unwrap_or_default();
    }
    text
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let data = Utf8PathBuf::from(args.next().ok_or("want a data directory")?);
    let keyring = Keyring::from_bytes(&std::fs::read(args.next().ok_or("want upstream's keyring")?)?)?;
    let mut roots: Vec<String> = args.collect();
    if roots.is_empty() {
        roots = ROOTS.split_whitespace().map(str::to_owned).collect();
    }
    let apt = apt_configuration();
    let mirror = darksite::mirror_from_apt(&apt).ok_or("no Debian mirror in the apt configuration")?;
    let mut sources: Vec<Source> =
        ["trixie", "trixie-updates"].map(|s| Source { mirror: mirror.clone(), suite: s.into() }).into();
    if let Some(mirror) = darksite::security_mirror_from_apt(&apt) {
        sources.push(Source { mirror, suite: "trixie-security".into() });
    }
    let now = jiff::Timestamp::now();
    let join = |name: &str| data.join(name);
    let paths = Paths { blobs: join("blobs"), snapshots: join("snapshots"), tmp: join("tmp"), cache: join("cache") };
    let req = PlanRequest {
        sources,
        components: vec!["main".into()],
        architectures: vec!["amd64".into()],
        profile: RepoProfile::BaseUpdates,
        roots: BTreeMap::from([("base".to_owned(), roots)]),
        suite_name: "trixie".into(),
        clock: Clock::At(now),
        recommends: false,
        installer: false,
        required_udebs: Vec::new(),
        contents: false,
        allow_downgrade: false,
        paths: Some(paths.clone()),
    };
    let keys = data.join("example-keys");
    std::fs::create_dir_all(&keys)?;
    let site = secret(&keys.join("site"), || {
        let mut seed = vec![0u8; 32];
        host::random::fill(&mut seed).expect("the kernel has random bytes");
        seed
    })?;
    let site = SigningKey::from_bytes(&site[..].try_into()?);
    let key = secret(&keys.join("release"), || {
        ReleaseKey::generate("Kubedos release key", now).and_then(|k| k.to_secret_bytes()).expect("a key can be made").to_vec()
    })?;
    let key = ReleaseKey::from_secret_bytes(&key)?;

    let progress = Terminal { start: Instant::now(), bytes: AtomicU64::new(0), printed: AtomicU64::new(0) };
    let fetch = AnyFetch::new(HttpLimits::default());
    let plan = darksite::plan(&req, &fetch, &keyring, &progress)?;
    println!("{} packages, {} MB, snapshot {}", plan.lock.packages.len(), plan.lock.bytes() >> 20, plan.lock.id());
    for line in &plan.notes {
        println!("{line}");
    }
    let snapshot = darksite::build(&plan, &paths, &fetch, &key, &site, &progress)?;
    println!("{} (new: {})", snapshot.dir, snapshot.built);
    let report = darksite::verify(&snapshot.dir, &key.keyring()?, &site.verifying_key(), &progress)?;
    println!("verified {} files, {} MB", report.files, report.bytes >> 20);
    Ok(())
}
