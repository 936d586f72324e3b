//! What kind of firmware or iPXE sent a request.

use cluster_seed::ids::Mac;

use crate::dhcp::arch::ClientArch;
use crate::dhcp::wire::Packet;

/// Most kinds of loaders of one client.
const MAX_ARCHS: usize = 8;
/// Prefixes of the MAC addresses that Raspberry Pi assigns (IEEE's registry of MA-L).
const RASPBERRY_PI: [[u8; 3]; 7] = [
    [0x28, 0xcd, 0xc1],
    [0x2c, 0xcf, 0x67],
    [0x88, 0xa2, 0x9e],
    [0xb8, 0x27, 0xeb],
    [0xd8, 0x3a, 0xdd],
    [0xdc, 0xa6, 0x32],
    [0xe4, 0x5f, 0x01],
];
/// Features of an iPXE as it lists them in option 175 (`src/include/ipxe/features.h`): HTTP, bzImage, EFI images.
const HTTP: u8 = 0x13;
const BZIMAGE: u8 = 0x18;
const EFI: u8 = 0x24;
/// The codes that stand for features; the others are settings.
const FEATURES: std::ops::Range<u8> = 0x10..0x40;

/// iPXE sends option 77 as the plain text "iPXE", not as specified in RFC 3004; other software that imitates it
/// prefixes the length. Option 175 holds iPXE's own encapsulated options.
pub(super) fn is_ipxe(packet: &Packet<'_>) -> bool {
    let class = packet.option(77).unwrap_or_default();
    class == b"iPXE" || rfc3004_classes(class).any(|c| c == b"iPXE") || packet.option(175).is_some_and(|v| !v.is_empty())
}

fn rfc3004_classes(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, tail) = rest.split_first()?;
        let class = tail.get(..usize::from(*len))?;
        rest = &tail[class.len()..];
        Some(class)
    })
}

/// Whether it lists features, and not those that the boot scripts need. One that lists none gets the benefit of the doubt: if it
/// were replaced by a loader that lists none either, it would be replaced for ever.
pub(super) fn lacks_features(packet: &Packet<'_>) -> bool {
    let (mut listed, mut http, mut kernel) = (false, false, false);
    let mut rest = packet.option(175).unwrap_or_default();
    loop {
        match rest {
            [] | [255, ..] => break,
            [0, tail @ ..] => rest = tail,
            [code, len, tail @ ..] if tail.len() >= usize::from(*len) => {
                let (value, tail) = tail.split_at(usize::from(*len));
                if FEATURES.contains(code) && value.iter().any(|b| *b != 0) {
                    (listed, http, kernel) = (true, http || *code == HTTP, kernel || [BZIMAGE, EFI].contains(code));
                }
                rest = tail;
            }
            _ => break,
        }
    }
    listed && !(http && kernel)
}

/// Option 93 holds one or more 16-bit codes, the first is the preferred one (RFC 4578 section 2.1). Without
/// a usable option 93 the vendor class text is used ("PXEClient:Arch:00007:..."); without that, BIOS is assumed.
pub(super) fn client_archs(packet: &Packet<'_>, vendor: &[u8]) -> (ClientArch, Vec<ClientArch>) {
    let codes = packet.option(93).unwrap_or_default().chunks_exact(2).map(|c| u16::from_be_bytes([c[0], c[1]]));
    let mut archs = codes.map(ClientArch::from_code).take(MAX_ARCHS);
    if let Some(first) = archs.next() {
        return (first, archs.collect());
    }
    let code = std::str::from_utf8(vendor).ok().and_then(|v| v.split(':').nth(2)).and_then(|digits| digits.parse().ok());
    (ClientArch::from_code(code.unwrap_or(0)), Vec::new())
}

/// A Raspberry Pi's ROM says that it is an x86 BIOS and starts none of its loaders. Since the Pi 4 its identifier (option 97)
/// begins with "RPi" and the model, unless it is configured otherwise.
pub(super) fn is_raspberry_pi(mac: Mac, uuid: Option<[u8; 17]>) -> bool {
    RASPBERRY_PI.iter().any(|oui| mac.0.starts_with(oui)) || uuid.is_some_and(|id| id[1..].starts_with(b"RPi"))
}
