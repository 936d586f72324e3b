use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use camino::Utf8Path;

use super::*;

fn archive(n: u8) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut noise = u32::from(n) + 7;
    let body: Vec<u8> = (0..200_000)
        .map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            noise.to_be_bytes()[0]
        })
        .collect();
    let mut header = tar::Header::new_ustar();
    header.set_path("ansible/roles/a/tasks/main.yml").unwrap();
    header.set_size(body.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    builder.append(&header, &body[..]).unwrap();
    zstd::encode_all(&builder.into_inner().unwrap()[..], 1).unwrap()
}

fn wanted(bytes: &[u8]) -> Wanted {
    Wanted { digest: Digest::of(bytes), size: bytes.len() as u64 }
}

/// A seed with one file. It hangs up after `cut` bytes of each response, and notes the ranges asked for.
struct Seed {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

fn seed(file: Vec<u8>, cut: usize, ranges: bool) -> Seed {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
            let Some(range) = head.lines().find_map(|l| l.strip_prefix("range: bytes=")) else { continue };
            noted.lock().unwrap().push(range.to_owned());
            let from: usize = if ranges { range.trim_end_matches('-').parse().unwrap() } else { 0 };
            let rest = &file[from..];
            let status = match ranges {
                true => format!("206 Partial Content\r\ncontent-range: bytes {from}-{}/{}", file.len() - 1, file.len()),
                false => "200 OK".to_owned(),
            };
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", rest.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&rest[..rest.len().min(cut)]));
        }
    });
    Seed { url, asked }
}

struct Root {
    _dir: tempfile::TempDir,
    root: Utf8PathBuf,
}

impl Root {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        Root { _dir: dir, root }
    }

    fn places(&self) -> Places<'_> {
        Places { root: &self.root }
    }

    fn ensure(&self, wanted: Wanted, seed: Option<&Seed>) -> Result<Utf8PathBuf, FetchError> {
        ensure(self.places(), wanted, seed.map(|s| Http::new(&s.url)).as_ref(), &|_| ())
    }

    fn cache(&self) -> Vec<String> {
        let entries = self.places().cache().read_dir_utf8().map(|d| d.map(|e| e.unwrap().file_name().to_owned()).collect());
        let mut names: Vec<String> = entries.unwrap_or_default();
        names.sort();
        names
    }
}

fn is_unpacked(dir: &Utf8Path) -> bool {
    fs::metadata(dir.join("ansible/roles/a/tasks/main.yml")).is_ok_and(|m| m.len() == 200_000)
}

#[test]
fn a_payload_is_downloaded_verified_and_unpacked_once() {
    let (root, bytes) = (Root::new(), archive(1));
    let seed = seed(bytes.clone(), usize::MAX, true);
    let counted = Mutex::new(0);
    let http = Http::new(&seed.url);
    let dir = ensure(root.places(), wanted(&bytes), Some(&http), &|n| *counted.lock().unwrap() = n).unwrap();
    assert!(is_unpacked(&dir));
    assert_eq!(*counted.lock().unwrap(), bytes.len() as u64);
    assert_eq!(root.cache(), [Digest::of(&bytes).to_string()], "nothing else is left");
    root.ensure(wanted(&bytes), Some(&seed)).unwrap();
    assert_eq!(*seed.asked.lock().unwrap(), ["0-"]);
}

#[test]
fn an_interrupted_download_continues_where_it_ended() {
    let (root, bytes) = (Root::new(), archive(1));
    let cut = bytes.len() / 3 + 1;
    let seed = seed(bytes.clone(), cut, true);
    assert!(is_unpacked(&root.ensure(wanted(&bytes), Some(&seed)).unwrap()));
    let asked = seed.asked.lock().unwrap().clone();
    assert_eq!(asked.first().map(String::as_str), Some("0-"));
    assert!((3..=4).contains(&asked.len()) && asked[1..].iter().all(|range| range != "0-"), "{asked:?}");
    // After a restart too.
    let again = Root::new();
    let part = again.places().cache().join(format!("{}.part", Digest::of(&bytes)));
    fs::create_dir_all(part.parent().unwrap()).unwrap();
    fs::write(&part, &bytes[..1000]).unwrap();
    let seed = self::seed(bytes.clone(), usize::MAX, true);
    assert!(is_unpacked(&again.ensure(wanted(&bytes), Some(&seed)).unwrap()));
    assert_eq!(*seed.asked.lock().unwrap(), ["1000-"]);
}

#[test]
fn a_server_without_ranges_sends_the_whole_file() {
    let (root, bytes) = (Root::new(), archive(1));
    let part = root.places().cache().join(format!("{}.part", Digest::of(&bytes)));
    fs::create_dir_all(part.parent().unwrap()).unwrap();
    fs::write(&part, [7; 50]).unwrap();
    let seed = seed(bytes.clone(), usize::MAX, false);
    assert!(is_unpacked(&root.ensure(wanted(&bytes), Some(&seed)).unwrap()));
}

