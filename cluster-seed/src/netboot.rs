//! DHCP and network boot settings of a site: `networking.underlay.dhcp` and `netboot` of cluster.yaml.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::ids::{Hostname, Mac};

/// Most entries of a list.
pub const MAX_LIST: usize = 4_096;

/// DHCP mode of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Addresses from the pools, to everyone.
    Full,
    /// Addresses for machines with a reservation only.
    Reservation,
    /// Boot files only, next to another DHCP server.
    Proxy,
    /// `full` while no other server answers, else `proxy`.
    #[default]
    Auto,
}

/// Addresses from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pool {
    pub first: Ipv4Addr,
    pub last: Ipv4Addr,
}

/// DHCP on the boot network.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DhcpSpec {
    pub mode: Mode,
    /// Probe an address with ARP before it is offered.
    pub probe: bool,
    pub reservations: Vec<ReservationSpec>,
    /// Further ranges of the subnet.
    pub pools: Vec<Pool>,
    /// Option 26, in bytes (576 to 65535).
    pub mtu: Option<u16>,
    /// Option 119.
    pub search: Vec<Hostname>,
    /// Option 121.
    pub routes: Vec<RouteSpec>,
    /// Options of any other number.
    pub options: Vec<OptionSpec>,
    /// Networks behind relays.
    pub relayed: Vec<NetworkSpec>,
    /// Addresses of relays outside all networks, which name a network (RFC 3527).
    pub relays: Vec<Ipv4Addr>,
    /// More interfaces of the seed, such as VLANs.
    pub interfaces: Vec<InterfaceSpec>,
}

impl Default for DhcpSpec {
    fn default() -> Self {
        DhcpSpec {
            mode: Mode::default(),
            probe: true,
            reservations: Vec::new(),
            pools: Vec::new(),
            mtu: None,
            search: Vec::new(),
            routes: Vec::new(),
            options: Vec::new(),
            relayed: Vec::new(),
            relays: Vec::new(),
            interfaces: Vec::new(),
        }
    }
}

/// An address reserved for one machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReservationSpec {
    pub mac: Mac,
    pub address: Ipv4Addr,
    #[serde(default)]
    pub hostname: Option<Hostname>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteSpec {
    pub to: Ipv4Net,
    pub via: Ipv4Addr,
}

/// One DHCP option with its value in exactly one of the forms.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OptionSpec {
    pub code: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Pairs of hexadecimal digits; spaces and colons between them are ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hex: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<Ipv4Addr>>,
    /// A 32-bit number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
}

impl OptionSpec {
    /// The value as sent; or an error message.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        let text = self.text.as_ref().map(|t| Ok(t.as_bytes().to_vec()));
        let digits = self.hex.as_ref().map(|h| {
            let digits: String = h.chars().filter(|c| !matches!(c, ' ' | ':')).collect();
            hex::decode(digits).map_err(|_| format!("option {}: {h:?} is not hexadecimal", self.code))
        });
        let addresses = self.addresses.as_ref().map(|a| Ok(a.iter().flat_map(|ip| ip.octets()).collect()));
        let number = self.number.map(|n| Ok(n.to_be_bytes().to_vec()));
        let mut found = [text, digits, addresses, number].into_iter().flatten();
        match (found.next(), found.next()) {
            (Some(value), None) => value,
            _ => Err(format!("option {} needs one of text, hex, addresses and number", self.code)),
        }
    }
}

/// A network with its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkSpec {
    pub subnet: Ipv4Net,
    #[serde(default)]
    pub pools: Vec<Pool>,
    #[serde(default)]
    pub router: Option<Ipv4Addr>,
    #[serde(default)]
    pub dns: Vec<Ipv4Addr>,
    /// Default: as on the boot network.
    #[serde(default)]
    pub lease_seconds: Option<u32>,
    #[serde(default)]
    pub reservations: Vec<ReservationSpec>,
    #[serde(default)]
    pub mtu: Option<u16>,
    #[serde(default)]
    pub options: Vec<OptionSpec>,
}

/// Another interface of the seed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InterfaceSpec {
    /// Name of the interface, for example `eth0.100`; the operator has to configure its address.
    pub interface: String,
    /// The seed's address on it; also the default router, so that machines reach the seed.
    pub seed: Ipv4Addr,
    #[serde(default)]
    pub mode: Mode,
    pub network: NetworkSpec,
}

