//! What the site's cluster.yaml puts on the kernel command line of its machines, and the address of the seed in it.

use std::net::SocketAddrV4;

use anyhow::{Context as _, Result};
use cluster_seed::arch::Arch;
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::netboot::ConsoleSpec;
use pxe::script::{Console, KernelCmdline, SeedUrl};
use site::hint::Hint as _;

/// Port of the seed's listener for machines.
pub const HTTP: u16 = 80;

/// The consoles of the boot scripts.
pub fn consoles(specs: &[ConsoleSpec]) -> Vec<Console> {
    let one = |c: &ConsoleSpec| match c {
        ConsoleSpec::Vga => Console::Vga,
        ConsoleSpec::Serial0 => Console::Serial(0),
        ConsoleSpec::Serial1 => Console::Serial(1),
        ConsoleSpec::Serial2 => Console::Serial(2),
        ConsoleSpec::Serial3 => Console::Serial(3),
    };
    specs.iter().map(one).collect()
}

/// Consoles and kernel parameters of the site, as its boot scripts have them.
pub fn parameters(spec: &ClusterSpec) -> Result<String> {
    let netboot = &spec.spec.netboot;
    let consoles = match &consoles(&netboot.consoles)[..] {
        [] => vec![Console::Vga, Console::Serial(0)],
        some => some.to_vec(),
    };
    let line = consoles.into_iter().fold(KernelCmdline::new(), |line, console| line.console(console, Arch::Amd64));
    let line = line.params(netboot.kernel_parameters.iter().map(String::as_str));
    Ok(line.context("reading netboot.kernelParameters").hint("correct it in cluster.yaml")?.to_string())
}

/// Where the seed answers according to cluster.yaml.
pub fn default_seed(spec: &ClusterSpec) -> SeedUrl {
    SeedUrl(SocketAddrV4::new(spec.spec.networking.underlay.seed.value, HTTP))
}
