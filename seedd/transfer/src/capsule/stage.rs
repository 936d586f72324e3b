//! Staging the files of an import: keys, cluster.yaml, and the trees as links to blobs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};

use anyhow::{Context as _, Result, anyhow, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::capsule::{CapsuleManifest, FileRow, KeyRow, MAX_LINE, Table, TextRow, Tree, check_head};
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::ids::Digest;
use cluster_seed::progress::Quiet;
use cluster_seed::proof::{FILE, MAX_PROOF, SnapshotProof};
use cluster_seed::seal::{VerifyingKey, key_text};
use cluster_seed::secret::AgeKey;
use host::files::{digest_file, read_limited, set_dir_mode, write_atomic};
use host::sealed;
use site::Site;
use site::artifacts::{self, chunks_of, netboot_set};
use site::keys::{KeyDir, parse_public};
use site::settle::ID;

use super::collect::rows_file;

const MAX_KEY_FILE: u64 = 64 << 10;
/// Maximum number of files in all trees together.
const MAX_FILES: usize = 1_000_000;

/// Lines of a file of rows, limited in length; the header line is checked and skipped.
pub struct Lines {
    reader: BufReader<File>,
    path: Utf8PathBuf,
}

impl Lines {
    pub fn open(path: &Utf8Path, table: Table) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("opening {path}"))?;
        let mut lines = Lines { reader: BufReader::new(file), path: path.to_owned() };
        let head = lines.next()?.ok_or_else(|| anyhow!("{path} is empty"))?;
        check_head(table, &head)?;
        Ok(lines)
    }

    pub fn next(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        let limit = MAX_LINE as u64 + 1;
        let n = self.reader.by_ref().take(limit).read_line(&mut line).with_context(|| format!("reading {}", self.path))?;
        if n == 0 {
            return Ok(None);
        }
        ensure!(line.ends_with('\n'), "a line of {} is too long or truncated", self.path);
        line.pop();
        Ok(Some(line))
    }
}

/// Fills `staged`. Nothing is written outside of it.
pub fn stage(
    site: &Site,
    manifest: &CapsuleManifest,
    rows: &Utf8Path,
    staged: &Utf8Path,
    pin: &VerifyingKey,
    operator: &AgeKey,
    id: &Digest,
) -> Result<()> {
    if staged.exists() {
        fs::remove_dir_all(staged).with_context(|| format!("removing {staged}"))?;
    }
    let keys = staged.join("keys");
    fs::create_dir_all(&keys).with_context(|| format!("creating {keys}"))?;
    protect(&keys)?;
    texts(rows, staged, &keys)?;
    secrets(site, rows, &keys, pin, operator)?;
    let made = files(site, manifest, rows, staged)?;
    for (tree, tree_id) in made {
        let dir = staged.join(tree.as_str()).join(tree_id.to_string());
        check_tree(tree, tree_id, &dir, manifest, pin).with_context(|| format!("checking {} {tree_id}", tree.as_str()))?;
    }
    write_atomic(&staged.join(ID), id.to_string().as_bytes(), 0o600)?;
    nix::unistd::syncfs(&File::open(staged)?).context("writing to the disk")
}

fn protect(dir: &Utf8Path) -> Result<()> {
    set_dir_mode(dir, 0o700).with_context(|| format!("protecting {dir}"))
}

fn texts(rows: &Utf8Path, staged: &Utf8Path, keys: &Utf8Path) -> Result<()> {
    let mut lines = Lines::open(&rows_file(rows, Table::Text), Table::Text)?;
    let mut seen = BTreeSet::new();
    while let Some(line) = lines.next()? {
        let (name, content) = TextRow::parse(&line)?;
        ensure!(seen.insert(name.clone()), "the capsule contains {name} twice");
        if name == "cluster.yaml" {
            let text = std::str::from_utf8(&content).context("reading the capsule's cluster.yaml")?;
            ClusterSpec::parse(text).map_err(|e| anyhow!("the capsule's cluster.yaml: {}", e.message))?;
            write_atomic(&staged.join(&name), &content, 0o644)?;
        } else {
            write_atomic(&keys.join(&name), &content, 0o644)?;
        }
    }
    for name in ["cluster.yaml", "public.json", "release.pgp"] {
        ensure!(seen.contains(name), "the capsule does not contain {name}");
    }
    Ok(())
}

