use super::super::*;
use super::*;
use crate::seal::SigningKey;
use crate::secret::AgeKey;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn manifest(recipient: &str, contents: &[&[u8]]) -> CapsuleManifest {
    let mut entries: Vec<Entry> =
        Table::ALL.iter().map(|t| Entry::Rows { table: *t, size: 0, sha256: Digest::of(b"") }).collect();
    let mut blobs: Vec<Entry> = contents.iter().map(|c| Entry::Blob { size: c.len() as u64, sha256: Digest::of(c) }).collect();
    blobs.sort_by_key(Entry::sha256);
    entries.extend(blobs);
    CapsuleManifest {
        version: VERSION,
        program: "test".into(),
        site: "site-a".into(),
        site_key: key_text(&key().verifying_key()),
        recipient: recipient.into(),
        created: 1_760_000_000,
        epoch: 1,
        event: 7,
        since: None,
        medium: None,
        entries,
        assumed: Vec::new(),
    }
}

/// A whole capsule in memory, made and read with this module alone.
fn make(recipient: &str, content: &[u8]) -> Vec<u8> {
    let manifest = manifest(recipient, &[content]);
    let text = serde_json::to_vec(&Sealed::sign(&manifest, &key()).unwrap()).unwrap();
    let id = Digest::of(&text);
    let bytes = manifest.check().unwrap();
    let header = CapsuleHeader { version: VERSION, id, recipient: recipient.into(), created: 1_760_000_000, bytes, since: None };
    let mut out = header_bytes(&Sealed::sign(&header, &key()).unwrap()).unwrap();
    out.extend(seal_frame(recipient, &id, 0, &text).unwrap());
    for (i, part) in content.chunks(FRAME as usize).enumerate() {
        out.extend(seal_frame(recipient, &id, i as u64 + 1, part).unwrap());
    }
    out
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(n)?;
    *rest = left;
    Some(taken)
}

/// The content, or `None` if anything at all is wrong.
fn read(capsule: &[u8], machine: &AgeKey) -> Option<Vec<u8>> {
    let mut rest = capsule;
    let n = header_len(take(&mut rest, PREFIX)?.try_into().ok()?).ok()?;
    let sealed = serde_json::from_slice(take(&mut rest, n)?).ok()?;
    let header = CapsuleHeader::open(&sealed, &key().verifying_key()).ok()?;
    let mut frame = |index| {
        let n = frame_len(index, take(&mut rest, 4)?.try_into().ok()?).ok()?;
        open_frame(machine, &header.id, index, take(&mut rest, n)?).ok()
    };
    let manifest = CapsuleManifest::open(&frame(0)?, &header, &key().verifying_key()).ok()?;
    let mut content = Vec::new();
    for index in 1..=frame_count(header.bytes) {
        let part = frame(index)?;
        (part.len() as u64 == frame_payload(header.bytes, index)).then_some(())?;
        content.extend(part);
    }
    let blob = manifest.blobs().first()?;
    (rest.is_empty() && Digest::of(&content) == blob.sha256()).then_some(content)
}

