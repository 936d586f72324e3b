use camino::Utf8PathBuf;
use host::files::FileError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    File(FileError),
    #[error("{path} has {size} bytes, and a disk image has a multiple of 512")]
    Source { path: Utf8PathBuf, size: u64 },
    #[error("the virtual size of {wanted} bytes is smaller than the disk image of {size} bytes")]
    Shrink { wanted: u64, size: u64 },
    #[error("the virtual size of {wanted} bytes is not a multiple of 512")]
    Unaligned { wanted: u64 },
    #[error("{size} bytes are too many for {what}, which is limited to {limit}")]
    TooLarge { what: &'static str, size: u64, limit: u64 },
    #[error("{value:?} cannot be used as {what}: {why}")]
    Value { what: &'static str, value: String, why: &'static str },
    #[error("compressing a block of {path}")]
    Compress { path: Utf8PathBuf, source: std::io::Error },
    #[error("writing the OVF descriptor as XML")]
    Xml(#[source] std::io::Error),
    #[error("stopped on request; nothing was left behind")]
    Cancelled,
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Cancelled => Error::Cancelled,
            other => Error::File(other),
        }
    }
}

impl Error {
    /// What an operator can do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::File(FileError::Full { .. }) => {
                Some("free some disk space, or write to another disk; nothing was left behind")
            }
            Error::File(error) => Some(error.hint()),
            Error::Source { .. } => Some("give the raw image of a whole disk; the file may be cut off"),
            Error::Shrink { .. } => Some("give a larger virtual size, or none"),
            Error::Unaligned { .. } => Some("give the virtual size in whole MiB"),
            Error::TooLarge { .. } => Some("use another format for a disk of this size"),
            Error::Value { .. } | Error::Compress { .. } | Error::Xml(_) | Error::Cancelled => None,
        }
    }
}
