//! Files over HTTP: a single one at a path from the daemon, or any below a directory from the daemon.

pub(crate) mod etag;
pub(crate) mod handover;
pub(crate) mod safe_path;

use std::fs::File;
use std::io;
use std::io::{Seek as _, SeekFrom};
use std::sync::{Arc, OnceLock};

use askama::Template;
use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    ETAG, LAST_MODIFIED, LOCATION,
};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use camino::{Utf8Path, Utf8PathBuf};
use cluster_seed::ids::Digest;
use cluster_seed::manifest::SHELVES;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use crate::dates::{http_date, seconds};
use crate::error::Failure;
use crate::limits::{FILE_BUFFER, MAX_LISTING};
use crate::look::Look;
use crate::words::Lang;
use etag::{Answer, Validators, decide};
use handover::{Opened, Sendable, Wanted};
use safe_path::{SafePath, encode};

/// How long a client may cache a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Named by its digest, never changes.
    Forever,
    /// Ask the seed again every time.
    Revalidate,
}

/// A file older than this (1971) got its date from a reproducible build or a stopped clock; its date is not sent.
const FIRST_DATE: u64 = 31_536_000;

/// The type of files whose names say nothing about it.
const BYTES: &str = "application/octet-stream";
/// Linux: a loop of symbolic links. Its `io::ErrorKind` is not stable yet.
const ELOOP: i32 = 40;

enum Found {
    File { file: File, path: Utf8PathBuf, validators: Validators, identity: (u64, u64, i64, i64) },
    Directory(Vec<Entry>),
}

struct Entry {
    name: String,
    href: String,
    directory: bool,
    size: u64,
    modified: String,
}

/// The only thing that the policy of a listing allows, by its digest. The machines' listener does not serve the pages'
/// style.
const LISTING_STYLE: &str = include_str!("../../templates/listing.css");
static LISTING_POLICY: OnceLock<String> = OnceLock::new();

#[derive(Template)]
#[template(path = "listing.html")]
struct Listing<'a> {
    style: &'static str,
    lang: Lang,
    path: String,
    top: bool,
    entries: &'a [Entry],
    /// How many are shown, in words.
    count: String,
    cut: bool,
}

/// Serves the file at `path`, which comes from the daemon. `digest` is its name if it is named by its content.
pub(crate) async fn one(path: Utf8PathBuf, digest: Option<String>, wanted: &Wanted) -> Result<Response, Failure> {
    let keep = if digest.is_some() { Keep::Forever } else { Keep::Revalidate };
    match blocking(move || open(&path, digest)).await? {
        Some(found @ Found::File { .. }) => send(found, BYTES, keep, wanted),
        _ => Err(Failure::not_found()),
    }
}

/// Serves the file at `path` as a download called `name`.
pub(crate) async fn download(path: Utf8PathBuf, name: &str, method: &Method, headers: &HeaderMap) -> Result<Response, Failure> {
    let wanted = Wanted { method: method.clone(), headers: headers.clone(), can_send: false };
    let mut response = one(path, None, &wanted).await?;
    insert(&mut response, CONTENT_DISPOSITION, &format!("attachment; filename=\"{name}\""))?;
    Ok(response)
}

/// Serves the file or directory at `path` below `root`; `shown` is the path of the request, for links.
pub(crate) async fn below(root: Utf8PathBuf, path: SafePath, shown: &str, wanted: &Wanted) -> Result<Response, Failure> {
    let kind = path.names.last().map_or("", |name| content_type(name));
    let (directory, top) = (path.directory, path.names.is_empty());
    match blocking(move || within(&root, &path)).await? {
        Some(found @ Found::File { .. }) if !directory => send(found, kind, Keep::Revalidate, wanted),
        Some(Found::Directory(entries)) if directory => listing(Look::of(&wanted.headers).lang, shown, top, &entries),
        Some(Found::Directory(_)) => Ok((StatusCode::MOVED_PERMANENTLY, [(LOCATION, format!("{shown}/"))]).into_response()),
        _ => Err(Failure::not_found()),
    }
}

async fn blocking<T: Send + 'static>(f: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<Option<T>, Failure> {
    let done = tokio::task::spawn_blocking(f).await.map_err(|e| Failure::internal(format!("opening a file crashed: {e}")))?;
    match done {
        Ok(found) => Ok(Some(found)),
        Err(e) if is_no_file(&e) => Ok(None),
        Err(e) => Err(Failure::internal(format!("opening a file: {e}"))),
    }
}

/// The name is wrong, not the disk.
fn is_no_file(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::NotFound | K::NotADirectory | K::InvalidFilename) || error.raw_os_error() == Some(ELOOP)
}

