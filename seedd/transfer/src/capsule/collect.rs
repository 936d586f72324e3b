//! The contents of a site: files, keys and rows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, Result, anyhow, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::capsule::{FileRow, KeyRow, RowsHead, TEXTS, Table, TextRow, Tree, is_keyring_name};
use cluster_seed::ids::Digest;
use cluster_seed::progress::{Progress, Quiet};
use cluster_seed::seal::VerifyingKey;
use cluster_seed::secret::AgeKey;
use host::files::{PRIVATE, Start, digest_file, open, read_limited};
use sha2::{Digest as _, Sha256};
use site::Site;
use site::artifacts::{self, chunks_of};
use site::hint::Hint as _;
use site::store::{StoreError, Tx};

use super::STOPPED;

const MAX_TEXT: u64 = 4 << 20;
/// Maximum depth of folders in a tree.
const MAX_DEPTH: usize = 16;

/// Files by digest, with their paths.
#[derive(Default)]
pub struct Contents {
    pub files: Vec<FileRow>,
    pub blobs: BTreeMap<Digest, (u64, Utf8PathBuf)>,
}

/// The trees in use, and the blobs that they need.
pub fn contents(site: &Site, site_key: &VerifyingKey, trees: &[(Tree, Digest)], progress: &dyn Progress) -> Result<Contents> {
    let known = inodes(site)?;
    let mut contents = Contents::default();
    progress.begin("listing", None);
    for (tree, id) in trees {
        let dir = site.join(tree.as_str()).join(id.to_string());
        let mut paths = Vec::new();
        walk(&dir, "", 0, &mut paths).with_context(|| format!("listing {dir}"))?;
        for path in paths {
            ensure!(!progress.cancelled(), STOPPED);
            let file = dir.join(&path);
            let meta = fs::metadata(&file).with_context(|| format!("looking at {file}"))?;
            let sha256 = match known.get(&(meta.dev(), meta.ino())) {
                Some(digest) => *digest,
                None => digest_file(&file, &Quiet)?.1,
            };
            progress.advance(1);
            contents.blobs.entry(sha256).or_insert((meta.len(), file));
            let row = FileRow { tree: *tree, id: *id, path, size: meta.len(), sha256 };
            ensure!(row.path_is_plain(), "{} has a name that is not allowed in a capsule", dir.join(&row.path));
            contents.files.push(row);
        }
        if *tree == Tree::Artifacts {
            chunks(site, site_key, &dir, &mut contents)?;
        }
    }
    progress.end();
    Ok(contents)
}

/// What is in use according to the settings: snapshot, netboot set, one artifact per role.
pub fn trees(tx: &Tx<'_>) -> Result<Vec<(Tree, Digest)>, StoreError> {
    let mut found = BTreeSet::new();
    found.extend(tx.snapshot()?.map(|id| (Tree::Snapshots, id)));
    found.extend(tx.netboot()?.map(|id| (Tree::Netboot, id)));
    found.extend(tx.extras()?.map(|id| (Tree::Extras, id)));
    found.extend(tx.payload()?.map(|id| (Tree::Payloads, id)));
    found.extend(tx.artifacts()?.into_iter().map(|(_, id)| (Tree::Artifacts, id)));
    Ok(found.into_iter().collect())
}

fn chunks(site: &Site, site_key: &VerifyingKey, dir: &Utf8Path, contents: &mut Contents) -> Result<()> {
    for (digest, size) in chunks_of(&artifacts::read(dir, site_key)?) {
        contents.blobs.entry(digest).or_insert_with(|| (size, site.blob(digest)));
    }
    Ok(())
}

/// Digests of the blobs by device and inode. A published file is a hard link to a blob, so its digest is known without
/// reading it.
fn inodes(site: &Site) -> Result<HashMap<(u64, u64), Digest>> {
    let mut map = HashMap::new();
    let top = site.join("blobs/sha256");
    for folder in fs::read_dir(&top).with_context(|| format!("listing {top}"))? {
        let folder = folder?;
        if !folder.file_type()?.is_dir() {
            continue;
        }
        for blob in fs::read_dir(folder.path()).with_context(|| format!("listing {top}"))? {
            let blob = blob?;
            let digest = blob.file_name().to_str().and_then(|n| n.parse().ok());
            if let (Some(digest), Ok(meta)) = (digest, fs::metadata(blob.path())) {
                map.insert((meta.dev(), meta.ino()), digest);
            }
        }
    }
    Ok(map)
}