/// Loader for UEFI machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UefiLoader {
    /// Debian's signed shim and GRUB: with Secure Boot on and off.
    #[default]
    Shim,
    /// iPXE, which Secure Boot refuses.
    Ipxe,
}

/// How machines boot.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetbootSpec {
    pub uefi: UefiLoader,
    /// `vga` or `ttyS0` to `ttyS3`; the agent shows its code first on the last one. Default: `[vga, ttyS0]`.
    pub consoles: Vec<ConsoleSpec>,
    /// Kernel parameters for the agent, each `name` or `name=value`.
    pub kernel_parameters: Vec<String>,
    pub rescue: Rescue,
}

/// Whether somebody at a machine's console may have a shell before the machine is a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Rescue {
    /// The menu has a rescue entry.
    #[default]
    On,
    /// No entry, no editing of GRUB's menu, and the netboot image refuses `kubedos.rescue`.
    Off,
}

impl Rescue {
    pub fn is_off(self) -> bool {
        self == Rescue::Off
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum ConsoleSpec {
    #[serde(rename = "vga")]
    Vga,
    #[serde(rename = "ttyS0")]
    Serial0,
    #[serde(rename = "ttyS1")]
    Serial1,
    #[serde(rename = "ttyS2")]
    Serial2,
    #[serde(rename = "ttyS3")]
    Serial3,
}

impl DhcpSpec {
    /// One line that helps to compare two of them.
    pub fn summary(&self) -> String {
        let mode = match self.mode {
            Mode::Full => "full",
            Mode::Reservation => "reservation",
            Mode::Proxy => "proxy",
            Mode::Auto => "auto",
        };
        let counts = [
            (self.reservations.len(), "reservations"),
            (self.options.len(), "options"),
            (self.relayed.len(), "networks behind relays"),
            (self.interfaces.len(), "more interfaces"),
        ];
        let told = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {n} {what}"));
        std::iter::once(format!("mode {mode}")).chain(told).collect()
    }

    /// The first problem, as text. The DHCP server checks addresses against their networks, too.
    pub(crate) fn check(&self, subnet: Ipv4Net) -> Result<(), String> {
        let lists = [self.reservations.len(), self.relayed.len(), self.interfaces.len(), self.options.len(), self.routes.len()];
        if lists.into_iter().any(|n| n > MAX_LIST) {
            return Err(format!("dhcp: more than {MAX_LIST} entries"));
        }
        if self.mtu.is_some_and(|m| m < 576) {
            return Err("dhcp.mtu is below 576".into());
        }
        check_network(subnet, &self.pools, &self.reservations)?;
        self.options.iter().try_for_each(|o| o.bytes().map(|_| ()))?;
        let interfaces = self.interfaces.iter().map(|i| &i.network);
        for network in self.relayed.iter().chain(interfaces) {
            check_network(network.subnet, &network.pools, &network.reservations)?;
            network.options.iter().try_for_each(|o| o.bytes().map(|_| ()))?;
            if network.lease_seconds.is_some_and(|s| s < 120) {
                return Err(format!("dhcp: leaseSeconds of {} is below 120", network.subnet));
            }
        }
        for InterfaceSpec { interface, seed, network, .. } in &self.interfaces {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@');
            if interface.is_empty() || interface.len() > 15 || !interface.chars().all(plain) {
                return Err(format!("dhcp.interfaces: {interface:?} is not an interface name"));
            }
            if !network.subnet.contains(seed) {
                return Err(format!("dhcp.interfaces: the seed's address {seed} is not in {}", network.subnet));
            }
        }
        Ok(())
    }
}

fn check_network(subnet: Ipv4Net, pools: &[Pool], reservations: &[ReservationSpec]) -> Result<(), String> {
    if !(1..=30).contains(&subnet.prefix_len()) {
        return Err(format!("dhcp: {subnet} has no addresses for machines; use /30 or larger"));
    }
    for pool in pools {
        if pool.first > pool.last || !subnet.contains(&pool.first) || !subnet.contains(&pool.last) {
            return Err(format!("dhcp: the pool {} to {} is not within {subnet}", pool.first, pool.last));
        }
    }
    for (n, reservation) in reservations.iter().enumerate() {
        if !subnet.contains(&reservation.address) {
            return Err(format!("dhcp: {} (reserved for {}) is not in {subnet}", reservation.address, reservation.mac));
        }
        let same = |r: &&ReservationSpec| r.mac == reservation.mac || r.address == reservation.address;
        if let Some(twice) = reservations[..n].iter().find(same) {
            return Err(format!("dhcp: the reservations of {} and {} conflict", twice.mac, reservation.mac));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(yaml: &str) -> Result<Vec<u8>, String> {
        serde_saphyr::from_str::<OptionSpec>(yaml).map_err(|e| e.to_string())?.bytes()
    }

    #[test]
    fn an_option_has_one_value() {
        assert_eq!(option("{code: 252, text: abc}").unwrap(), b"abc");
        assert_eq!(option("{code: 43, hex: \"06 01:08ff\"}").unwrap(), [6, 1, 8, 255]);
        assert_eq!(option("{code: 150, addresses: [10.0.0.1, 10.0.0.2]}").unwrap(), [10, 0, 0, 1, 10, 0, 0, 2]);
        assert_eq!(option("{code: 2, number: 3600}").unwrap(), 3600u32.to_be_bytes());
        for bad in
            ["{code: 1}", "{code: 1, text: a, number: 1}", "{code: 1, hex: 0}", "{code: 1, hex: zz}", "{code: 256, text: a}"]
        {
            assert!(option(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_rescue_shell_is_on_unless_it_is_switched_off() {
        let rescue = |yaml: &str| serde_saphyr::from_str::<NetbootSpec>(yaml).map(|n| n.rescue).map_err(|e| e.to_string());
        assert_eq!(rescue("{}"), Ok(Rescue::On));
        for (yaml, want) in [("rescue: on", Rescue::On), ("rescue: off", Rescue::Off), ("{rescue: 'off'}", Rescue::Off)] {
            assert_eq!(rescue(yaml), Ok(want), "{yaml}");
        }
        assert!(rescue("rescue: maybe").is_err());
    }

    fn dhcp(yaml: &str) -> Result<(), String> {
        let spec: DhcpSpec = serde_saphyr::from_str(yaml).map_err(|e| e.to_string())?;
        spec.check("10.0.0.0/24".parse().unwrap())
    }

    #[test]
    fn contradictions_are_reported() {
        assert_eq!(DhcpSpec::default().check("10.0.0.0/24".parse().unwrap()), Ok(()));
        let good = "{mode: proxy, reservations: [{mac: \"02:00:00:00:00:01\", address: 10.0.0.5, hostname: a}], \
            relayed: [{subnet: 10.1.0.0/24, pools: [{first: 10.1.0.5, last: 10.1.0.9}]}], \
            interfaces: [{interface: eth0.100, seed: 10.2.0.1, network: {subnet: 10.2.0.0/24}}]}";
        assert_eq!(dhcp(good), Ok(()));
        for (bad, what) in [
            ("{mode: maybe}", "maybe"),
            ("{mtu: 575}", "576"),
            ("{pools: [{first: 10.0.0.9, last: 10.0.0.5}]}", "is not within"),
            ("{reservations: [{mac: \"02:00:00:00:00:01\", address: 10.1.0.5}]}", "is not in"),
            ("{relayed: [{subnet: 10.1.0.0/31}]}", "no addresses"),
            ("{relayed: [{subnet: 10.1.0.0/24, leaseSeconds: 119}]}", "below 120"),
            ("{options: [{code: 7}]}", "needs one of"),
            ("{interfaces: [{interface: \"a b\", seed: 10.2.0.1, network: {subnet: 10.2.0.0/24}}]}", "not an interface name"),
            ("{interfaces: [{interface: eth1, seed: 10.3.0.1, network: {subnet: 10.2.0.0/24}}]}", "is not in"),
        ] {
            assert!(dhcp(bad).unwrap_err().contains(what), "{bad}: {:?}", dhcp(bad));
        }
        let twice =
            "{reservations: [{mac: \"02:00:00:00:00:01\", address: 10.0.0.5}, {mac: \"02:00:00:00:00:02\", address: 10.0.0.5}]}";
        assert!(dhcp(twice).unwrap_err().contains("conflict"));
    }
}
