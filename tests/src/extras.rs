//! Extras from cluster.yaml to the programs that use them: containerd, apt, curl.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Error, Result, ensure};
use cluster_seed::ids::Digest;
use kubedos_skip as skip;

use crate::daemon::Daemon;
use crate::netns::{Netns, PREFIX, SEED_IP};
use crate::prove::Bench;
use crate::stop;
use crate::tool::{self, Background};

const IMAGE: &str = "registry.example.org/team/hello";
const TAG: &str = "1.0";
const FILE: &str = "content of a file\n";

/// What was made on the connected side.
struct Upstream {
    dir: PathBuf,
    manifest: Digest,
    layer: Digest,
    /// As cluster.yaml wants it.
    yaml: String,
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Writes a blob of an OCI layout.
fn blob(layout: &Path, bytes: &[u8]) -> Result<(String, usize)> {
    let digest = Digest::of(bytes).to_string();
    let dir = layout.join("blobs/sha256");
    fs::create_dir_all(&dir).context("making a layout")?;
    fs::write(dir.join(&digest), bytes).context("writing a blob")?;
    Ok((digest, bytes.len()))
}

/// An image of one layer as an archive (OCI image-spec 1.0, image-layout.md): `what` of `<dir>/root`, with this configuration.
pub fn archive(dir: &Path, what: &str, settings: &serde_json::Value) -> Result<(PathBuf, Digest, Digest)> {
    let (root, layout) = (dir.join("root"), dir.join("layout"));
    tool::run(&["tar", "-C", &text(&root), "--numeric-owner", "-cf", &text(&dir.join("layer.tar")), what])?;
    let (layer, layer_size) = blob(&layout, &fs::read(dir.join("layer.tar")).context("reading the layer")?)?;
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]}});
    let (config, config_size) = blob(&layout, config.to_string().as_bytes())?;
    let part = |kind: &str, digest: &str, size: usize| serde_json::json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": format!("sha256:{digest}"), "size": size});
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": part("config.v1+json", &config, config_size), "layers": [part("layer.v1.tar", &layer, layer_size)]});
    let (manifest, size) = blob(&layout, manifest.to_string().as_bytes())?;
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [part("manifest.v1+json", &manifest, size)]});
    fs::write(layout.join("index.json"), index.to_string()).context("writing the layout")?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).context("writing the layout")?;
    let archive = dir.join("image.tar");
    tool::run(&["tar", "-C", &text(&layout), "-cf", &text(&archive), "."])?;
    Ok((archive, manifest.parse()?, layer.parse()?))
}

/// An image with one file.
fn image(dir: &Path) -> Result<(PathBuf, Digest, Digest)> {
    let root = dir.join("root");
    fs::create_dir_all(root.join("srv")).context("making a root")?;
    fs::write(root.join("srv/hello"), FILE).context("writing into the root")?;
    archive(dir, "srv", &serde_json::json!({}))
}

fn upstream(dir: &Path) -> Result<Upstream> {
    fs::create_dir_all(dir.join("chart/hello")).context("making a chart")?;
    fs::create_dir_all(dir.join("deb/DEBIAN")).context("making a package")?;
    let (archive, manifest, layer) = image(dir)?;
    fs::write(dir.join("chart/hello/Chart.yaml"), "apiVersion: v2\nname: hello\nversion: 0.1.0\n").context("writing a chart")?;
    let chart = dir.join("hello-0.1.0.tgz");
    tool::run(&["tar", "-C", &text(&dir.join("chart")), "-czf", &text(&chart), "hello"])?;
    let control = "Package: hello-extra\nVersion: 1\nArchitecture: all\nMaintainer: Lab <lab@example.org>\nDescription: lab\n";
    fs::write(dir.join("deb/DEBIAN/control"), control).context("writing a package")?;
    let deb = dir.join("hello-extra_1_all.deb");
    tool::run(&["dpkg-deb", "-Zxz", "-b", &text(&dir.join("deb")), &text(&deb)])?;
    let file = dir.join("file");
    fs::write(&file, FILE).context("writing a file")?;
    let pinned = |path: &Path| -> Result<String> {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(format!("url: {}, sha256: {}", path.display(), Digest::of(&bytes)))
    };
    let yaml = format!(
        "  extras:\n    files: [{{path: lab/file, {}}}]\n    images: [{{name: {IMAGE}, tag: \"{TAG}\", {}}}]\n    \
         charts: [{{name: hello, version: 0.1.0, {}}}]\n    debs: [{{{}}}]\n",
        pinned(&file)?,
        pinned(&archive)?,
        pinned(&chart)?,
        pinned(&deb)?,
    );
    Ok(Upstream { dir: dir.to_owned(), manifest, layer, yaml })
}

/// The case: everything is fetched, served, and taken by whoever takes it on a node.
pub fn taken(bench: &Bench<'_>) -> Result<()> {
    let work = bench.work.join("extras");
    let up = upstream(&work)?;
    let seedd = bench.copy("extras-site")?;
    let cluster = fs::read_to_string(seedd.cluster_file()).context("reading cluster.yaml")?;
    fs::write(seedd.cluster_file(), cluster + &up.yaml).context("writing cluster.yaml")?;
    seedd.say(&["darksite", "extras", "fetch"])?;
    seedd.say_plain(&["darksite", "extras", "verify"])?;
    let ns = Netns::lab(&format!("{PREFIX}{}-extras", std::process::id()), &work)?;
    let mut daemon = Daemon::new(0, &bench.logs.join("extras-seedd.log"))?;
    daemon.start(&ns, &seedd)?;
    let get = |path: &str| ns.run(&["curl", "-sS", "--fail", "--max-time", "60", &format!("http://{SEED_IP}{path}")]);
    ensure!(get("/darksite/extras/files/lab/file")? == FILE, "the file differs");
    let charts = get("/darksite/extras/charts/index.yaml")?;
    ensure!(charts.contains("hello-0.1.0.tgz"), "the charts' index: {charts}");
    get("/darksite/extras/charts/hello-0.1.0.tgz").context("fetching the chart as Helm does")?;
    apt(&ns, &up.dir)?;
    containerd(&ns, &up, &bench.logs)?;
    ns.must_be_quiet()
}

