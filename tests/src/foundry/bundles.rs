//! A netboot bundle that dnsmasq and nginx serve: machines start from it and become nodes of the seed, which serves no boot files
//! to them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::dirs::RunDirs;
use crate::fleet::Fleet;
use crate::member::Step;
use crate::netns::{BRIDGE, Netns, PREFIX};
use crate::say;
use crate::site::Template;
use crate::tool::{self, Background};
use crate::vm::{Accel, Firmware, Spec};

/// Address of the other server.
const OTHER: &str = "10.44.0.3";
const FLOW_LIMIT: Duration = Duration::from_secs(40 * 60);

pub fn run(dirs: &RunDirs, template: &Template, accel: Accel) -> Result<()> {
    let (work, logs) = dirs.part("pxe-bundle")?;
    let seedd = template.copy(&work.join("data"))?;
    let bundle = {
        let ns = Netns::lab(&format!("{PREFIX}{}-pxe", std::process::id()), &work)?;
        let output = seedd.output_build(&ns, "pxe-bundle", &[])?;
        output["directory"].as_str().map(PathBuf::from).context("no directory")?
    };
    // The seed leaves the segment's DHCP to the other server.
    let text = fs::read_to_string(seedd.cluster_file()).context("reading cluster.yaml")?;
    let reserved = text.replacen("    underlay:\n", "    underlay:\n      dhcp: {mode: reservation}\n", 1);
    ensure!(reserved != text, "the lab's cluster.yaml has no underlay");
    fs::write(seedd.cluster_file(), reserved).context("writing cluster.yaml")?;
    let mut fleet = Fleet::start(&format!("{PREFIX}{}-seed", std::process::id()), seedd, 0, &work, &logs)?;
    fleet.accel = accel;
    let other = Netns::lab_at(&format!("{PREFIX}{}-other", std::process::id()), &work, OTHER, &[])?;
    fleet.ns.cable("other", &other, "uplink", "52:54:00:6b:67:03")?;
    other.ip(&["link", "set", "uplink", "master", BRIDGE])?;
    let mut servers = serve(&other, &bundle, &work, &logs)?;
    fleet.add(Spec::new("bios", 81, Firmware::SeaBios))?;
    fleet.add(Spec::new("secure", 82, Firmware::OvmfSecure))?;
    fleet.until("machines from the bundle to be Converged", FLOW_LIMIT, |fleet| {
        servers.iter_mut().try_for_each(Background::must_run)?;
        for index in 0..fleet.members.len() {
            if let Some(code) = fleet.waiting_code(index) {
                fleet.approve(index, &code)?;
            }
        }
        Ok(fleet.all(Step::Converged))
    })?;
    let events = fleet.client.events()?;
    // It only sends what is installed to its disk.
    let agent = |e: &&crate::api::Event| !e.text.contains("local disk");
    let served = events.iter().filter(agent).find(|e| ["tftp.", "boot.", "dhcp.ack"].iter().any(|k| e.kind.starts_with(k)));
    ensure!(served.is_none(), "the seed served boot files or addresses: {served:?}");
    let asked = fs::read_to_string(work.join("nginx-access.log")).context("reading nginx's log")?;
    for name in ["boot.ipxe", "vmlinuz", "initrd.img"] {
        ensure!(asked.contains(&format!("GET /{name} ")), "nginx was not asked for {name}: {asked}");
    }
    let dhcp = tool::tail(&logs.join("dnsmasq.log"), 10_000);
    ensure!(dhcp.contains("/shimx64.efi to ") && dhcp.contains("/grub.cfg to "), "dnsmasq did not send shim's files");
    say::line("dnsmasq and nginx served everything that the machines started from");
    fleet.ns.must_be_quiet()?;
    other.must_be_quiet()
}

/// The bundle's own examples, with this lab's addresses and paths.
fn serve(ns: &Netns, bundle: &Path, work: &Path, logs: &Path) -> Result<Vec<Background>> {
    let example = |name: &str| {
        let path = bundle.join("examples").join(name);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    let dir = bundle.to_string_lossy();
    let dnsmasq = example("dnsmasq.conf")?
        .replace("interface=eth0", &format!("interface={BRIDGE}"))
        .replace("192.0.2.50,192.0.2.99", "10.44.0.150,10.44.0.199")
        .replace("192.0.2.1", OTHER)
        .replace("/srv/kubedos-pxe", &dir)
        .replace("dhcp-boot=tag:ipxe,boot.ipxe", &format!("dhcp-boot=tag:ipxe,http://{OTHER}/boot.ipxe"));
    let conf = work.join("dnsmasq.conf");
    fs::write(&conf, dnsmasq).context("writing dnsmasq.conf")?;
    let lease = format!("--dhcp-leasefile={}", work.join("dnsmasq.leases").display());
    let conf = format!("--conf-file={}", conf.display());
    let argv =
        ns.argv(&tool::words(&["dnsmasq", "--keep-in-foreground", "--port=0", "--user=root", "--log-facility=-", &conf, &lease]));
    let dhcp = Background::spawn("dnsmasq", &argv, &logs.join("dnsmasq.log"), None)?;
    let server = example("nginx.conf")?.replace("/srv/kubedos-pxe", &dir);
    let at = |name: &str| work.join(name).display().to_string();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {};\n", at(&format!("nginx-{kind}"))))
        .collect();
    let conf = format!(
        "user root;\ndaemon off;\npid {};\nevents {{}}\nhttp {{\naccess_log {};\n{temporary}{server}}}\n",
        at("nginx.pid"),
        at("nginx-access.log")
    );
    fs::write(work.join("nginx.conf"), conf).context("writing nginx.conf")?;
    let argv = ns.argv(&tool::words(&["nginx", "-c", &at("nginx.conf"), "-e", "stderr", "-p", &work.to_string_lossy()]));
    let web = Background::spawn("nginx", &argv, &logs.join("nginx.log"), None)?;
    Ok(vec![dhcp, web])
}
