use proxmox::read::ReadError;
use proxmox::ssh::SshError;

use crate::support::{Lab, ssh_error};

#[test]
fn a_host_is_used_only_after_its_key_was_confirmed_and_never_with_another_one() {
    let Some(lab) = Lab::start(&["pve1"]) else { return };
    let spec = lab.spec("{name: a, role: base}", "");
    let error = ssh_error(lab.plan(&spec).unwrap_err());
    assert!(matches!(error, SshError::NotPinned { .. }), "{error}");
    assert!(lab.commands("pve1", "").is_empty(), "nothing was run on it");
    lab.pin(&spec);
    lab.plan(&spec).unwrap();

    // Another machine at the same address, or somebody in between.
    let other = lab.dir.join("other");
    assert!(
        std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f", other.as_str()])
            .status()
            .unwrap()
            .success()
    );
    let public = std::fs::read_to_string(other.with_extension("pub")).unwrap();
    let line = format!("pve1 {}\n", public.split(' ').take(2).collect::<Vec<_>>().join(" "));
    std::fs::write(&lab.settings.known_hosts, line).unwrap();
    let before = lab.commands("pve1", "").len();
    let error = ssh_error(lab.plan(&spec).unwrap_err());
    let SshError::KeyChanged { pinned, shown, .. } = &error else { panic!("{error}") };
    assert!(pinned.starts_with("SHA256:") && shown.starts_with("SHA256:") && pinned != shown, "{error}");
    assert_eq!(lab.commands("pve1", "").len(), before);
}

#[test]
fn a_login_that_is_refused_and_a_host_that_is_silent_are_told_apart() {
    let Some(mut lab) = Lab::start(&["pve1"]) else { return };
    let spec = lab.spec("{name: a, role: base}", "");
    lab.pin(&spec);
    lab.settings.identity = Some(lab.state("pve1").join("hostkey"));
    let error = ssh_error(lab.plan(&spec).unwrap_err());
    assert!(matches!(error, SshError::Denied { .. }) && error.hint().contains("--identity"), "{error}");
    lab.settings.identity = Some(lab.dir.join("id"));
    // A port that nobody listens on any more.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut moved = spec.clone();
    moved.spec.substrate.as_mut().unwrap().hosts[0].port.value = free;
    let error = ssh_error(lab.plan(&moved).unwrap_err());
    assert!(matches!(error, SshError::Connect { .. }), "{error}");
}

#[test]
fn a_host_with_another_name_is_refused() {
    let Some(lab) = Lab::start(&["pve1"]) else { return };
    let spec = lab.spec("{name: a, role: base}", "");
    lab.pin(&spec);
    std::fs::write(lab.state("pve1").join("hostname.json"), "\"pve7.lan\"").unwrap();
    let error = lab.plan(&spec).unwrap_err();
    assert!(matches!(&error, ReadError::WrongHost { found, .. } if found == "pve7.lan"), "{error}");
}

#[test]
fn a_long_folder_for_sockets_costs_only_speed() {
    let Some(mut lab) = Lab::start(&["pve1"]) else { return };
    let spec = lab.spec("{name: a, role: base}", "");
    lab.pin(&spec);
    lab.settings.run_dir = lab.dir.join("x".repeat(100));
    lab.plan(&spec).unwrap();
}