/// A state of apt's own: it asks the seed for the suite of extras, and downloads what is in it.
fn apt(ns: &Netns, dir: &Path) -> Result<()> {
    let root = dir.join("apt");
    for name in ["lists/partial", "cache/archives/partial", "out"] {
        fs::create_dir_all(root.join(name)).context("making a state for apt")?;
    }
    fs::write(root.join("status"), "").context("making a state for apt")?;
    let base = format!("http://{SEED_IP}/darksite/extras/apt");
    let keyring = text(&root.join("keyring.gpg"));
    ns.run(&["curl", "-sS", "--fail", "-o", &keyring, &format!("{base}/keyring.gpg")])?;
    let line = format!("deb [signed-by={keyring}] {base} extras main\n");
    fs::write(root.join("sources.list"), line).context("writing apt's sources")?;
    let options = format!(
        "Dir::Etc::sourcelist={0}/sources.list Dir::Etc::sourceparts=- Dir::Etc::main=/dev/null Dir::Etc::parts=- \
         Dir::Etc::trustedparts=- Dir::State::lists={0}/lists Dir::State::status={0}/status Dir::Cache={0}/cache \
         APT::Sandbox::User= Acquire::Languages=none APT::Update::Error-Mode=any",
        root.display()
    );
    let out = text(&root.join("out"));
    let apt = |args: &[&str]| {
        let mut argv = vec!["env", "-C", &out, "apt-get", "-q"];
        argv.extend(options.split_whitespace().flat_map(|o| ["-o", o]));
        argv.extend_from_slice(args);
        ns.run(&argv)
    };
    apt(&["update"])?;
    apt(&["download", "hello-extra"])?;
    let got = fs::read(root.join("out/hello-extra_1_all.deb")).context("reading what apt fetched")?;
    ensure!(fs::read(dir.join("hello-extra_1_all.deb")).is_ok_and(|sent| sent == got), "apt fetched different bytes");
    Ok(())
}

/// Pulls by the seed's own name, and by the registry's name with the seed standing in for it.
fn containerd(ns: &Netns, up: &Upstream, logs: &Path) -> Result<()> {
    if tool::find("containerd").is_none() || tool::find("ctr").is_none() {
        return skip::note("containerd", "is not installed").map_err(Error::msg);
    }
    let dir = up.dir.join("containerd");
    let hosts = dir.join("certs.d/registry.example.org");
    fs::create_dir_all(&hosts).context("making containerd's directory")?;
    let host = format!("server = \"http://{SEED_IP}\"\n[host.\"http://{SEED_IP}\"]\n  capabilities = [\"pull\", \"resolve\"]\n");
    fs::write(hosts.join("hosts.toml"), host).context("writing hosts.toml")?;
    let socket = text(&dir.join("sock"));
    let config = format!(
        "version = 2\nroot = \"{0}/root\"\nstate = \"{0}/state\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
         [grpc]\n  address = \"{socket}\"\n",
        dir.display()
    );
    let file = dir.join("config.toml");
    fs::write(&file, config).context("writing containerd's configuration")?;
    let argv = ns.argv(&tool::words(&["containerd", "--config", &text(&file)]));
    let _daemon = Background::spawn("containerd", &argv, &logs.join("containerd.log"), None)?;
    let ctr = |args: &[&str]| ns.outcome(&[&["ctr", "--address", &socket][..], args].concat());
    stop::wait_for("containerd", Duration::from_secs(60), || Ok((ctr(&["version"])?.code == 0).then_some(())))?;
    let by_seed = format!("{SEED_IP}/{IMAGE}:{TAG}");
    let by_registry = format!("{IMAGE}:{TAG}");
    let hosts_dir = text(&dir.join("certs.d"));
    for (how, name) in [(&["--plain-http"][..], by_seed.as_str()), (&["--hosts-dir", &hosts_dir][..], by_registry.as_str())] {
        // `native` copies instead of mounting, so it runs in a container too.
        let pull = [&["images", "pull", "--snapshotter", "native"][..], how, &[name][..]].concat();
        let out = ctr(&pull)?;
        ensure!(out.code == 0, "pulling {name}: {}{}", out.stdout, out.stderr);
        let list = ctr(&["images", "ls", &format!("name=={name}")])?.stdout;
        ensure!(list.contains(&up.manifest.to_string()), "{name} is another image: {list}");
    }
    let layer = ctr(&["content", "get", &format!("sha256:{}", up.layer)])?;
    ensure!(layer.stdout.contains(FILE.trim()), "the layer differs");
    let unknown = ctr(&["images", "pull", "--plain-http", &format!("{SEED_IP}/{IMAGE}:2.0")])?;
    ensure!(unknown.code != 0, "a missing tag was pulled");
    Ok(())
}
