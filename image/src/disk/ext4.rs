//! ext4 file systems made from a directory by `mke2fs`, with nothing in them that differs between builds.

use camino::Utf8Path;
use cluster_seed::progress::Progress;

use crate::error::Error;
use crate::roots::tools::ToolRoot;
use crate::spec::Names;

/// Makes ext4 images in a working directory.
pub(crate) struct Ext4<'a> {
    pub tools: &'a ToolRoot,
    pub work: &'a Utf8Path,
    /// Identifiers are derived from these.
    pub names: &'a Names,
}

impl Ext4<'_> {
    /// Creates `work/<name>.img`, of `size` bytes, from the directory `work/<name>`.
    pub fn create(&self, name: &str, label: &str, size: u64, progress: &dyn Progress) -> Result<(), Error> {
        let uuid = self.names.uuid_text(&format!("{name} file system"));
        let seed = self.names.uuid_text(&format!("{name} hash seed"));
        let options = format!("hash_seed={seed},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0");
        let (from, to) = (format!("/work/{name}"), format!("/work/{name}.img"));
        let blocks = (size / 4096).to_string();
        // GRUB must be able to read it: features newer than GRUB's driver stay off.
        let (identity, features) = (["-L", label, "-U", &uuid], ["-O", "^orphan_file,^metadata_csum_seed"]);
        let mut argv = vec!["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "1"];
        argv.extend(identity);
        argv.extend(["-E", &options]);
        argv.extend(features);
        argv.extend(["-d", &from, &to, &blocks]);
        self.tools.run("creating a file system", self.work, &argv, progress).map(|_| ())
    }
}
