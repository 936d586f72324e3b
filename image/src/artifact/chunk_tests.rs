use cluster_seed::manifest::ArtifactSpec;
use cluster_seed::progress::Quiet;

use super::*;

struct Bench {
    _dir: tempfile::TempDir,
    at: Utf8PathBuf,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let at = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    Bench { _dir: dir, at }
}

impl Bench {
    fn split(&self, image: &[u8]) -> Chunked {
        fs::write(self.at.join("image"), image).unwrap();
        split(&self.at.join("image"), &self.at.join("blobs"), &self.at, &Quiet).unwrap()
    }

    fn manifest(&self, chunked: Chunked) -> ArtifactManifest {
        let spec = ArtifactSpec {
            recipe: 1,
            role: "r".into(),
            arch: "amd64".into(),
            snapshot: Digest::of(b"s"),
            packages: vec![],
            payload: Digest::of(b"p"),
        };
        let (id, disk_size) = (spec.id(), chunked.size);
        ArtifactManifest {
            id,
            spec,
            disk_size,
            min_disk: disk_size,
            raw: chunked.raw,
            state_offset: 0,
            state_size: 0,
            chunks: chunked.chunks,
        }
    }
}

fn image() -> Vec<u8> {
    let mut image = vec![0u8; 3 * CHUNK_SIZE as usize + 5];
    image[17] = 1;
    image[2 * CHUNK_SIZE as usize..].fill(7);
    image
}

#[test]
fn an_image_comes_back_and_zeros_are_not_stored() {
    let b = bench();
    let chunked = b.split(&image());
    assert_eq!((chunked.chunks.len(), chunked.chunks[1]), (4, Chunk::Zero));
    assert_eq!(chunked.raw, Digest::of(&image()));
    assemble(&b.manifest(chunked), &b.at.join("blobs"), &b.at.join("out"), &Quiet).unwrap();
    assert!(fs::read(b.at.join("out")).unwrap() == image());
}

#[test]
fn lengths_around_one_chunk() {
    let b = bench();
    for (len, chunks) in [(0, 0), (1, 1), (CHUNK_SIZE - 1, 1), (CHUNK_SIZE, 1), (CHUNK_SIZE + 1, 2)] {
        let chunked = b.split(&vec![3; len as usize]);
        assert_eq!((chunked.chunks.len(), chunked.size), (chunks, len));
    }
}

#[test]
fn a_changed_blob_or_a_wrong_digest_is_refused_and_nothing_is_left() {
    let b = bench();
    let good = b.manifest(b.split(&image()));
    let out = b.at.join("out");
    let refused = |m: &ArtifactManifest| assemble(m, &b.at.join("blobs"), &out, &Quiet).unwrap_err();
    let mut wrong = good.clone();
    wrong.raw = Digest::of(b"other");
    assert!(matches!(refused(&wrong), ChunkError::Image));
    let mut wrong = good.clone();
    wrong.chunks.swap(0, 2);
    assert!(matches!(refused(&wrong), ChunkError::Image));
    let mut wrong = good.clone();
    if let Chunk::Zstd { raw, .. } = &mut wrong.chunks[2] {
        *raw = Digest::of(b"other");
    }
    assert!(matches!(refused(&wrong), ChunkError::Corrupt { index: 2, .. }));
    let Chunk::Zstd { stored, .. } = &good.chunks[0] else { panic!("chunk 0 holds a byte") };
    let blob = blob_path(&b.at.join("blobs"), stored);
    let mut bytes = fs::read(&blob).unwrap();
    bytes[9] ^= 1;
    fs::write(&blob, bytes).unwrap();
    assert!(matches!(refused(&good), ChunkError::Corrupt { index: 0, .. }));
    assert!(!out.exists() && !Utf8PathBuf::from(format!("{out}.part")).exists());
}

#[test]
fn a_chunk_that_unpacks_to_more_than_a_chunk_is_refused() {
    let b = bench();
    let bomb = zstd::bulk::compress(&vec![0u8; 64 << 20], 1).unwrap();
    let stored = store(&b.at.join("blobs"), &b.at, &bomb).unwrap();
    let chunk = Chunk::Zstd { stored, stored_size: bomb.len() as u32, raw: Digest::of(b"x") };
    assert!(matches!(open_chunk(&b.at.join("blobs"), 0, &chunk, CHUNK_SIZE), Err(ChunkError::Corrupt { .. })));
}
