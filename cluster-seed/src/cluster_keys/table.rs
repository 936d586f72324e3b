//! Every key of cluster.yaml, section by section in the order of the file.

use super::{Key, NONE, REQUIRED, Section};

const fn key(name: &'static str, kind: &'static str, default: &'static str, limit: &'static str, about: &'static str) -> Key {
    Key { name, kind, default, limit, about }
}

/// One line per key: name, type and unit, default, limit, description.
#[rustfmt::skip]
pub const KEYS: &[Section] = &[
    Section { at: &[""], about: "The file itself: at most 1 MiB.", keys: &[
        key("apiVersion", "string", REQUIRED, "`kubedos/v1alpha1`", "Version of the format."),
        key("kind", "string", REQUIRED, "`Cluster`", "Kind of the document."),
        key("metadata", "section", REQUIRED, "", "Name of the site."),
        key("spec", "section", REQUIRED, "", "Settings of the site."),
    ] },
    Section { at: &["metadata"], about: "", keys: &[
        key("name", "string", REQUIRED, "one label of a-z, 0-9 and -", "Name of the site."),
    ] },
    Section { at: &["spec"], about: "", keys: &[
        key("networking", "section", REQUIRED, "", "Addresses: the boot network and the planes."),
        key("darksite", "section", REQUIRED, "", "What the Debian snapshot contains, and where nodes get packages from."),
        key("roles", "map", REQUIRED, "at least one; names are labels of a-z, 0-9 and -", "What a node can be installed as, by role name."),
        key("enrollment", "section", NONE, "", "Rules for enrollment."),
        key("ssh", "section", NONE, "", "SSH access to nodes."),
        key("time", "section", NONE, "", "Time servers."),
        key("acceptance", "section", NONE, "", "Target of `seedd drill`, and checks of `seedd accept`."),
        key("netboot", "section", NONE, "", "How machines boot."),
        key("extras", "section", NONE, "10,000 entries in all", "Files, images, charts and packages from other sources ([extras.md](extras.md))."),
        key("payload", "section", NONE, "", "The operator's Ansible roles ([converge.md](converge.md))."),
        key("nodes", "list", "[]", "at most 4,096 entries", "The machines of the site, where they are planned ([proxmox.md](proxmox.md))."),
        key("substrate", "section", NONE, "", "What they run on."),
        key("architectures", "list of words", "[amd64]", "`amd64`, `arm64`; `amd64` is required", "Architectures of the nodes. Netboot set and artifacts are built for each; the snapshot has the packages of each."),
    ] },
    Section { at: &["spec.networking"], about: "", keys: &[
        key("domain", "host name", REQUIRED, "", "Domain of all nodes: a node is `<label>.<domain>`, the seed `seed.<domain>`."),
        key("underlay", "section", REQUIRED, "", "The network that machines boot from."),
        key("planes", "map", REQUIRED, "names `wg1` to `wg99`; `wg1` is required", "WireGuard networks, by interface name. `wg1` is the control plane."),
        key("kubernetes", "section", NONE, "", "Networks of Kubernetes ([platform/network.md](platform/network.md)). The defaults are used if a role has the plays `controlplane` or `worker`."),
    ] },
    Section { at: &["spec.networking.planes.<name>"], about: "A WireGuard network. A node has the same host number on each; the seed is number 1.", keys: &[
        key("cidr", "IPv4 network", REQUIRED, "/29 or larger; no host bits; must not overlap another plane or the underlay", "Address range of the plane."),
        key("port", "integer, UDP port", REQUIRED, "1 to 65535; unique", "Port of the WireGuard interface on every member."),
        key("purpose", "string", "\"\"", "", "Description."),
    ] },
    Section { at: &["spec.networking.kubernetes"], about: "Must not overlap each other, a plane or the underlay.", keys: &[
        key("pods", "IPv4 network", "10.244.0.0/16", "/8 to /23", "Addresses of pods. Node number N has the Nth /24 of them."),
        key("services", "IPv4 network", "10.96.0.0/16", "/12 to /26", "Addresses of services."),
        key("domain", "domain", "cluster.local", "", "Domain of the names of services."),
    ] },
    Section { at: &["spec.networking.underlay"], about: "The boot network. `seedd cluster overlay` overrides this section at one location.", keys: &[
        key("subnet", "IPv4 network", REQUIRED, "/30 or larger", "The boot network."),
        key("seed", "IPv4 address", REQUIRED, "a host of `subnet`, outside the pool", "The seed's address."),
        key("pool", "section", REQUIRED, "", "Addresses for machines."),
        key("router", "IPv4 address", "null", "", "Default gateway of machines (DHCP option 3). Without it, machines get none."),
        key("dns", "list of IPv4 addresses", "[]", "", "Name servers (DHCP option 6). If empty: the seed's own address."),
        key("leaseSeconds", "integer, seconds", "3600", "120 or more", "Length of a DHCP lease."),
        key("dhcp", "section", NONE, "", "DHCP settings ([netboot.md](netboot.md))."),
    ] },
    Section {
        at: &["spec.networking.underlay.pool", "spec.networking.underlay.dhcp.pools[]", "spec.networking.underlay.dhcp.relayed[].pools[]",
            "spec.networking.underlay.dhcp.interfaces[].network.pools[]"],
        about: "A range of addresses.", keys: &[
        key("first", "IPv4 address", REQUIRED, "a host of the subnet", "First address."),
        key("last", "IPv4 address", REQUIRED, "a host of the subnet, `first` or later", "Last address."),
    ] },
    Section { at: &["spec.networking.underlay.dhcp"], about: "Each list has at most 4,096 entries.", keys: &[
        key("mode", "word", "auto", "`full`, `reservation`, `proxy`, `auto`", "`full`: addresses for every machine. `reservation`: only for machines with a reservation. `proxy`: boot files only, next to another DHCP server. `auto`: `full` while no other server answers, else `proxy`."),
        key("probe", "boolean", "true", "", "Probe an address with ARP before offering it."),
        key("reservations", "list", "[]", "no MAC or address twice", "Reserved addresses."),
        key("pools", "list", "[]", "", "More ranges of the subnet, in addition to `pool`."),
        key("mtu", "integer, bytes", "null", "576 to 65535", "MTU of the network (DHCP option 26)."),
        key("search", "list of host names", "[]", "", "DNS search list (DHCP option 119)."),
        key("routes", "list", "[]", "", "Static routes (DHCP option 121)."),
        key("options", "list", "[]", "", "DHCP options with any other number."),
        key("relayed", "list", "[]", "", "Networks behind DHCP relays."),
        key("relays", "list of IPv4 addresses", "[]", "", "Relays that are outside all of these networks, and name one (RFC 3527)."),
        key("interfaces", "list", "[]", "", "More interfaces of the seed, for example VLANs."),
    ] },
    Section {
        at: &["spec.networking.underlay.dhcp.reservations[]", "spec.networking.underlay.dhcp.relayed[].reservations[]",
            "spec.networking.underlay.dhcp.interfaces[].network.reservations[]"],
        about: "An address reserved for one machine.", keys: &[
        key("mac", "MAC address", REQUIRED, "", "The machine."),
        key("address", "IPv4 address", REQUIRED, "in the subnet", "Its address."),
        key("hostname", "host name", "null", "", "Its host name (DHCP option 12)."),
    ] },
    Section { at: &["spec.networking.underlay.dhcp.routes[]"], about: "A static route.", keys: &[
        key("to", "IPv4 network", REQUIRED, "", "Destination."),
        key("via", "IPv4 address", REQUIRED, "", "Gateway."),
    ] },
    Section {
        at: &["spec.networking.underlay.dhcp.options[]", "spec.networking.underlay.dhcp.relayed[].options[]",
            "spec.networking.underlay.dhcp.interfaces[].network.options[]"],
        about: "A DHCP option, with exactly one of `text`, `hex`, `addresses` and `number`.", keys: &[
        key("code", "integer", REQUIRED, "0 to 255, except options of the protocol itself", "Number of the option."),
        key("text", "string", NONE, "", "The value as text."),
        key("hex", "string", NONE, "pairs of hexadecimal digits; spaces and colons between them are ignored", "The value as bytes."),
        key("addresses", "list of IPv4 addresses", NONE, "", "The value as addresses."),
        key("number", "integer", NONE, "0 to 4294967295", "The value as a 32-bit number."),
    ] },
    Section {
        at: &["spec.networking.underlay.dhcp.relayed[]", "spec.networking.underlay.dhcp.interfaces[].network"],
        about: "Another network with its addresses.", keys: &[
        key("subnet", "IPv4 network", REQUIRED, "/30 or larger", "The network."),
        key("pools", "list", "[]", "", "Addresses for machines."),
        key("router", "IPv4 address", "null", "", "Default gateway. Without it: none behind a relay, the seed on an interface."),
        key("dns", "list of IPv4 addresses", "[]", "", "Name servers. If empty: the seed's address."),
        key("leaseSeconds", "integer, seconds", "null", "120 or more", "Length of a lease. Without it: that of the underlay."),
        key("reservations", "list", "[]", "", "Reserved addresses."),
        key("mtu", "integer, bytes", "null", "0 to 65535", "MTU of the network (DHCP option 26)."),
        key("options", "list", "[]", "", "DHCP options with any other number."),
    ] },
    Section { at: &["spec.networking.underlay.dhcp.interfaces[]"], about: "Another interface of the seed. Its address must be configured on the seed.", keys: &[
        key("interface", "string", REQUIRED, "1 to 15 characters", "Name of the interface, for example `eth0.100`."),
        key("seed", "IPv4 address", REQUIRED, "in `network.subnet`", "The seed's address on it."),
        key("mode", "word", "auto", "as `dhcp.mode`", "DHCP mode of this interface."),
        key("network", "section", REQUIRED, "", "The network on this interface."),
    ] },
    Section { at: &["spec.darksite"], about: "The Debian snapshot ([darksite.md](darksite.md)).", keys: &[
        key("suite", "string", REQUIRED, "", "Debian release, for example `trixie`."),
        key("components", "list of strings", "[main]", "at least one", "Components of the release."),
        key("architecture", "string", "amd64", "`amd64`", "Architecture of the seed."),
        key("moreArchitectures", "list of strings", "[]", "`amd64`, `arm64`", "Further architectures whose packages are in the snapshot."),
        key("mirror", "URL or absolute path", "null", "", "Debian mirror. Without it: the one that this machine's apt uses."),
        key("securityMirror", "URL, absolute path or `none`", "null", "", "Mirror of the security archive. Without it: apt's, or the one next to the mirror."),
        key("packages", "list of package names", "[]", "", "Additional packages that nodes may install later."),
        key("updates", "boolean", "false", "", "Older form of `profile: base+updates`."),
        key("profile", "word", "null", "`base`, `base+updates`, `full`", "Extent of the snapshot. `base`: what the roles need, as released. `base+updates`: the same with updates and security fixes. `full`: every package. Without it: `base`."),
        key("mode", "word", "darksite", "`connected`, `darksite`, `both`", "Package sources of nodes. `connected`: upstream. `darksite`: the seed. `both`: the seed first, then upstream."),
        key("recommends", "boolean", "false", "", "Include packages that the roles' packages recommend."),
        key("installer", "boolean", "false", "", "Include the Debian installer's packages and netboot images."),
        key("contents", "boolean", "false", "", "Include the `Contents` indexes that `apt-file` reads."),
    ] },
    Section { at: &["spec.roles.<name>"], about: "A role.", keys: &[
        key("description", "string", "\"\"", "", "Description."),
        key("packages", "list of package names", "[]", "", "Packages in addition to the base system, the kernel, SSH, WireGuard, Ansible, and what the plays need."),
        key("includes", "list of role names", "[]", "at most 64; no circle", "Roles whose packages, plays and variables come first."),
        key("plays", "list of strings", "[]", "64 with those of included roles", "What a node runs after the fabric gate, in this order: plays of the platform ([converge.md](converge.md)), or Ansible roles or playbooks of the payload."),
        key("vars", "map of YAML values", "{}", "64 KiB as JSON", "Ansible variables of the plays."),
        key("after", "list of role names", "[]", "at most 64; no circle", "Roles that must be healthy before nodes of this role run their plays for the first time, and that a change reaches first."),
        key("serial", "integer", "null", "1 to 4096", "Nodes of the role that a change reaches at once. Without it: 1."),
        key("maxUnavailable", "integer", "null", "1 to 4096", "A change waits while this many other nodes of the role are not healthy. Without it: 1."),
        key("count", "section", NONE, "", "How many nodes the role has."),
        key("disk", "word", "any", "`any`, `smallest`, `largest`", "The disk that the form of an approval recommends."),
    ] },
    Section { at: &["spec.roles.<name>.count"], about: "How many nodes a role has.", keys: &[
        key("min", "integer", "1", "1 to 4096", "The role starts once this many nodes have passed the fabric gate."),
        key("odd", "boolean", "false", "`min` must be odd too", "The role starts with an odd number of nodes only: for members that vote."),
    ] },
    Section { at: &["spec.enrollment"], about: "", keys: &[
        key("pendingMinutes", "integer, minutes", "1440", "", "An unapproved enrollment expires after this time."),
        key("maxWrongCodes", "integer", "5", "", "Wrong pairing codes of one operator before waits begin, which grow with each further one. Each wrong code makes its machine show a new one."),
        key("maxPending", "integer", "256", "", "Most pending enrollments."),
        key("installMinutes", "integer, minutes", "60", "", "An installation without a report for this time has failed."),
    ] },
    Section { at: &["spec.ssh"], about: "", keys: &[
        key("authorizedKeys", "list of strings", "[]", "public keys, one per entry", "Lines of root's authorized_keys on every node. There are no passwords."),
    ] },
    Section { at: &["spec.time"], about: "", keys: &[
        key("serve", "boolean", "true", "", "Announce the seed as NTP server (DHCP option 42), and serve time."),
        key("servers", "list of names or addresses", "[]", "at most 8", "NTP servers of the seed. If empty: the seed's own clock."),
    ] },
    Section { at: &["spec.acceptance"], about: "", keys: &[
        key("mttrTargetMinutes", "integer, minutes", "60", "1 to 10080", "Target for the time from the loss of the site to the first node at the second site."),
        key("required", "list of strings", "[]", "`planes`, `security`, `etcd`, `vip`, `containers`, `kubernetes`, `monitoring`, `time`, `egress`", "Checks that must pass for `seedd accept`."),
    ] },
    Section { at: &["spec.payload"], about: "The operator's Ansible roles ([converge.md](converge.md)).", keys: &[
        key("source", "absolute path", "null", "", "The directory. Without it: `payload` in the data directory."),
    ] },
    Section { at: &["spec.netboot"], about: "How machines boot ([netboot.md](netboot.md)).", keys: &[
        key("uefi", "word", "shim", "`shim`, `ipxe`", "Loader for UEFI machines. `shim`: Debian's signed shim and GRUB, with Secure Boot on or off. `ipxe`: iPXE, which Secure Boot refuses."),
        key("consoles", "list of words", "[]", "`vga`, `ttyS0` to `ttyS3`", "Kernel consoles; the agent shows its code first on the last one. If empty: `[vga, ttyS0]`."),
        key("kernelParameters", "list of strings", "[]", "each `name` or `name=value`", "More kernel parameters for the agent."),
        key("rescue", "word", "\"on\"", "`on`, `off`", "`on`: the menu offers a rescue shell. `off`: it does not, GRUB's menu cannot be edited, and netboot images built from then on refuse `kubedos.rescue`."),
    ] },
    Section { at: &["spec.extras"], about: "Each entry is pinned by its sha256.", keys: &[
        key("keys", "map", "{}", "", "OpenPGP certificates of signers, by a name for use below."),
        key("files", "list", "[]", "", "Files, served at `/darksite/extras/files/PATH`."),
        key("images", "list", "[]", "", "OCI layout archives, pulled from `/v2/NAME`."),
        key("charts", "list", "[]", "", "Helm charts, served as a repository at `/darksite/extras/charts`."),
        key("repositories", "map", "{}", "", "Package repositories, by a name for use in `packages`."),
        key("packages", "list", "[]", "", "Packages of these repositories, published as suite `extras` at `/darksite/extras/apt`."),
        key("debs", "list", "[]", "", "Single packages without a repository, published there too."),
        key("lintAllow", "list", "[]", "", "Files whose findings by `seedd darksite lint` are known and harmless."),
    ] },
    Section { at: &["spec.extras.keys.<name>"], about: "An OpenPGP certificate.", keys: &[
        key("url", "URL or absolute path", REQUIRED, "at most 2,048 characters", "Source."),
        key("sha256", "64 hex digits", REQUIRED, "", "Digest of the file."),
    ] },
    Section { at: &["spec.extras.files[]"], about: "A file.", keys: &[
        key("path", "relative path", REQUIRED, "at most 400 characters and 8 levels", "Path at which it is served."),
        key("url", "URL or absolute path", REQUIRED, "at most 2,048 characters", "Source."),
        key("sha256", "64 hex digits", REQUIRED, "", "Digest of the file."),
        key("signature", "section", NONE, "", "Detached signature to verify."),
    ] },
    Section {
        at: &["spec.extras.files[].signature", "spec.extras.images[].signature", "spec.extras.charts[].signature",
            "spec.extras.debs[].signature"],
        about: "A detached OpenPGP signature.", keys: &[
        key("url", "URL or absolute path", REQUIRED, "at most 2,048 characters", "Source."),
        key("key", "string", REQUIRED, "a name in `extras.keys`", "The signer."),
    ] },
    Section { at: &["spec.extras.images[]"], about: "A container image.", keys: &[
        key("name", "string", REQUIRED, "at most 255 characters", "Name with its registry, for example `registry.k8s.io/pause`."),
        key("tag", "string", REQUIRED, "at most 128 characters", "Tag."),
        key("url", "URL or absolute path", REQUIRED, "at most 2,048 characters", "Source of the OCI layout archive."),
        key("sha256", "64 hex digits", REQUIRED, "", "Digest of the archive."),
        key("signature", "section", NONE, "", "Detached signature to verify."),
    ] },
    Section { at: &["spec.extras.charts[]"], about: "A Helm chart.", keys: &[
        key("name", "string", REQUIRED, "at most 128 characters", "Name."),
        key("version", "string", REQUIRED, "at most 128 characters", "Version."),
        key("url", "URL or absolute path", REQUIRED, "at most 2,048 characters", "Source of the archive."),
        key("sha256", "64 hex digits", REQUIRED, "", "Digest of the archive."),
        key("signature", "section", NONE, "", "Detached signature to verify."),
    ] },
    Section { at: &["spec.extras.repositories.<name>"], about: "A package repository, verified by its signed Release file.", keys: &[
        key("url", "URL or absolute path", REQUIRED, "at most 2,048 characters", "Base of the repository."),
        key("suite", "string", REQUIRED, "", "Suite; for a flat repository `/`, or its folder with `/` at the end (sources.list(5))."),
        key("component", "string", "null", "", "Component; required unless the repository is flat."),
        key("key", "string", REQUIRED, "a name in `extras.keys`", "The signer."),
    ] },
    Section { at: &["spec.extras.packages[]"], about: "A package of a repository.", keys: &[
        key("repository", "string", REQUIRED, "a name in `extras.repositories`", "The repository."),
        key("package", "string", REQUIRED, "at most 128 characters", "Name of the package."),
        key("version", "string", REQUIRED, "at most 128 characters", "Version."),
        key("architecture", "string", "amd64", "", "Architecture."),
        key("sha256", "64 hex digits", REQUIRED, "", "Digest of the package."),
    ] },
    Section { at: &["spec.extras.debs[]"], about: "A single package.", keys: &[
        key("url", "URL or absolute path", REQUIRED, "at most 2,048 characters", "Source."),
        key("sha256", "64 hex digits", REQUIRED, "", "Digest of the package."),
        key("signature", "section", NONE, "", "Detached signature to verify."),
    ] },
    Section { at: &["spec.extras.lintAllow[]"], about: "A file with known findings.", keys: &[
        key("sha256", "64 hex digits", REQUIRED, "", "Digest of the file."),
        key("why", "string", REQUIRED, "", "Reason."),
    ] },
    Section { at: &["spec.nodes[]"], about: "A machine of the site. `examples/cluster-16.yaml` is a complete example.", keys: &[
        key("name", "string", REQUIRED, "one label of a-z, 0-9 and -; unique; not `seed`", "Host name, without the domain."),
        key("role", "string", REQUIRED, "a name in `roles`", "The role."),
        key("failureDomain", "string", "null", "with `substrate.hosts` that have one: one of theirs", "What fails together, for example a rack. Without it, nodes of one role are spread over all failure domains."),
        key("host", "string", "null", "a name in `substrate.hosts`", "The hypervisor. Without it, one is chosen."),
        key("resources", "section", NONE, "", "CPUs and memory."),
        key("disks", "list", "[]", "at most 16", "Disks; the first is the system disk. If empty: one disk of 32 GiB."),
        key("nics", "list", "[]", "at most 8", "NICs. If empty: one NIC on the default bridge."),
        key("vmid", "integer", "null", "100 to 999999999; unique", "Number of the virtual machine. Without it: `substrate.vmidBase` and the position in the list."),
    ] },
    Section { at: &["spec.nodes[].resources"], about: "", keys: &[
        key("cpus", "integer", "2", "1 to 1024", "Virtual CPUs."),
        key("memoryMiB", "integer, MiB", "4096", "512 to 16777216", "Memory."),
    ] },
    Section { at: &["spec.nodes[].disks[]"], about: "A disk.", keys: &[
        key("sizeGiB", "integer, GiB", REQUIRED, "1 to 65536", "Size."),
        key("storage", "string", "null", "2 to 64 characters", "Storage of the host. Without it: the host's default, or the substrate's."),
    ] },
    Section { at: &["spec.nodes[].nics[]"], about: "A NIC.", keys: &[
        key("mac", "MAC address", "null", "unicast; unique", "Its address. Without it: derived from the names of site and node."),
        key("bridge", "string", "null", "1 to 15 characters", "Bridge of the host. Without it: the host's default, or the substrate's."),
        key("vlan", "integer", "null", "1 to 4094", "VLAN tag (802.1Q)."),
        key("address", "IPv4 address", "null", "unique; not the seed's", "The address that the node is planned to have."),
    ] },
    Section { at: &["spec.substrate"], about: "What the nodes run on.", keys: &[
        key("type", "word", REQUIRED, "`proxmox`, `libvirt`, `baremetal`, `aws`", "Kind of the machines."),
        key("hosts", "list", "[]", "at most 256; at least one for `proxmox`", "Hypervisors."),
        key("storage", "string", "null", "2 to 64 characters", "Default storage of disks."),
        key("bridge", "string", "null", "1 to 15 characters", "Default bridge of NICs."),
        key("vmidBase", "integer", "9000", "100 to 999999999", "Number of the first virtual machine without a `vmid` of its own."),
        key("allowDestroy", "boolean", "false", "", "Virtual machines of this site may be removed or replaced. It is done only if the operator asks for it, too."),
        key("tags", "list of strings", "[]", "at most 16; a-z, 0-9 and - _ + .", "More tags for each virtual machine."),
    ] },
    Section { at: &["spec.substrate.hosts[]"], about: "A hypervisor.", keys: &[
        key("name", "string", REQUIRED, "one label of a-z, 0-9 and -; unique", "Its own host name, without domain."),
        key("address", "name or address", "null", "at most 253 characters", "For SSH. Without it: `name`."),
        key("user", "string", "root", "at most 32 characters", "User for SSH. Others than root need `sudo` without a password."),
        key("port", "integer, TCP port", "22", "1 to 65535", "Port of SSH."),
        key("storage", "string", "null", "2 to 64 characters", "Default storage on this host."),
        key("bridge", "string", "null", "1 to 15 characters", "Default bridge on this host."),
        key("failureDomain", "string", "null", "one label", "What fails together with it."),
    ] },
];
