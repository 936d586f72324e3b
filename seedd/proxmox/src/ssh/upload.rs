//! Brings an image to a host, once: under a name that is its digest, checked on the host. An interrupted upload continues.

use std::time::Duration;

use camino::Utf8Path;
use serde::Serialize;

use super::error::SshError;
use super::remote::Remote;
use crate::image::Image;

/// Reading and hashing an image on a host.
const HASH_LIMIT: Duration = Duration::from_secs(3_600);
/// A dead connection is noticed much earlier.
const UPLOAD_LIMIT: Duration = Duration::from_secs(24 * 3_600);
const SHORT: Duration = Duration::from_secs(60);

/// What was done about an image on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "upload")]
pub enum Uploaded {
    /// It was there.
    Present,
    /// `resumed` bytes were there from an earlier run.
    Sent { bytes: u64, resumed: u64 },
}

/// State of folder and files: `$1` folder, `$2` name, `$3` user. Prints the sizes of the finished and of the partial file (- for
/// none) and the free bytes. The folder belongs to the user who uploads.
const SURVEY: &str = r#"set -e
[ -d "$1" ] || install -d -m 0755 -o "$3" "$1"
size() { if [ -f "$1" ]; then stat -c %s "$1"; else echo -; fi; }
size "$1/$2"
size "$1/$2.part"
df -P -B1 "$1" | awk 'NR == 2 { print $4 }'"#;

/// Prints the digest of file `$1`.
const HASH: &str = r#"set -e; sha256sum <"$1" | cut -d' ' -f1"#;
/// Gives the checked file its name; it must be on the disk before a machine is made of it.
const FINISH: &str = r#"set -e; sync -d "$1.part"; mv -f "$1.part" "$1"; sync -d "$(dirname "$1")""#;
const REMOVE: &str = r#"rm -f "$1""#;

struct Survey {
    done: Option<u64>,
    part: u64,
    free: u64,
}

fn survey(text: &str) -> Option<Survey> {
    let mut lines = text.lines().map(str::trim);
    let (done, part, free) = (lines.next()?, lines.next()?, lines.next()?);
    let size = |s: &str| if s == "-" { Some(None) } else { s.parse::<u64>().ok().map(Some) };
    Some(Survey { done: size(done)?, part: size(part)?.unwrap_or(0), free: free.parse().ok()? })
}

impl Remote<'_> {
    /// Makes sure that the image is in `folder`, complete and with the right digest.
    pub fn upload(&self, image: &Image, folder: &Utf8Path) -> Result<Uploaded, SshError> {
        let path = folder.join(image.remote_name());
        let found = self.survey(image, folder)?;
        if found.done == Some(image.size) && self.has_digest(image, path.as_str())? {
            return Ok(Uploaded::Present);
        }
        if found.done.is_some() {
            tracing::warn!(host = self.name(), %path, "the image on the host has another content: it is sent again");
            self.script("removing a wrong image", REMOVE, &[path.as_str()], SHORT)?;
        }
        let part = format!("{path}.part");
        let resumed = if found.part > image.size { 0 } else { found.part };
        let missing = image.size - resumed;
        if found.part != resumed {
            self.script("removing a wrong part", REMOVE, &[&part], SHORT)?;
        }
        if missing > found.free {
            let why = format!("no space left in {folder}: {} MiB are free, {} MiB are needed", found.free >> 20, missing >> 20);
            return Err(SshError::Command { host: self.name().to_owned(), command: "upload".to_owned(), status: 1, stderr: why });
        }
        self.send(image, &part, resumed)?;
        if !self.has_digest(image, &part)? {
            // What an earlier run left may be damaged: from the start, once.
            self.script("removing a wrong part", REMOVE, &[&part], SHORT)?;
            self.send(image, &part, 0)?;
            if !self.has_digest(image, &part)? {
                self.script("removing a wrong part", REMOVE, &[&part], SHORT)?;
                let why = format!("the uploaded image does not have the digest {}: did {} change?", image.sha256, image.file);
                return Err(SshError::Other { host: self.name().to_owned(), why });
            }
        }
        self.script("finishing the upload", FINISH, &[path.as_str()], HASH_LIMIT)?;
        Ok(Uploaded::Sent { bytes: missing, resumed })
    }

    fn survey(&self, image: &Image, folder: &Utf8Path) -> Result<Survey, SshError> {
        let args = [folder.as_str(), &image.remote_name(), self.spec.user.value.as_str()];
        let output = self.script("looking for the image", SURVEY, &args, SHORT)?;
        survey(&output.text()).ok_or_else(|| {
            let why = format!("unexpected state of {folder}: {:?}", output.text().chars().take(200).collect::<String>());
            SshError::Other { host: self.name().to_owned(), why }
        })
    }

    fn has_digest(&self, image: &Image, path: &str) -> Result<bool, SshError> {
        let output = self.script("hashing the image", HASH, &[path], HASH_LIMIT)?;
        Ok(output.text() == image.sha256.to_string())
    }

    /// sftp's `reput` appends what is missing; it refuses a file that is complete or absent (sftp(1)).
    fn send(&self, image: &Image, part: &str, resumed: u64) -> Result<(), SshError> {
        if resumed == image.size {
            return Ok(());
        }
        let command = if resumed > 0 { "reput" } else { "put" };
        let batch = format!("{command} {} {}\n", sftp_word(image.file.as_str()), sftp_word(part));
        let port = self.spec.port.value.to_string();
        let tool = host::tool::Tool::new("sftp").arg("-q").args(self.options()).args(["-P", &port, "-b", "-"]);
        let sent = self.finish(tool.arg(self.sftp_target()).stdin(batch).timeout(UPLOAD_LIMIT), "upload");
        match sent {
            Ok(_) => Ok(()),
            // sftp ends with 1 for everything, and says how the connection ended.
            Err(SshError::Command { host, stderr, .. }) if stderr.contains("onnection closed") => {
                Err(SshError::Lost { host, during: "upload".to_owned(), stderr })
            }
            Err(e) => Err(e),
        }
    }

    fn sftp_target(&self) -> String {
        let address = self.address();
        let bracketed = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        format!("{}@{bracketed}", self.spec.user.value)
    }
}

/// A word of sftp's batch language; glob characters are quoted, too.
fn sftp_word(text: &str) -> String {
    let escape = |c: char| if matches!(c, '"' | '\\' | '*' | '?' | '[') { format!("\\{c}") } else { c.to_string() };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survey_is_read() {
        let found = survey("-\n17\n1000\n").unwrap();
        assert_eq!((found.done, found.part, found.free), (None, 17, 1000));
        assert_eq!(survey("5\n-\n1").unwrap().done, Some(5));
        for bad in ["", "1\n2\n", "x\n-\n1", "-\n-\nmany"] {
            assert!(survey(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn words_of_sftp_are_quoted() {
        assert_eq!(sftp_word(r#"/a b/"c"[1]*"#), r#""/a b/\"c\"\[1]\*""#);
    }
}
