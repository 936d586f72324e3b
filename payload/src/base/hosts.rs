//! The node's host name, and the hosts file.

use cluster_seed::cluster::CONTROL_PLANE;
use cluster_seed::identity::IdentityInfo;
use cluster_seed::peers::PeersFile;
use host::files::PUBLIC;

use super::context::{Base, BaseError, Change};

/// hostname(5): only the label.
pub(super) fn write_name(base: &Base<'_>) -> Result<Change, BaseError> {
    base.file("/etc/hostname", format!("{}\n", base.info.hostname.label()).as_bytes(), PUBLIC)
}

pub(super) fn write_hosts(base: &Base<'_>) -> Result<Change, BaseError> {
    base.file("/etc/hosts", hosts(base.info, base.peers).as_bytes(), PUBLIC)
}

/// hosts(5): every node by its address on the control plane, by name and by label.
pub fn hosts(info: &IdentityInfo, peers: &PeersFile) -> String {
    let me = &info.hostname;
    let mut text = format!(
        "# Written by kubedos-node from the signed peer list.\n127.0.0.1 localhost\n127.0.1.1 {me} {}\n\
         ::1 localhost ip6-localhost ip6-loopback\n",
        me.label()
    );
    for (name, node) in &peers.nodes {
        if let Some(address) = node.addresses.get(CONTROL_PLANE).filter(|_| name != me) {
            text.push_str(&format!("{address} {name} {}\n", name.label()));
        }
    }
    text
}
