//! Names of the running kernel's drop reasons, read from its type information (BTF).
//!
//! The numbers of `enum skb_drop_reason` differ between kernels, so no list of them can be part of this program.
//! Format: Documentation/bpf/btf.rst of the kernel.

use std::collections::BTreeMap;

use camino::Utf8Path;
use host::files::{FileError, read_limited};

/// The kernel's type information. Missing where the kernel was built without `CONFIG_DEBUG_INFO_BTF`.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
/// Largest file read, in bytes: Debian's have 6 MB.
const MAX_BTF: u64 = 64 << 20;
const MAGIC: u16 = 0xeb9f;
/// Bytes of a type's common part.
const TYPE: usize = 12;
const ENUM: u32 = 6;
const PREFIX: &str = "SKB_DROP_REASON_";
/// Reasons above 16 bits belong to a subsystem (include/net/dropreason.h).
const SUBSYSTEM: u32 = 16;

#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    #[error("reading the kernel's type information")]
    File(#[from] FileError),
    #[error("the kernel's type information cannot be read: {0}")]
    Format(&'static str),
}

/// Number to name of drop reasons.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reasons(BTreeMap<u32, String>);

impl Reasons {
    /// # Errors
    /// If the file cannot be read, or is not BTF of this machine's byte order.
    pub fn read(path: &Utf8Path) -> Result<Self, BtfError> {
        parse(&read_limited(path, MAX_BTF)?, "skb_drop_reason").map(Reasons)
    }

    /// `NETFILTER_DROP`; `reason 7` where the kernel has no name, `subsystem 1 reason 7` for reasons of mac80211 and the like.
    pub fn name(&self, reason: u32) -> String {
        match self.0.get(&reason) {
            Some(name) => name.strip_prefix(PREFIX).unwrap_or(name).to_owned(),
            None if reason >> SUBSYSTEM == 0 => format!("reason {reason}"),
            None => format!("subsystem {} reason {}", reason >> SUBSYSTEM, reason & 0xffff),
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// The text up to the next zero.
fn text(strings: &[u8], at: u32) -> Option<&str> {
    let rest = strings.get(at as usize..)?;
    std::str::from_utf8(rest.get(..rest.iter().position(|b| *b == 0)?)?).ok()
}

/// Bytes behind the common part of a type of this kind with `n` members.
fn behind(kind: u32, n: usize) -> Option<usize> {
    Some(match kind {
        // Pointer, forward, typedef, volatile, const, restrict, function, float, type tag.
        2 | 7..=12 | 16 | 18 => 0,
        // Integer, variable, declaration tag.
        1 | 14 | 17 => 4,
        // Array.
        3 => 12,
        // Structure, union; data section; enum of 64 bits.
        4 | 5 | 15 | 19 => n.checked_mul(12)?,
        // Enum; parameters of a function.
        6 | 13 => n.checked_mul(8)?,
        _ => return None,
    })
}

/// The values of the enum `wanted`; empty if there is none.
fn parse(bytes: &[u8], wanted: &str) -> Result<BTreeMap<u32, String>, BtfError> {
    let short = BtfError::Format("it is too short");
    let magic = bytes.get(..2).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes);
    if magic != Some(MAGIC) {
        return Err(BtfError::Format("its magic number is wrong"));
    }
    let head = |at| word(bytes, at).map(|n| n as usize);
    let part = |offset: usize, len: usize| {
        let start = head(4)?.checked_add(head(offset)?)?;
        bytes.get(start..start.checked_add(head(len)?)?)
    };
    let (Some(types), Some(strings)) = (part(8, 12), part(16, 20)) else { return Err(short) };
    let mut at = 0;
    while at < types.len() {
        let (Some(name), Some(info)) = (word(types, at), word(types, at + 4)) else { return Err(short) };
        let (kind, n) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        at += TYPE;
        if kind == ENUM && text(strings, name) == Some(wanted) {
            let value = |i: usize| {
                let name = text(strings, word(types, at + i * 8)?)?;
                Some((word(types, at + i * 8 + 4)?, name.to_owned()))
            };
            return (0..n).map(value).collect::<Option<_>>().ok_or(short);
        }
        at += behind(kind, n).ok_or(BtfError::Format("it has a kind of type that is not known"))?;
    }
    Ok(BTreeMap::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An int, then the enum.
    fn sample() -> Vec<u8> {
        let strings = b"\0int\0skb_drop_reason\0SKB_NOT_DROPPED_YET\0SKB_DROP_REASON_NETFILTER_DROP\0";
        let at = |needle: &str| {
            let bytes = needle.as_bytes();
            u32::try_from(strings.windows(bytes.len()).position(|w| w == bytes).unwrap()).unwrap()
        };
        let types =
            [at("int\0"), 1 << 24, 4, 32, at("skb_drop_reason"), (6 << 24) | 2, 4, at("SKB_NOT"), 0, at("SKB_DROP_REASON_N"), 8];
        let types: Vec<u8> = types.iter().flat_map(|w| w.to_ne_bytes()).collect();
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        for word in [24, 0, types.len(), types.len(), strings.len()] {
            bytes.extend(u32::try_from(word).unwrap().to_ne_bytes());
        }
        bytes.extend(types);
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn names_come_from_the_kernel() {
        let reasons = Reasons(parse(&sample(), "skb_drop_reason").unwrap());
        assert_eq!(reasons.name(8), "NETFILTER_DROP");
        assert_eq!(reasons.name(0), "SKB_NOT_DROPPED_YET");
        assert_eq!((reasons.name(9), reasons.name(0x10003)), ("reason 9".to_owned(), "subsystem 1 reason 3".to_owned()));
        assert!(parse(&sample(), "other").unwrap().is_empty());
    }

    #[test]
    fn a_file_that_is_cut_is_an_error_and_never_a_panic() {
        let whole = sample();
        for n in 0..whole.len() {
            assert!(parse(&whole[..n], "skb_drop_reason").is_err(), "{n} bytes");
        }
        let mut unknown = whole;
        unknown[24 + 7] = 31;
        assert!(parse(&unknown, "skb_drop_reason").is_err());
    }

    #[test]
    fn this_kernel_knows_what_netfilter_drops() {
        if !Utf8Path::new(VMLINUX).exists() {
            return kubedos_skip::skip("btf", "the kernel of this host has no type information");
        }
        let reasons = Reasons::read(VMLINUX.into()).unwrap();
        assert!(reasons.0.values().any(|name| name == "SKB_DROP_REASON_NETFILTER_DROP"), "{} reasons", reasons.0.len());
    }
}
