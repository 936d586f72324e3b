//! Packets of real clients for the tests of this crate, as hexadecimal text.

use cluster_seed::ids::Mac;

use super::request::{BootRequest, Classified, Facts, LeaseRequest, classify};
use crate::subnet::Subnet;

pub const MAC: Mac = Mac([0x52, 0x54, 0x00, 0x12, 0x34, 0x56]);

/// Captured: QEMU's option ROM (iPXE) under SeaBIOS, user class "iPXE" in plain text, option 175, arch 0.
pub const IPXE_ROM: &str = "350101 390205c0 5d020000 5e03010201 \
    3c20505845436c69656e743a417263683a30303030303a554e44493a303032303031 4d0469505845 \
    3717010306070c0f111a2b3c4243778081828384858687afcb \
    af30b105011af41000eb03010000170101220101130101110101270101190101290101100102210101150101180101120101 \
    3d0701525400123456 61110000112233445566778899aabbccddeeff ff";

/// Captured: OVMF's own PXE stack, arch 7, vendor class with five digits, option 97, no user class.
pub const OVMF_PXE: &str = "350101 390205c0 37230102030405060c0d0f111216171c28292a2b3233363a3b3c4243618081828384858687 \
    61110000000000000000000000000000000000 5e03010300 5d020007 \
    3c20505845436c69656e743a417263683a30303030373a554e44493a303033303030 ff";

/// Captured: iPXE's snponly.efi, whose vendor class is a bare "PXEClient".
pub const IPXE_EFI: &str = "350101 390205c0 5d020007 5e0301030a 3c09505845436c69656e74 4d0469505845 \
    3718010306070c0f111a2a2b3c4243778081828384858687afcb \
    af2ab105011af41000eb03010000260101170101270101240101130101140101110101290101150101120101 \
    3d0701525400123456 61110000000000000000000000000000000000 ff";

/// Captured: OVMF's HTTP boot, arch 16, "HTTPClient:Arch:00016:UNDI:003000".
pub const OVMF_HTTP: &str = "350101 390205c0 371b0102030405060c0d0f111216171c28292a2b3233363a3b3ceb4361 \
    61110000000000000000000000000000000000 5e03010300 5d020010 \
    3c2148545450436c69656e743a417263683a30303031363a554e44493a303033303030 ff";

/// busybox udhcpc as Debian's initramfs runs it.
pub const UDHCPC: &str = "350101 3d0701525400123456 39020240 37070103060c0f1c2a 3c0c756468637020312e33352e30 0c0462617365 ff";

pub fn hex(text: &str) -> Vec<u8> {
    hex::decode(text.split_whitespace().collect::<String>()).unwrap()
}

/// A BOOTREQUEST of [`MAC`] with transaction 0x11223344 and the given options.
pub fn packet(options: &str) -> Vec<u8> {
    let mut bytes = vec![0u8; 236];
    bytes[..8].copy_from_slice(&[1, 1, 6, 0, 0x11, 0x22, 0x33, 0x44]);
    bytes[28..34].copy_from_slice(&MAC.0);
    bytes.extend_from_slice(&[99, 130, 83, 99]);
    bytes.extend(hex(options));
    bytes
}

pub fn subnet() -> Subnet {
    Subnet::new([10, 0, 0, 0].into(), 24).unwrap()
}

pub fn facts() -> Facts {
    Facts { iface: "lab0".into(), subnet: subnet() }
}

pub fn boot(bytes: &[u8]) -> BootRequest {
    match classify(bytes, &facts()) {
        Classified::Boot(request) => request,
        other => panic!("not a boot request: {other:?}"),
    }
}

pub fn lease(bytes: &[u8]) -> LeaseRequest {
    match classify(bytes, &facts()) {
        Classified::Plain(request) => request,
        Classified::Boot(request) => request.lease,
        Classified::Ignored { why, .. } => panic!("ignored: {why}"),
    }
}
