//! Boot information in a reply: the policy's decision in terms of the protocol.

use cluster_seed::events::Cause;

use crate::dhcp::arch::ClientArch;
use crate::dhcp::network::ReplyConfig;
use crate::dhcp::request::{BootRequest, Stage};
use crate::policy::BootDecision;

/// The longest boot file option (one option's worth of bytes).
pub const MAX_BOOT_FILE: usize = 255;

/// Boot information of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootInfo {
    Nothing,
    /// The boot file (a TFTP name or a URL) and the vendor class that the client expects.
    File {
        name: String,
        class: Option<&'static str>,
        /// The class is sent with PXE_DISCOVERY_CONTROL.
        discovery: bool,
    },
}

impl BootInfo {
    pub fn file(&self) -> Option<&str> {
        match self {
            BootInfo::Nothing => None,
            BootInfo::File { name, .. } => Some(name),
        }
    }
}

/// Why a machine that asks for boot information gets no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoBoot {
    #[error("{why}")]
    Policy { cause: Cause, why: String },
    #[error("the script URL has {0} bytes, {MAX_BOOT_FILE} fit")]
    UrlTooLong(usize),
    #[error("a script was chosen for firmware that is not iPXE")]
    ScriptWithoutIpxe,
    #[error("no boot loader for {}", shown(.0))]
    NoLoader(ClientArch),
    #[error("HTTP boot is not set up")]
    NoHttpBoot,
}

fn shown(arch: &ClientArch) -> String {
    match arch {
        ClientArch::Other(code) => format!("firmware of architecture {code}"),
        known => known.name().to_owned(),
    }
}

impl NoBoot {
    pub fn cause(&self) -> Cause {
        match self {
            NoBoot::Policy { cause, .. } => *cause,
            NoBoot::UrlTooLong(_) => Cause::UrlTooLong,
            NoBoot::ScriptWithoutIpxe => Cause::ScriptWithoutIpxe,
            NoBoot::NoLoader(_) => Cause::NoLoader,
            NoBoot::NoHttpBoot => Cause::NoHttpBoot,
        }
    }
}

/// Converts a decision to its wire form; the error is the reason for no answer.
///
/// With `proxy`, another server answers too, and the client accepts this answer only if it names the class.
pub fn boot_info(request: &BootRequest, decision: &BootDecision, config: &ReplyConfig, proxy: bool) -> Result<BootInfo, NoBoot> {
    match decision {
        BootDecision::Silent { cause, why } => Err(NoBoot::Policy { cause: *cause, why: why.clone() }),
        BootDecision::Script { url } if url.len() > MAX_BOOT_FILE => Err(NoBoot::UrlTooLong(url.len())),
        BootDecision::Script { .. } if !request.ipxe => Err(NoBoot::ScriptWithoutIpxe),
        BootDecision::Script { url } => {
            Ok(BootInfo::File { name: url.clone(), class: proxy.then_some("PXEClient"), discovery: proxy })
        }
        BootDecision::Loader => {
            let name = config.loaders.get(request.arch).ok_or(NoBoot::NoLoader(request.arch))?;
            if request.stage != Stage::Http {
                let class = (proxy || request.stage == Stage::Pxe).then_some("PXEClient");
                // Next to another server, some UEFI firmware ignores the boot file of an offer that says "no discovery". All
                // accept one without option 43, and then ask on port 4011, as with Microsoft's BINL (reported by the authors of
                // pixiecore, and visible in EDK2's PxeBcDhcp4.c).
                let discovery = class.is_some() && (!proxy || request.arch == ClientArch::Bios);
                return Ok(BootInfo::File { name: name.to_owned(), class, discovery });
            }
            let base = config.http_base.as_deref().ok_or(NoBoot::NoHttpBoot)?;
            Ok(BootInfo::File { name: format!("{base}/boot/{name}"), class: Some("HTTPClient"), discovery: false })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::dhcp::loader::LoaderTable;
    use crate::dhcp::network::NetworkConfig;
    use crate::dhcp::testing::{IPXE_ROM, OVMF_HTTP, OVMF_PXE, boot, packet, subnet};

    #[test]
    fn reasons_for_no_answer() {
        let ip = Ipv4Addr::new(10, 0, 0, 1);
        let network = NetworkConfig::new(subnet(), Vec::new(), 3600);
        let bare = ReplyConfig { server_ip: ip, next_server: ip, http_base: None, loaders: LoaderTable::default(), network };
        let none = ReplyConfig { loaders: LoaderTable::empty(), ..bare.clone() };
        let script = |len| BootDecision::Script { url: "x".repeat(len) };
        let denied = BootDecision::Silent { cause: Cause::Other, why: "denied".into() };
        for (options, decision, config, cause, text) in [
            (OVMF_PXE, script(9), &bare, Cause::ScriptWithoutIpxe, "a script was chosen for firmware that is not iPXE"),
            (IPXE_ROM, script(256), &bare, Cause::UrlTooLong, "the script URL has 256 bytes, 255 fit"),
            (OVMF_PXE, denied, &bare, Cause::Other, "denied"),
            (OVMF_PXE, BootDecision::Loader, &none, Cause::NoLoader, "no boot loader for efi-x64"),
            (OVMF_HTTP, BootDecision::Loader, &bare, Cause::NoHttpBoot, "HTTP boot is not set up"),
        ] {
            let no = boot_info(&boot(&packet(options)), &decision, config, false).unwrap_err();
            assert_eq!((no.cause(), no.to_string().as_str()), (cause, text));
        }
        assert_eq!(NoBoot::NoLoader(ClientArch::Other(99)).to_string(), "no boot loader for firmware of architecture 99");
    }
}