/// Opens `path` below `root`. Symbolic links are followed only if they stay inside or lead to a snapshot's shelves.
fn within(root: &Utf8Path, path: &SafePath) -> io::Result<Found> {
    let root = root.canonicalize_utf8()?;
    let real = path.below(&root).canonicalize_utf8()?;
    if !is_inside(&root, &real) {
        return Err(io::ErrorKind::NotFound.into());
    }
    if real.symlink_metadata()?.is_dir() { Ok(Found::Directory(list(&root, &real)?)) } else { open(&real, None) }
}

fn is_inside(root: &Utf8Path, real: &Utf8Path) -> bool {
    real.starts_with(root) || root.parent().is_some_and(|beside| real.starts_with(beside.join(SHELVES)))
}

fn open(path: &Utf8Path, digest: Option<String>) -> io::Result<Found> {
    // Checked before it is opened: opening a FIFO would hang.
    if !path.metadata()?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    describe(File::open(path)?, path, digest)
}

/// What to send about a file that was opened at `path`.
fn describe(file: File, path: &Utf8Path, digest: Option<String>) -> io::Result<Found> {
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let modified = meta.modified()?;
    let nanos = modified.duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    // The path is part of it: files of two snapshots may have the same size and, built reproducibly, the same date.
    let place = Digest::of(path.as_str().as_bytes()).short();
    let etag = digest.map_or_else(|| format!("\"{:x}-{nanos:x}-{place}\"", meta.len()), |d| format!("\"{d}\""));
    let modified = Some(seconds(modified)).filter(|s| *s >= FIRST_DATE);
    let validators = Validators { etag, modified, len: meta.len() };
    Ok(Found::File { file, path: path.to_owned(), validators, identity: identity(&meta) })
}

/// Names that cannot be requested are not listed.
fn list(root: &Utf8Path, path: &Utf8Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in path.read_dir()?.take(MAX_LISTING + 1) {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if SafePath::parse(&encode(&name)).is_none() {
            continue;
        }
        let Ok(mut meta) = entry.metadata() else { continue };
        // A link that leads outside is listed as the link itself.
        if meta.is_symlink()
            && let Ok(real) = path.join(&name).canonicalize_utf8()
            && is_inside(root, &real)
        {
            meta = real.metadata()?;
        }
        let slash = if meta.is_dir() { "/" } else { "" };
        let modified = meta.modified().map(|t| crate::dates::iso(seconds(t))).unwrap_or_default();
        // "./" keeps a name with a colon from being read as a scheme.
        let href = format!("./{}{slash}", encode(&name));
        entries.push(Entry { href, name: format!("{name}{slash}"), directory: meta.is_dir(), size: meta.len(), modified });
    }
    entries.sort_by(|a, b| b.directory.cmp(&a.directory).then_with(|| a.name.cmp(&b.name)));
    Ok(entries)
}

fn listing(lang: Lang, shown: &str, top: bool, entries: &[Entry]) -> Result<Response, Failure> {
    let cut = entries.len() > MAX_LISTING;
    let entries = &entries[..entries.len().min(MAX_LISTING)];
    let count = lang.with("listing-count", &[("n", entries.len().into())]);
    let page = Listing { style: LISTING_STYLE, lang, path: shown.to_owned(), top, entries, count, cut };
    let html = page.render().map_err(|e| Failure::internal(format!("writing a listing: {e}")))?;
    let policy = LISTING_POLICY.get_or_init(|| {
        let digest = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(LISTING_STYLE));
        format!("default-src 'none'; frame-ancestors 'none'; style-src 'sha256-{digest}'")
    });
    Ok(([(CONTENT_SECURITY_POLICY, policy.as_str()), (CACHE_CONTROL, "no-cache")], Html(html)).into_response())
}

/// Another file under the same name, or a changed one, has another identity.
pub(crate) fn identity(meta: &std::fs::Metadata) -> (u64, u64, i64, i64) {
    use std::os::unix::fs::MetadataExt as _;
    (meta.dev(), meta.ino(), meta.ctime(), meta.ctime_nsec())
}

fn of(found: Found, kind: &'static str, keep: Keep) -> Option<(File, Opened)> {
    let Found::File { file, path, validators, identity } = found else { return None };
    let cache = match keep {
        Keep::Forever => "public, max-age=31536000, immutable",
        Keep::Revalidate => "no-cache",
    };
    Some((file, Opened { path, validators, kind, cache, identity }))
}

/// A complete file of a snapshot that was opened at `path`; its type follows from `name`.
pub(crate) fn of_snapshot(file: File, path: &Utf8Path, name: &str) -> Option<Sendable> {
    whole(describe(file, path, None).ok()?, content_type(name), Keep::Revalidate)
}