#[test]
fn other_bytes_are_refused_and_nothing_of_them_stays() {
    let bytes = archive(1);
    for at in [0, 4, bytes.len() / 2, bytes.len() - 1] {
        let (root, mut bad) = (Root::new(), bytes.clone());
        bad[at] ^= 1;
        let seed = seed(bad, usize::MAX, true);
        assert!(matches!(root.ensure(wanted(&bytes), Some(&seed)), Err(FetchError::Digest { .. })), "{at}");
        assert!(root.cache().is_empty(), "{:?}", root.cache());
    }
    for (offered, size) in [(bytes.len() + 1, bytes.len()), (bytes.len(), bytes.len() + 1), (bytes.len(), bytes.len() - 1)] {
        let (root, mut other) = (Root::new(), bytes.clone());
        other.resize(offered, 0);
        let seed = seed(other, usize::MAX, true);
        let wanted = Wanted { digest: Digest::of(&bytes), size: size as u64 };
        assert!(root.ensure(wanted, Some(&seed)).is_err(), "{offered} {size}");
        assert!(root.cache().iter().all(|name| name.ends_with(".part")));
    }
    let (root, seed) = (Root::new(), seed(bytes.clone(), usize::MAX, true));
    let large = Wanted { digest: Digest::of(&bytes), size: MAX_ARCHIVE + 1 };
    assert!(matches!(root.ensure(large, Some(&seed)), Err(FetchError::Size(_))));
    assert!(seed.asked.lock().unwrap().is_empty());
}

#[test]
fn the_payload_of_the_image_needs_no_seed_unless_it_is_damaged() {
    let (root, bytes) = (Root::new(), archive(1));
    let baked = root.places().baked(&Digest::of(&bytes));
    fs::create_dir_all(baked.parent().unwrap()).unwrap();
    fs::write(&baked, &bytes).unwrap();
    assert!(is_unpacked(&root.ensure(wanted(&bytes), None).unwrap()));
    fs::remove_dir_all(root.places().cache()).unwrap();
    fs::write(&baked, &bytes[1..]).unwrap();
    let error = root.ensure(wanted(&bytes), None).unwrap_err();
    assert!(matches!(error, FetchError::NoPlane) && error.is_temporary());
    let seed = seed(bytes.clone(), usize::MAX, true);
    assert!(is_unpacked(&root.ensure(wanted(&bytes), Some(&seed)).unwrap()));
}

#[test]
fn what_an_interrupted_run_left_is_no_payload() {
    let (root, bytes) = (Root::new(), archive(1));
    let left = root.places().cache().join(format!("{}.new", Digest::of(&bytes)));
    fs::create_dir_all(left.join("ansible/roles/evil")).unwrap();
    let seed = seed(bytes.clone(), usize::MAX, true);
    let dir = root.ensure(wanted(&bytes), Some(&seed)).unwrap();
    assert!(is_unpacked(&dir) && !dir.join("ansible/roles/evil").exists());
    assert_eq!(root.cache().len(), 1);
}

#[test]
fn the_newest_two_payloads_stay_and_those_in_use() {
    let (root, digests) = (Root::new(), [1, 2, 3, 4].map(|n| Digest([n; 32])));
    let cache = root.places().cache();
    let fill = || {
        for (age, digest) in (0u64..).zip(&digests) {
            let dir = cache.join(digest.to_string());
            fs::create_dir_all(&dir).unwrap();
            let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 - age);
            File::open(&dir).unwrap().set_modified(time).unwrap();
        }
        fs::write(cache.join(format!("{}.part", digests[3])), "x").unwrap();
        fs::write(cache.join(format!("{}.part", digests[1])), "x").unwrap();
    };
    let names = |list: &[usize]| {
        let mut names: Vec<String> = list.iter().map(|n| digests[*n].to_string()).collect();
        names.sort();
        names
    };
    fill();
    prune(root.places(), &[digests[3]]);
    let left: Vec<String> = root.cache().into_iter().filter(|n| !n.contains('.')).collect();
    assert_eq!(left, names(&[0, 3]));
    assert!(root.cache().contains(&format!("{}.part", digests[3])) && root.cache().len() == 3);
    fill();
    prune(root.places(), &[digests[2], digests[3]]);
    let left: Vec<String> = root.cache().into_iter().filter(|n| !n.contains('.')).collect();
    assert_eq!(left, names(&[2, 3]));
    prune(root.places(), &[]);
    assert_eq!(root.cache(), names(&[2, 3]));
}
