//! The site: the reference of three nodes, a payload of the operator's own, and an image among the extras.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use cluster_seed::ids::Digest;

use crate::netns::{Netns, PREFIX};
use crate::say;
use crate::seedd::Seedd;
use crate::site::Template;

/// The address that moves between the nodes.
pub const VIP: &str = "10.80.255.1";
/// An image that runs without anything else: a static program of ours. Not the agent, which is an init where it is process 1.
pub const IMAGE: &str = "registry.example.org/team/agent";
pub const TAG: &str = "1.0";
const PROGRAM: &str = "kubedos-flow";

/// The reference that the documentation tells operators to begin with.
const REFERENCE: &str = include_str!("../../../examples/three-nodes/cluster.yaml");
const ROLES: &str = "  roles:\n";

/// What the lab adds to the reference: an image and a play of the operator's own, a data disk, patience for emulated processors.
const ADDED: [(&str, &str); 2] = [
    (
        "    base:\n      plays: [exporters, vip, logs]\n      vars: {",
        "    base:\n      packages: [iputils-ping, git]\n      plays: [exporters, vip, logs, greeting]\n      vars: {greeting_words: hello, \
         etcd_heartbeat_ms: 1000, etcd_election_ms: 10000, \
         lb_check_interval: 10s, monitoring_interval: 2m, ",
    ),
    (
        "      plays: [etcd, loadbalancer, containers]\n",
        "      packages: [nfs-common]\n      plays: [etcd, loadbalancer, containers, podman, storage]\n      vars: {storage_disk: empty}\n",
    ),
];

/// A role that another one includes.
const MARKER: &str = "- name: marker
  ansible.builtin.copy: {content: \"common\\n\", dest: /etc/marker, mode: '0644'}
";

/// The operator's own role: one file.
const GREETING: &str = "- name: greeting
  ansible.builtin.copy:
    content: \"{{ greeting_words }} {{ kubedos.label }}\\n\"
    dest: /etc/greeting
    mode: '0644'
";

/// For the shorter tests, without a package more: the role `base` includes another one, and each has a play of the operator's own.
pub fn small(seedd: &Seedd) -> Result<()> {
    const OLD: &str = "      packages: [iputils-ping]\n";
    let text = fs::read_to_string(seedd.cluster_file()).context("reading cluster.yaml")?;
    ensure!(text.contains(OLD), "cluster.yaml has no line {OLD:?}");
    let new = format!(
        "{OLD}      includes: [common]\n      plays: [greeting]\n      vars: {{greeting_words: hello}}\n    common: {{plays: [marker]}}\n"
    );
    fs::write(seedd.cluster_file(), text.replacen(OLD, &new, 1)).context("writing cluster.yaml")?;
    let marker = seedd.data.join("payload/ansible/roles/marker/tasks");
    fs::create_dir_all(&marker).context("making the payload")?;
    fs::write(marker.join("main.yml"), MARKER).context("writing the payload")?;
    greeting(seedd)?;
    seedd.say(&["payload", "publish"]).map(drop)
}

/// What [`small`] leaves on a node.
pub fn small_ran(label: &str, read: impl Fn(&str) -> Result<String>) -> Result<()> {
    let (marker, greeting) = (read("cat /etc/marker")?, read("cat /etc/greeting")?);
    ensure!(marker.trim() == "common" && greeting.trim() == format!("hello {label}"), "{label}: {marker:?}, {greeting:?}");
    Ok(())
}

/// The reference's roles in place of those of a cluster.yaml.
fn with_roles(text: &str) -> Result<String> {
    let mut roles = REFERENCE[REFERENCE.find(ROLES).context("the reference has no roles")?..].to_owned();
    for (from, to) in ADDED {
        ensure!(roles.contains(from), "the reference has no {from:?}");
        roles = roles.replacen(from, to, 1);
    }
    let begin = text.find(ROLES).context("cluster.yaml has no roles")?;
    let end = text[begin..].find("  enrollment:\n").context("cluster.yaml has no enrollment")? + begin;
    Ok(format!("{}{roles}{}", &text[..begin], &text[end..]))
}

pub fn payload(seedd: &Seedd, tasks: &str) -> Result<()> {
    let dir = seedd.data.join("payload/ansible/roles/greeting/tasks");
    fs::create_dir_all(&dir).context("making the payload")?;
    fs::write(dir.join("main.yml"), tasks).context("writing the payload")
}

pub fn greeting(seedd: &Seedd) -> Result<()> {
    payload(seedd, GREETING)
}

pub fn site(template: &Template, work: &Path, logs: &Path) -> Result<Seedd> {
    let seedd = template.copy(&work.join("data"))?;
    let text = fs::read_to_string(seedd.cluster_file()).context("reading cluster.yaml")?;
    let extras = image(&seedd, &work.join("image"))?;
    let required = "  acceptance:\n    required: [planes, security, etcd, vip, containers, monitoring, time, egress]\n";
    let text = with_roles(&text)?.replacen("  acceptance:\n", required, 1);
    fs::write(seedd.cluster_file(), text + &extras).context("writing cluster.yaml")?;
    let check = seedd.cluster_check()?;
    ensure!(check.code == 0, "{}", check.stderr);
    say::line("seedd darksite build, with the packages of the platform");
    seedd.darksite_build(&logs.join("darksite-build.log"))?;
    seedd.say(&["darksite", "extras", "fetch"])?;
    greeting(&seedd)?;
    say::line(seedd.say(&["payload", "publish"])?.trim());
    say::line("seedd image build, roles core and watch");
    let ns = Netns::lab(&format!("{PREFIX}{}-core", std::process::id()), work)?;
    seedd.image_build_of(&ns, &["core", "watch"], &logs.join("image-build.log"))?;
    ns.must_be_quiet()?;
    Ok(seedd)
}

/// The extras: an image of one layer with one static program.
fn image(seedd: &Seedd, dir: &Path) -> Result<String> {
    fs::create_dir_all(dir.join("root")).context("making an image")?;
    let agent = seedd.program.with_file_name("../x86_64-unknown-linux-gnu/agent").join(PROGRAM);
    fs::copy(&agent, dir.join("root").join(PROGRAM)).with_context(|| format!("copying {}", agent.display()))?;
    let config = serde_json::json!({"Entrypoint": [format!("/{PROGRAM}"), "--version"]});
    let (archive, _, _) = crate::extras::archive(dir, PROGRAM, &config)?;
    let digest = Digest::of(&fs::read(&archive).context("reading the image")?);
    Ok(format!("  extras:\n    images: [{{name: {IMAGE}, tag: \"{TAG}\", url: {}, sha256: {digest}}}]\n", archive.display()))
}
