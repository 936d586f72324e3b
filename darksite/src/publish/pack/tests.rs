use std::io::Read as _;

use super::*;
use crate::format::texts::plain_digest;
use proptest::prelude::*;

fn unxz(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    liblzma::read::XzDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    // Not the multi-member reader: it has to be one member.
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

fn packages(count: usize, changed: Option<usize>) -> Vec<(String, String)> {
    let version = |n: usize| if changed == Some(n) { "2" } else { "1" };
    (0..count).map(|n| (format!("p{n}"), format!("Package: p{n}\nVersion: {}\nSize: {}\n", version(n), n * 7919))).collect()
}

fn borrowed(list: &[(String, String)]) -> Vec<(&str, &str)> {
    list.iter().map(|(n, s)| (n.as_str(), s.as_str())).collect()
}

fn plain(stanzas: &Stanzas<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write_plain(stanzas, &mut out).unwrap();
    out
}

#[test]
fn any_number_of_shards_unpacks_to_the_text() {
    for count in [0, 1, 2, 127, 500, 3000] {
        let list = packages(count, None);
        let stanzas = borrowed(&list);
        let text = plain(&stanzas);
        let packed = pack(&stanzas, None).unwrap();
        assert_eq!(unxz(&packed.xz), text, "{count}");
        assert_eq!(gunzip(&packed.gz), text, "{count}");
        assert_eq!(plain_digest(&stanzas), (text.len() as u64, Digest::of(&text)));
    }
    assert!(cut(&borrowed(&packages(3000, None))).len() > 10);
}

#[test]
fn packed_bytes_are_those_of_the_format_number() {
    let packed = pack(&borrowed(&packages(300, None)), None).unwrap();
    let found = [Digest::of(&packed.xz).to_string(), Digest::of(&packed.gz).to_string()];
    let want = [
        "1eba70d5203f85570b0cb3dfa0adbcd35bdff0f6d8e360817f881ea2e35f2d37",
        "bc1404069aa251ebcc3c69810050133f2e57472b07f858dacb3b5321e97c5a0f",
    ];
    assert_eq!(found, want, "a compressor changed: increment FORMAT and update the digests");
}

#[test]
fn a_shard_has_a_limit() {
    let large = "x".repeat(MAX_SHARD - 1);
    let stanzas = [("a", "1"), ("b", large.as_str()), ("c", "2"), ("d", large.as_str())];
    assert_eq!(cut(&stanzas), [(0, 1), (1, 2), (2, 3), (3, 4)]);
    assert_eq!(unxz(&pack(&stanzas, None).unwrap().xz), plain(&stanzas));
}

#[test]
fn one_change_packs_one_shard_again_and_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8Path::from_path(dir.path()).unwrap();
    let (before, after) = (packages(3000, None), packages(3000, Some(1234)));
    let names = |cache: &ShardCache| cache.used.lock().unwrap().clone();
    let first = ShardCache::new(path);
    pack(&borrowed(&before), Some(&first)).unwrap();
    let second = ShardCache::new(path);
    let cached = pack(&borrowed(&after), Some(&second)).unwrap();
    assert_eq!(names(&second).difference(&names(&first)).count(), 1);
    let fresh = pack(&borrowed(&after), None).unwrap();
    assert!(fresh.xz == cached.xz && fresh.gz == cached.gz);
    second.prune();
    assert_eq!(second.dir.read_dir_utf8().unwrap().count(), names(&second).len());
}

#[test]
fn a_spoilt_shard_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let cache = ShardCache::new(Utf8Path::from_path(dir.path()).unwrap());
    let list = packages(10, None);
    let good = pack(&borrowed(&list), Some(&cache)).unwrap();
    let file = cache.dir.read_dir_utf8().unwrap().next().unwrap().unwrap().into_path();
    let bytes = std::fs::read(&file).unwrap();
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        assert!(Packed::read(&bad).is_none(), "byte {at}");
        assert!(Packed::read(&bytes[..at]).is_none(), "cut at {at}");
    }
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let again = pack(&borrowed(&list), Some(&cache)).unwrap();
    assert!(again.xz == good.xz && again.gz == good.gz);
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
}

proptest! {
    #[test]
    fn any_text_comes_back(parts in prop::collection::vec(("[a-z]{1,6}", "[ -~\n]{1,300}"), 0..60)) {
        let stanzas = borrowed(&parts);
        let text = plain(&stanzas);
        let packed = pack(&stanzas, None).unwrap();
        prop_assert_eq!(unxz(&packed.xz), text.clone());
        prop_assert_eq!(gunzip(&packed.gz), text);
    }
}