/// The complete file at `path`, which comes from the daemon and is named by `digest`.
pub(crate) fn of_digest(path: &Utf8Path, digest: Digest) -> Option<Sendable> {
    whole(open(path, Some(digest.to_string())).ok()?, BYTES, Keep::Forever)
}

fn whole(found: Found, kind: &'static str, keep: Keep) -> Option<Sendable> {
    let (file, of) = of(found, kind, keep)?;
    Some(Sendable { file: Arc::new(file), start: 0, len: of.validators.len, of: Arc::new(of) })
}

fn send(found: Found, kind: &'static str, keep: Keep, wanted: &Wanted) -> Result<Response, Failure> {
    let Some((file, of)) = of(found, kind, keep) else { return Err(Failure::not_found()) };
    let answer = answer(&of, &wanted.method, &wanted.headers);
    let mut response = head(&of, answer)?;
    if let Some((start, len)) = answer.part(of.validators.len)
        && wanted.method != Method::HEAD
    {
        if wanted.can_send {
            let sendable = Sendable { file: Arc::new(file), start, len, of: Arc::new(of) };
            response.extensions_mut().insert(sendable);
        } else {
            *response.body_mut() = body(file, start, len)?;
        }
    }
    Ok(response)
}

/// Range has a meaning only for GET (RFC 9110 section 14.2).
pub(crate) fn answer(of: &Opened, method: &Method, headers: &HeaderMap) -> Answer {
    match decide(headers, &of.validators) {
        Answer::Part { .. } | Answer::Unsatisfiable if method != Method::GET => Answer::Whole,
        answer => answer,
    }
}

/// Status and headers of an answer about a file, with an empty body.
pub(crate) fn head(of: &Opened, answer: Answer) -> Result<Response, Failure> {
    let v = &of.validators;
    let common: [(HeaderName, &str); 3] = [(ETAG, &v.etag), (CACHE_CONTROL, of.cache), (ACCEPT_RANGES, "bytes")];
    let status = match answer {
        Answer::NotModified => return Ok((StatusCode::NOT_MODIFIED, common).into_response()),
        Answer::Unsatisfiable => {
            let range = [(CONTENT_RANGE, format!("bytes */{}", v.len))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, range, common).into_response());
        }
        Answer::Whole => StatusCode::OK,
        Answer::Part { .. } => StatusCode::PARTIAL_CONTENT,
    };
    let len = answer.part(v.len).map_or(0, |(_, len)| len);
    let mut response =
        (status, [(CONTENT_LENGTH, len.to_string())], common, [(CONTENT_TYPE, of.kind)], Body::empty()).into_response();
    if let Some(seconds) = v.modified {
        insert(&mut response, LAST_MODIFIED, &http_date(seconds))?;
    }
    if let Answer::Part { start, len } = answer {
        insert(&mut response, CONTENT_RANGE, &format!("bytes {start}-{}/{}", start + len - 1, v.len))?;
    }
    Ok(response)
}

fn body(mut file: File, start: u64, len: u64) -> Result<Body, Failure> {
    file.seek(SeekFrom::Start(start)).map_err(|e| Failure::internal(format!("seeking in a file: {e}")))?;
    let mut file = tokio::fs::File::from_std(file);
    file.set_max_buf_size(FILE_BUFFER);
    Ok(Body::from_stream(ReaderStream::with_capacity(file.take(len), FILE_BUFFER)))
}

fn insert(response: &mut Response, name: HeaderName, value: &str) -> Result<(), Failure> {
    let value = value.parse().map_err(|e| Failure::internal(format!("writing the header {name}: {e}")))?;
    response.headers_mut().insert(name, value);
    Ok(())
}

/// By the names that occur in a darksite. No file is ever sent as a page.
fn content_type(name: &str) -> &'static str {
    const TEXT: &str = "text/plain; charset=utf-8";
    match name.rsplit_once('.').map_or("", |(_, ext)| ext) {
        "deb" | "udeb" => "application/vnd.debian.binary-package",
        "xz" => "application/x-xz",
        "gz" | "tgz" => "application/gzip",
        "zst" => "application/zstd",
        "json" => "application/json",
        "gpg" if name == "Release.gpg" => "application/pgp-signature",
        "gpg" => "application/pgp-keys",
        "yaml" | "yml" => "application/yaml",
        "txt" | "lock" | "asc" | "list" | "sources" | "cfg" => TEXT,
        "InRelease" => TEXT,
        _ if ["Release", "InRelease", "Packages", "Sources", "README"].contains(&name) => TEXT,
        _ => BYTES,
    }
}

#[cfg(test)]
mod tests;