#[test]
fn every_flipped_byte_and_every_truncation_is_refused() {
    let machine = AgeKey::generate();
    let good = make(&machine.recipient(), b"small content");
    assert_eq!(read(&good, &machine).unwrap(), b"small content");
    for at in 0..good.len() {
        assert!(read(&good[..at], &machine).is_none(), "cut at {at} of {}", good.len());
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(read(&bad, &machine).is_none(), "byte {at} of {} flipped", good.len());
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(read(&longer, &machine).is_none());
    assert!(read(&good, &AgeKey::generate()).is_none(), "it is for one recipient");
}

#[test]
fn frames_cannot_change_places_even_where_their_content_is_the_same() {
    let machine = AgeKey::generate();
    let id = Digest::of(b"id");
    let one = seal_frame(&machine.recipient(), &id, 1, b"same").unwrap();
    assert_eq!(open_frame(&machine, &id, 1, &one[4..]).unwrap(), b"same");
    assert!(matches!(open_frame(&machine, &id, 2, &one[4..]), Err(CapsuleError::Misplaced { index: 2 })));
    assert!(matches!(open_frame(&machine, &Digest::of(b"x"), 1, &one[4..]), Err(CapsuleError::Misplaced { .. })));
}

#[test]
fn a_host_name_is_nowhere_in_clear() {
    let machine = AgeKey::generate();
    let capsule = make(&machine.recipient(), b"n1.kubedos.lan");
    for secret in [&b"n1.kubedos.lan"[..], b"site-a"] {
        assert!(!capsule.windows(secret.len()).any(|w| w == secret));
    }
}

#[test]
fn frames_cover_the_content_exactly() {
    for (bytes, frames, last) in [(0, 0, 0), (1, 1, 1), (FRAME, 1, FRAME), (FRAME + 1, 2, 1), (2 * FRAME, 2, FRAME)] {
        assert_eq!(frame_count(bytes), frames, "{bytes}");
        assert_eq!(frame_payload(bytes, frames), last, "{bytes}");
    }
    let limit = |index, most: u64| {
        assert!(frame_len(index, (most as u32).to_be_bytes()).is_ok());
        assert!(frame_len(index, (most as u32 + 1).to_be_bytes()).is_err());
        assert!(frame_len(index, [255; 4]).is_err());
    };
    limit(0, MAX_STORED_MANIFEST);
    limit(1, MAX_STORED_FRAME);
}

#[test]
fn a_manifest_that_lies_is_refused() {
    let good = manifest("age1x", &[b"a", b"b"]);
    assert_eq!(good.check().unwrap(), 2);
    let n = Table::ALL.len();
    let refused = |what: &str, change: &dyn Fn(&mut CapsuleManifest)| {
        let mut m = good.clone();
        change(&mut m);
        assert!(m.check().is_err(), "{what}");
    };
    refused("another version", &|m| m.version += 1);
    refused("a table twice", &|m| m.entries[1] = m.entries[0]);
    refused("tables in another order", &|m| m.entries.swap(0, 1));
    refused("a table missing", &|m| m.entries.retain(|e| *e != good.entries[3]));
    refused("a blob twice", &|m| m.entries.push(m.entries[n]));
    refused("blobs in another order", &|m| m.entries.swap(n, n + 1));
    refused("a table among the blobs", &|m| m.entries.push(m.entries[0]));
    refused("nothing", &|m| m.entries.clear());
    let sized = |size| Entry::Blob { size, sha256: Digest([255; 32]) };
    refused("a bomb", &|m| m.entries.push(sized(MAX_BLOB + 1)));
    refused("sizes that overflow", &|m| m.entries.push(sized(u64::MAX)));
    let assumed = |n: u8| Assumed { size: 1, sha256: Digest([n; 32]) };
    refused("assumed without an earlier capsule", &|m| m.assumed.push(assumed(1)));
    let since = |m: &mut CapsuleManifest, list: Vec<Assumed>| {
        m.since = Some(Digest([1; 32]));
        m.assumed = list;
    };
    refused("assumed twice", &|m| since(m, vec![assumed(1), assumed(1)]));
    refused("assumed and there", &|m| since(m, vec![Assumed { size: 1, sha256: m.entries[n].sha256() }]));
    let mut fine = good.clone();
    since(&mut fine, vec![assumed(1), assumed(2)]);
    assert!(fine.check().is_ok());
    assert_eq!(fine.size_of(Digest([2; 32])), Some(1));
    assert_eq!(fine.size_of(Digest::of(b"a")), Some(1));
    assert_eq!(fine.size_of(Digest([9; 32])), None);
}

#[test]
fn a_manifest_has_a_limited_number_of_entries() {
    let mut m = manifest("age1x", &[]);
    m.since = Some(Digest([1; 32]));
    let numbered = |n: usize| {
        let mut bytes = [0u8; 32];
        bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
        Assumed { size: 1, sha256: Digest(bytes) }
    };
    m.assumed = (0..MAX_ENTRIES - m.entries.len()).map(numbered).collect();
    assert!(m.check().is_ok());
    m.assumed.push(numbered(MAX_ENTRIES));
    assert!(m.check().is_err());
}

#[test]
fn an_unknown_kind_or_field_is_not_read() {
    let zero = "0".repeat(64);
    for text in [
        format!(r#"{{"kind":"link","size":1,"sha256":"{zero}"}}"#),
        format!(r#"{{"kind":"blob","size":1,"sha256":"{zero}","path":"../../etc/passwd"}}"#),
        format!(r#"{{"kind":"rows","table":"../x","size":1,"sha256":"{zero}"}}"#),
        format!(r#"{{"kind":"blob","size":-1,"sha256":"{zero}"}}"#),
        r#"{"kind":"blob","size":1,"sha256":"../../etc/passwd"}"#.to_owned(),
    ] {
        assert!(serde_json::from_str::<Entry>(&text).is_err(), "{text}");
    }
    for table in Table::ALL {
        assert_eq!(serde_json::to_value(table).unwrap(), table.as_str());
    }
}
