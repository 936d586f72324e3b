use super::*;
use crate::capsule::{FileRow, MAX_BLOB, Piece, Tree};
use crate::seal::SigningKey;
use std::collections::BTreeMap;

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn row(path: &str, content: &[u8]) -> FileRow {
    let (size, sha256) = (content.len() as u64, Digest::of(content));
    FileRow { tree: Tree::Snapshots, id: Digest([1; 32]), path: path.into(), size, sha256 }
}

fn list() -> ArchiveList {
    let held = BTreeMap::from([(Digest::of(b"old"), 3)]);
    ArchiveList::new(vec![row("pool/b", b"new"), row("a", b"old"), row("pool/a+b", b"new")], &held)
}

fn header(list: &ArchiveList) -> ArchiveHeader {
    let text = list.render().unwrap();
    ArchiveHeader {
        version: VERSION,
        snapshot: Digest([1; 32]),
        list: Digest::of(text.as_bytes()),
        list_size: text.len() as u64,
        bytes: list.bytes(),
        since: Some(Digest([2; 32])),
    }
}

#[test]
fn a_list_is_read_back() {
    let list = list();
    assert_eq!((list.blobs.len(), list.held.len(), list.bytes()), (1, 1, 3));
    let text = list.render().unwrap();
    assert_eq!(ArchiveList::parse(&text).unwrap(), list);
    assert_eq!(ArchiveList::open(text.as_bytes(), &header(&list)).unwrap(), list);
    let sealed = Sealed::sign(&header(&list), &key(1)).unwrap();
    assert!(ArchiveHeader::open(&sealed, &key(1).verifying_key()).is_ok());
    assert!(matches!(ArchiveHeader::open(&sealed, &key(2).verifying_key()), Err(ArchiveError::Seal(_))));
}

#[test]
fn every_flipped_byte_of_a_list_is_refused() {
    let list = list();
    let (text, header) = (list.render().unwrap(), header(&list));
    for at in 0..text.len() {
        let mut bad = text.clone().into_bytes();
        bad[at] ^= 1;
        assert!(ArchiveList::open(&bad, &header).is_err(), "byte {at}");
    }
    assert!(ArchiveList::open(&text.as_bytes()[..text.len() - 1], &header).is_err());
}

/// What a maker with the right key could still write.
#[test]
fn a_signed_list_cannot_point_anywhere_else() {
    for path in ["", "/etc/passwd", "..", "../x", "a/../b", "a//b", "./a", ".hidden", "a/", "a\\b", "a\0b", "a b"] {
        let list = ArchiveList::new(vec![row(path, b"x")], &BTreeMap::new());
        assert!(ArchiveList::parse(&list.render().unwrap()).is_err(), "{path:?}");
    }
    let good = ArchiveList::new(vec![row("a", b"x"), row("b", b"x")], &BTreeMap::new());
    assert!(ArchiveList::parse(&good.render().unwrap()).is_ok());
    let mut twice = good.clone();
    twice.files[1].path = "a".into();
    let mut order = good.clone();
    order.files.swap(0, 1);
    let mut lie = good.clone();
    lie.files[0].size = 2;
    let mut extra = good.clone();
    extra.blobs.push(Piece { size: 1, sha256: Digest([255; 32]) });
    let mut missing = good.clone();
    missing.blobs.clear();
    let mut both = good.clone();
    both.held = both.blobs.clone();
    let mut huge = good.clone();
    huge.blobs[0].size = MAX_BLOB + 1;
    huge.files.iter_mut().for_each(|f| f.size = MAX_BLOB + 1);
    let mut tree = good.clone();
    tree.files[0].tree = Tree::Artifacts;
    tree.files.rotate_left(1);
    for (what, bad) in [
        ("twice", twice),
        ("order", order),
        ("size lie", lie),
        ("extra piece", extra),
        ("no piece", missing),
        ("both", both),
        ("huge", huge),
        ("tree", tree),
    ] {
        assert!(ArchiveList::parse(&bad.render().unwrap()).is_err(), "{what}");
    }
    for text in [r#"{"link":{"path":"a","to":"/"}}"#, r#"{"device":{}}"#, "", "x", "{}"] {
        let with = format!("{}{text}\n", good.render().unwrap());
        assert!(ArchiveList::parse(&with).is_err(), "{text:?}");
    }
}

#[test]
fn a_file_cannot_be_a_folder_too() {
    for (paths, good) in [
        (&["a", "a/b"][..], false),
        (&["a", "a+b", "a/b"][..], false),
        (&["a/b", "a/b/c/d"][..], false),
        (&["a", "ab/c"][..], true),
        (&["a+", "a/b"][..], true),
        (&["a/b", "a/bc", "a/c/d"][..], true),
    ] {
        let list = ArchiveList::new(paths.iter().map(|p| row(p, b"x")).collect(), &BTreeMap::new());
        assert_eq!(ArchiveList::parse(&list.render().unwrap()).is_ok(), good, "{paths:?}");
    }
}

#[test]
fn a_header_at_its_limits() {
    let list = list();
    let open = |h: ArchiveHeader| ArchiveHeader::open(&Sealed::sign(&h, &key(1)).unwrap(), &key(1).verifying_key());
    let good = header(&list);
    assert!(open(ArchiveHeader { list_size: MAX_LIST, bytes: MAX_BYTES, ..good.clone() }).is_ok());
    assert!(open(ArchiveHeader { list_size: MAX_LIST + 1, ..good.clone() }).is_err());
    assert!(open(ArchiveHeader { bytes: MAX_BYTES + 1, ..good.clone() }).is_err());
    assert!(open(ArchiveHeader { version: 2, ..good.clone() }).is_err());
    let text = list.render().unwrap();
    for bad in [
        ArchiveHeader { bytes: 4, ..good.clone() },
        ArchiveHeader { since: None, ..good.clone() },
        ArchiveHeader { snapshot: Digest([3; 32]), ..good },
    ] {
        assert!(ArchiveList::open(text.as_bytes(), &bad).is_err(), "{bad:?}");
    }
}
