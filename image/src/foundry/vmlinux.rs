//! The uncompressed kernel in a bzImage (Linux x86 boot protocol, Documentation/arch/x86/boot.rst): Firecracker loads ELF.

use std::io::Read;

/// Setup header: number of 512-byte sectors of the real-mode code after the first; 0 means 4.
const SETUP_SECTS: usize = 0x1f1;
/// Setup header: the boot sector's mark, then "HdrS".
const BOOT_FLAG: usize = 0x1fe;
const MAGIC: usize = 0x202;
/// Protocol version; 2.08 and later give the payload.
const VERSION: usize = 0x206;
/// Offset of the payload from the protected-mode code, and its length, 32 bits each.
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
/// Largest kernel, uncompressed, in bytes.
const MAX_KERNEL: u64 = 256 << 20;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    #[error("it is not a bzImage of boot protocol 2.08 or later")]
    NotBzImage,
    #[error("its payload is outside the file")]
    Payload,
    #[error("its payload is compressed with an unknown method (first bytes {0})")]
    Method(String),
    #[error("its payload cannot be decompressed")]
    Damaged,
    #[error("its payload is not a 64-bit ELF file for x86-64")]
    NotElf,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let value = bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)?;
    usize::try_from(value).ok()
}

/// The compressed payload of a bzImage.
fn payload(image: &[u8]) -> Result<&[u8], KernelError> {
    let header = image.get(MAGIC..MAGIC + 4) == Some(b"HdrS") && u16_at(image, BOOT_FLAG) == Some(0xaa55);
    if !header || u16_at(image, VERSION).is_none_or(|v| v < 0x208) {
        return Err(KernelError::NotBzImage);
    }
    let sectors = match image.get(SETUP_SECTS) {
        Some(0) | None => 4,
        Some(n) => usize::from(*n),
    };
    let (offset, length) = u32_at(image, PAYLOAD_OFFSET).zip(u32_at(image, PAYLOAD_LENGTH)).ok_or(KernelError::Payload)?;
    let start = ((sectors + 1) * 512).checked_add(offset).ok_or(KernelError::Payload)?;
    let end = start.checked_add(length).ok_or(KernelError::Payload)?;
    image.get(start..end).filter(|p| !p.is_empty()).ok_or(KernelError::Payload)
}

/// The ELF kernel of a bzImage.
pub fn extract(image: &[u8]) -> Result<Vec<u8>, KernelError> {
    let payload = payload(image)?;
    // Some methods are followed by the uncompressed size: what comes after the first stream is ignored.
    let reader: Box<dyn Read + '_> = match payload {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::GzDecoder::new(payload)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Box::new(liblzma::bufread::XzDecoder::new(payload)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Box::new(zstd::stream::read::Decoder::with_buffer(payload).map_err(|_| KernelError::Damaged)?.single_frame())
        }
        _ => return Err(KernelError::Method(hex::encode(&payload[..payload.len().min(6)]))),
    };
    let mut kernel = Vec::new();
    let read = reader.take(MAX_KERNEL + 1).read_to_end(&mut kernel);
    if read.is_err() || kernel.len() as u64 > MAX_KERNEL {
        return Err(KernelError::Damaged);
    }
    // ELF header: class 2 (64 bit), data 1 (little-endian), machine 62 (x86-64) at byte 18.
    let elf = kernel.starts_with(b"\x7fELF\x02\x01") && u16_at(&kernel, 18) == Some(62);
    if elf { Ok(kernel) } else { Err(KernelError::NotElf) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn elf() -> Vec<u8> {
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(18, 0);
        elf.extend([62, 0]);
        elf.extend((0..50_000u32).flat_map(u32::to_le_bytes));
        elf
    }

    /// A bzImage with two setup sectors and this payload.
    fn bzimage(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0u8; 3 * 512 + 64];
        image[SETUP_SECTS] = 2;
        image[BOOT_FLAG..BOOT_FLAG + 2].copy_from_slice(&[0x55, 0xaa]);
        image[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
        image[VERSION..VERSION + 2].copy_from_slice(&[0x0f, 0x02]);
        image[PAYLOAD_OFFSET..PAYLOAD_OFFSET + 4].copy_from_slice(&64u32.to_le_bytes());
        let length = u32::try_from(payload.len()).unwrap();
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&length.to_le_bytes());
        image.extend(payload);
        image.extend([0xee; 100]);
        image
    }

    fn packed() -> Vec<Vec<u8>> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&elf()).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&elf()).unwrap();
        vec![gzip.finish().unwrap(), xz.finish().unwrap(), zstd::encode_all(&elf()[..], 1).unwrap()]
    }

    #[test]
    fn the_kernel_comes_out_of_every_method_with_and_without_its_size_behind() {
        for mut payload in packed() {
            assert!(extract(&bzimage(&payload)) == Ok(elf()));
            payload.extend(u32::try_from(elf().len()).unwrap().to_le_bytes());
            assert!(extract(&bzimage(&payload)) == Ok(elf()));
        }
    }

    #[test]
    fn what_is_no_kernel_is_refused_by_what_is_wrong() {
        let gzip = &packed()[0];
        assert_eq!(extract(b"MZ"), Err(KernelError::NotBzImage));
        assert_eq!(extract(&bzimage(b"BZh91AY")), Err(KernelError::Method("425a68393141".to_owned())));
        assert_eq!(extract(&bzimage(&gzip[..gzip.len() / 2])), Err(KernelError::Damaged));
        assert_eq!(extract(&bzimage(&zstd::encode_all(&b"text"[..], 1).unwrap())), Err(KernelError::NotElf));
        let mut old = bzimage(gzip);
        old[VERSION] = 7;
        assert_eq!(extract(&old), Err(KernelError::NotBzImage));
        let mut far = bzimage(gzip);
        far[PAYLOAD_OFFSET..PAYLOAD_OFFSET + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(extract(&far), Err(KernelError::Payload));
    }
}
