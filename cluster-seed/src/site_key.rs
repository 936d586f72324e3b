//! A site key given to a machine in advance: it then pairs only with this site.
//!
//! There are three sources: the kernel command line, a file on the boot medium, and a UEFI variable.

use crate::ids::Digest;
use crate::seal::{SealError, VerifyingKey, key_from_text};

/// Kernel command line parameter, `kubedos.site=<64 hex digits>`.
pub const PARAMETER: &str = "kubedos.site";
/// The file in the RAM system, below `/`.
pub const FILE: &str = "etc/kubedos/site.key";
/// The variable in efivarfs, with the vendor GUID of Kubedos (UEFI 2.10 section 8.2).
pub const VARIABLE: &str = "KubedosSite-e491b34f-4cf8-4888-a620-589080fc3165";
/// Largest file or variable that is read, in bytes.
pub const MAX_BYTES: usize = 256;
/// The attributes that efivarfs puts before the value (Documentation/filesystems/efivarfs.rst).
const ATTRIBUTES: usize = 4;

/// Reads a key as text; white space and a final zero around it are ignored.
pub fn from_text(bytes: &[u8]) -> Result<VerifyingKey, SealError> {
    if bytes.len() > MAX_BYTES {
        return Err(SealError::TooLarge(bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| SealError::BadKey)?;
    key_from_text(text.trim_end_matches('\0').trim())
}

/// Reads a variable as efivarfs gives it: attributes, then the key as 32 bytes or as text.
pub fn from_variable(bytes: &[u8]) -> Result<VerifyingKey, SealError> {
    let value = bytes.get(ATTRIBUTES..).ok_or(SealError::BadKey)?;
    match <[u8; 32]>::try_from(value) {
        Ok(raw) => key_from_text(&Digest(raw).to_string()),
        Err(_) => from_text(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{SigningKey, key_text};

    #[test]
    fn keys_are_read_from_files_and_variables() {
        let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
        let text = key_text(&key);
        for form in [text.clone(), format!("{text}\n"), format!(" {text}\r\n"), format!("{text}\0")] {
            assert_eq!(from_text(form.as_bytes()).unwrap(), key);
            assert_eq!(from_variable(&[&[7, 0, 0, 0], form.as_bytes()].concat()).unwrap(), key);
        }
        assert_eq!(from_variable(&[&[7, 0, 0, 0][..], key.as_bytes()].concat()).unwrap(), key);
    }

    #[test]
    fn an_invalid_key_is_an_error() {
        let text = key_text(&SigningKey::from_bytes(&[7; 32]).verifying_key());
        for bad in [&b""[..], b"\n", &text.as_bytes()[1..], &[0xff; 64], &[b'0'; 64], &vec![b' '; MAX_BYTES + 1]] {
            assert!(from_text(bad).is_err(), "{bad:?}");
            assert!(from_variable(&[&[7, 0, 0, 0], bad].concat()).is_err(), "{bad:?}");
        }
        for short in [&[][..], &[7, 0, 0], &[7, 0, 0, 0]] {
            assert!(from_variable(short).is_err());
        }
        // A key of small order, of which every signature is good for much.
        assert!(from_variable(&[&[7, 0, 0, 0][..], &[0; 32]].concat()).is_err());
    }
}