/// Regular files below `dir`, sorted; links are followed, because the medium's content is linked into the site.
fn walk(dir: &Utf8Path, below: &str, depth: usize, out: &mut Vec<String>) -> Result<()> {
    ensure!(depth <= MAX_DEPTH, "{dir} is nested more than {MAX_DEPTH} folders deep");
    let mut names: Vec<String> = Vec::new();
    for entry in dir.join(below).read_dir_utf8()? {
        names.push(entry?.file_name().to_owned());
    }
    names.sort();
    for name in names {
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        let kind = fs::metadata(dir.join(&path)).with_context(|| format!("looking at {}", dir.join(&path)))?;
        if kind.is_dir() {
            walk(dir, &path, depth + 1, out)?;
        } else {
            ensure!(kind.is_file(), "{} is neither a file nor a folder", dir.join(&path));
            out.push(path);
        }
    }
    Ok(())
}

/// Writes lines and computes their digest.
pub struct Rows {
    file: std::io::BufWriter<File>,
    path: Utf8PathBuf,
    hash: Sha256,
    size: u64,
}

impl Rows {
    pub fn create(dir: &Utf8Path, table: Table) -> Result<Self> {
        let path = rows_file(dir, table);
        let file = open(&path, Start::Empty, PRIVATE).with_context(|| format!("creating {path}"))?;
        let mut rows = Rows { file: std::io::BufWriter::new(file), path, hash: Sha256::new(), size: 0 };
        rows.line(&serde_json::to_string(&RowsHead::of(table))?)?;
        Ok(rows)
    }

    pub fn line(&mut self, text: &str) -> Result<()> {
        for bytes in [text.as_bytes(), b"\n"] {
            self.file.write_all(bytes).with_context(|| format!("writing {}", self.path))?;
            self.hash.update(bytes);
            self.size += bytes.len() as u64;
        }
        Ok(())
    }

    pub fn finish(self) -> Result<(Digest, u64)> {
        let file = self.file.into_inner().map_err(|e| anyhow!("writing {}: {e}", self.path))?;
        file.sync_all().with_context(|| format!("syncing {}", self.path))?;
        Ok((Digest(self.hash.finalize().into()), self.size))
    }
}

/// Path of a table's lines in a working folder.
pub fn rows_file(dir: &Utf8Path, table: Table) -> Utf8PathBuf {
    dir.join(format!("{}.jsonl", table.as_str()))
}

/// Writes the lines of every table that is not stored in the database.
pub fn write_files(site: &Site, operator: &AgeKey, recipient: &str, files: &[FileRow], dir: &Utf8Path) -> Result<()> {
    let mut texts = Rows::create(dir, Table::Text)?;
    let mut names: Vec<String> = TEXTS.iter().map(|n| (*n).to_owned()).collect();
    for entry in site.join("keys").read_dir_utf8().context("listing the keys")? {
        names.extend(Some(entry?.file_name().to_owned()).filter(|n| is_keyring_name(n)));
    }
    for name in &names {
        let path = if name == "cluster.yaml" { site.cluster_file() } else { site.join("keys").join(name) };
        if path.is_file() {
            texts.line(&serde_json::to_string(&TextRow::new(name, &read_limited(&path, MAX_TEXT)?))?)?;
        }
    }
    texts.finish()?;
    let mut keys = Rows::create(dir, Table::Key)?;
    for (name, ciphertext) in
        site.keys().resealed(operator, recipient).hint("keys are missing; is the data directory complete?")?
    {
        keys.line(&serde_json::to_string(&KeyRow::new(name, &ciphertext))?)?;
    }
    keys.finish()?;
    let mut rows = Rows::create(dir, Table::File)?;
    for file in files {
        rows.line(&serde_json::to_string(file)?)?;
    }
    rows.finish()?;
    Ok(())
}

/// Writes the database's tables.
pub fn write_tables(tx: &Tx<'_>, dir: &Utf8Path) -> Result<()> {
    for table in Table::ALL.into_iter().filter(|t| !matches!(t, Table::Text | Table::Key | Table::File)) {
        let mut rows = Rows::create(dir, table)?;
        tx.dump(table, |line| rows.line(line))?;
        rows.finish()?;
    }
    Ok(())
}