/// The other site's keys, encrypted to this site's operator key. Each is opened once to check that it matches its name.
fn secrets(site: &Site, rows: &Utf8Path, keys: &Utf8Path, pin: &VerifyingKey, operator: &AgeKey) -> Result<()> {
    let mut lines = Lines::open(&rows_file(rows, Table::Key), Table::Key)?;
    let mut seen = BTreeSet::new();
    while let Some(line) = lines.next()? {
        let (name, ciphertext) = KeyRow::parse(&line)?;
        ensure!(seen.insert(name), "the capsule contains {name} twice");
        write_atomic(&keys.join(name), &ciphertext, 0o600)?;
    }
    let own = read_limited(&site.join("keys/operator.age"), MAX_KEY_FILE)?;
    write_atomic(&keys.join("operator.age"), &own, 0o600)?;
    let path = keys.join("public.json");
    let mut public = parse_public(&read_limited(&path, MAX_KEY_FILE)?).context("reading the capsule's public keys")?;
    ensure!(public.site == key_text(pin), "the capsule's public keys belong to another site");
    public.operator = operator.recipient();
    let dir = KeyDir::new(keys);
    // The operator's key is this site's: it is signed again as soon as the site key is open.
    dir.write_public(&public, None)?;
    let opened = dir.unseal_with(operator).context("opening the capsule's keys")?;
    let same = opened.planes.len() == public.planes.len()
        && opened.planes.iter().all(|(plane, key)| public.planes.get(plane) == Some(&key.public()));
    ensure!(same, "the capsule's plane keys do not match its public keys");
    let vault =
        operator.open(&read_limited(&keys.join("vault.age"), MAX_KEY_FILE)?).context("opening the capsule's vault key")?;
    ensure!(AgeKey::from_secret(&vault)?.recipient() == public.vault, "the capsule's vault key does not match its public keys");
    Ok(())
}

/// Links every listed file to its blob; returns the trees that were created.
fn files(site: &Site, manifest: &CapsuleManifest, rows: &Utf8Path, staged: &Utf8Path) -> Result<BTreeSet<(Tree, Digest)>> {
    let mut lines = Lines::open(&rows_file(rows, Table::File), Table::File)?;
    let mut made = BTreeSet::new();
    let mut count = 0;
    while let Some(line) = lines.next()? {
        let row = FileRow::parse(&line)?;
        count += 1;
        ensure!(count <= MAX_FILES, "the capsule lists more than {MAX_FILES} files");
        ensure!(manifest.size_of(row.sha256) == Some(row.size), "the capsule lists {} but does not contain it", row.path);
        let to = staged.join(row.tree.as_str()).join(row.id.to_string()).join(&row.path);
        let folder = to.parent().unwrap_or(staged);
        fs::create_dir_all(folder).with_context(|| format!("creating {folder}"))?;
        let blob = site.blob(row.sha256);
        match fs::hard_link(&blob, &to) {
            // Too many hard links (ext4 allows 65,000), or a blob on another file system.
            Err(e) if matches!(e.raw_os_error(), Some(nix::libc::EMLINK | nix::libc::EXDEV)) => {
                host::files::copy(&blob, &to).with_context(|| format!("copying to {to}"))?;
            }
            other => other.with_context(|| format!("linking {to}"))?,
        }
        made.insert((row.tree, row.id));
    }
    Ok(made)
}

/// Checks that what is served by name is complete and was signed by the site.
fn check_tree(tree: Tree, id: Digest, dir: &Utf8Path, manifest: &CapsuleManifest, pin: &VerifyingKey) -> Result<()> {
    match tree {
        Tree::Artifacts => {
            for (chunk, size) in chunks_of(&artifacts::read(dir, pin)?) {
                ensure!(manifest.size_of(chunk) == Some(size), "chunk {chunk} is missing");
            }
        }
        Tree::Netboot => {
            let netboot = netboot_set(dir, pin)?;
            ensure!(netboot.id == id, "netboot.json belongs to another netboot set");
            for file in netboot.files {
                let plain = !file.name.contains('/') && file.name != "..";
                ensure!(plain && dir.join(&file.name).is_file(), "{} is missing", file.name);
            }
        }
        Tree::Proofs => check_proof(dir, id, pin)?,
        Tree::Payloads => {
            let (_, found) = digest_file(&dir.join(site::payloads::ARCHIVE), &Quiet)?;
            ensure!(found == id && site::payloads::check(dir, id, pin)?.id == id, "payload {id} is damaged");
        }
        // Signed by their makers, which may be other sites: verified with the maker's key whenever they are read.
        Tree::Snapshots | Tree::Extras => {}
    }
    Ok(())
}

/// Checks that a proof is signed by `pin` and belongs to that snapshot.
pub(crate) fn check_proof(dir: &Utf8Path, snapshot: Digest, pin: &VerifyingKey) -> Result<()> {
    let proof: SnapshotProof = sealed::read(&dir.join(FILE), pin, MAX_PROOF)?;
    ensure!(proof.snapshot == snapshot, "{FILE} belongs to another snapshot");
    Ok(())
}
