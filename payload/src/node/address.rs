//! A static address for a machine without DHCP: from the kernel command line, from a NoCloud volume, or as it had when it was
//! installed.

use std::fs;
use std::time::Duration;

use camino::Utf8Path;
use cluster_seed::join::address::{AddressError, StaticAddress};
use cluster_seed::join::nocloud::{self, NETWORK_CONFIG, NetworkError};
use host::files::{FileError, PUBLIC, create_dirs, read_limited, write_atomic};
use host::hardware;
use host::tool::{Tool, ToolError};

use super::discover::Places;
use crate::layout::STATIC_NETWORK;

/// Sorts before 80-kubedos.network, which asks for DHCP.
const FILE: &str = "etc/systemd/network/70-kubedos-static.network";
const LIMIT: Duration = Duration::from_secs(30);
/// Largest file of an installation read, in bytes.
const MAX_BYTES: u64 = 4096;

#[derive(Debug, thiserror::Error)]
pub enum StaticError {
    #[error("reading ip= of the kernel command line")]
    Cmdline(#[from] AddressError),
    #[error("reading {NETWORK_CONFIG} of the NoCloud volume")]
    NoCloud(#[from] NetworkError),
    #[error("the network card for the static address {0} is not there")]
    NoCard(std::net::Ipv4Addr),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("reloading systemd-networkd")]
    Reload(#[from] ToolError),
}

/// Gives the first card its static address, if there is one. It stays over a restart.
pub fn settle(places: &Places<'_>) -> Result<(), StaticError> {
    if write(places)? {
        Tool::new("networkctl").arg("reload").timeout(LIMIT).run()?;
    }
    Ok(())
}

/// True if the file was written or changed.
fn write(places: &Places<'_>) -> Result<bool, StaticError> {
    let Some(text) = wanted(places)? else { return Ok(false) };
    let path = places.root.join(FILE);
    if fs::read(&path).is_ok_and(|held| held == text.as_bytes()) {
        return Ok(false);
    }
    create_dirs(path.parent().unwrap_or(places.root))?;
    write_atomic(&path, text.as_bytes(), PUBLIC)?;
    Ok(true)
}

fn wanted(places: &Places<'_>) -> Result<Option<String>, StaticError> {
    let cmdline = fs::read_to_string(places.root.join("proc/cmdline")).unwrap_or_default();
    let mut address = StaticAddress::of_cmdline(&cmdline)?;
    if address.is_none() {
        address = (places.volume)(NETWORK_CONFIG).map_or(Ok(None), |bytes| nocloud::network_config(&bytes))?;
    }
    match address {
        Some(address) => file_of(places.root, &address).map(Some),
        None => Ok(installed(places.dir)),
    }
}

/// The file of systemd-networkd for this address.
pub fn file_of(root: &Utf8Path, address: &StaticAddress) -> Result<String, StaticError> {
    let nics = hardware::nics(root);
    let nic = nics.iter().find(|nic| address.interface.is(&nic.name, nic.mac));
    nic.map(|nic| address.networkd(nic.mac)).ok_or(StaticError::NoCard(address.address))
}

/// What the RAM system left on the state partition.
fn installed(dir: &Utf8Path) -> Option<String> {
    String::from_utf8(read_limited(&dir.join(STATIC_NETWORK), MAX_BYTES).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_counts_before_the_volume_and_the_installation() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let put = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (name, mac) in [("ens3", "02:00:00:00:00:03"), ("ens4", "02:00:00:00:00:04")] {
            put(&format!("sys/class/net/{name}/type"), "1");
            put(&format!("sys/class/net/{name}/address"), mac);
            put(&format!("sys/class/net/{name}/device/x"), "");
        }
        let config = "version: 2\nethernets: {ens4: {addresses: [10.0.0.4/24]}}";
        let volume = |there: bool| move |name: &str| (there && name == NETWORK_CONFIG).then(|| config.as_bytes().to_vec());
        let (with, without) = (volume(true), volume(false));
        let state = root.join("state");
        let places = |volume| Places { root, dir: &state, volume, words: &[] };
        let held = || fs::read_to_string(root.join(FILE)).unwrap_or_default();
        assert!(!write(&places(&without)).unwrap() && held().is_empty());
        put("state/static.network", "as installed");
        assert!(write(&places(&without)).unwrap() && held() == "as installed");
        assert!(write(&places(&with)).unwrap());
        assert!(held().contains("Address=10.0.0.4/24") && held().contains("MACAddress=02:00:00:00:00:04"), "{}", held());
        assert!(!write(&places(&with)).unwrap(), "unchanged");
        put("proc/cmdline", "ip=10.0.0.3:::255.255.255.0");
        assert!(write(&places(&with)).unwrap());
        assert!(held().contains("Address=10.0.0.3/24") && held().contains("MACAddress=02:00:00:00:00:03"), "{}", held());
        put("proc/cmdline", "ip=10.0.0.3:::255.255.255.0::eth9");
        assert!(matches!(write(&places(&with)), Err(StaticError::NoCard(_))));
        put("proc/cmdline", "ip=10.0.0.3");
        assert!(matches!(write(&places(&with)), Err(StaticError::Cmdline(AddressError::NoMask))));
    }
}
