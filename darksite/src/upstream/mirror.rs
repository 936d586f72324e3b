//! Finds the Debian mirror that this machine uses, from its apt configuration (sources.list(5)).

/// Suites of a Debian archive. Third-party repositories have other names.
const RELEASES: [&str; 13] = [
    "buster",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
    "experimental",
];

/// The main archive's address, from the text of `sources.list` or of a `.sources` file.
pub fn mirror_from_apt(sources: &str) -> Option<String> {
    find(sources, |suite| !is_security(suite) && is_release(suite))
}

/// The security archive's address.
pub fn security_mirror_from_apt(sources: &str) -> Option<String> {
    find(sources, |suite| is_security(suite) && is_release(suite))
}

/// True for suites with `-updates` and `-security` suites; the rolling ones have none.
pub fn has_pockets(suite: &str) -> bool {
    !matches!(suite, "sid" | "unstable" | "experimental")
}

/// The security archive beside a main archive, as mirrors have it: `…/debian` and `…/debian-security`.
pub fn security_beside(mirror: &str) -> Option<String> {
    let mirror = mirror.trim_end_matches('/');
    mirror.ends_with("/debian").then(|| format!("{mirror}-security"))
}

fn is_security(suite: &str) -> bool {
    suite.ends_with("-security") || suite.ends_with("/updates")
}

fn is_release(suite: &str) -> bool {
    RELEASES.iter().any(|r| suite == *r || suite.strip_prefix(r).is_some_and(|rest| rest.starts_with(['-', '/'])))
}

#[derive(Default)]
struct Record {
    types: String,
    uris: String,
    suites: String,
    components: String,
    enabled: bool,
}

/// A lenient line parser: files are often concatenated without a blank line between them.
fn find(sources: &str, wanted: impl Fn(&str) -> bool) -> Option<String> {
    let mut records = Vec::new();
    let mut current = Record { enabled: true, ..Record::default() };
    let mut field = String::new();
    for line in sources.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with('#') {
            continue;
        }
        if let Some(rest) = trimmed.strip_prefix("deb ").or_else(|| trimmed.strip_prefix("deb\t")) {
            records.extend(one_line(rest));
            continue;
        }
        let (name, value) = match line.split_once(':') {
            Some((name, value)) if !line.starts_with([' ', '\t']) => (name.trim().to_ascii_lowercase(), value),
            _ => (field.clone(), trimmed),
        };
        if trimmed.is_empty() || (name == "types" && !current.types.is_empty()) {
            records.push(std::mem::replace(&mut current, Record { enabled: true, ..Record::default() }));
        }
        match name.as_str() {
            "types" => current.types += &format!(" {value}"),
            "uris" => current.uris += &format!(" {value}"),
            "suites" => current.suites += &format!(" {value}"),
            "components" => current.components += &format!(" {value}"),
            "enabled" => current.enabled = !matches!(value.trim(), "no" | "false" | "0"),
            _ => {}
        }
        field = if trimmed.is_empty() { String::new() } else { name };
    }
    records.push(current);
    records.iter().filter(|r| r.enabled && r.types.split_whitespace().any(|t| t == "deb")).find_map(|r| pick(r, &wanted))
}

fn one_line(rest: &str) -> Option<Record> {
    let rest = match rest.trim_start().strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    let mut words = rest.split('#').next()?.split_whitespace();
    let (uris, suites) = (words.next()?.to_owned(), words.next()?.to_owned());
    Some(Record { types: "deb".into(), uris, suites, components: words.collect::<Vec<_>>().join(" "), enabled: true })
}

fn pick(record: &Record, wanted: &impl Fn(&str) -> bool) -> Option<String> {
    let main = record.components.split_whitespace().any(|c| c == "main");
    if !main || !record.suites.split_whitespace().any(wanted) {
        return None;
    }
    let usable = |u: &&str| ["http://", "https://", "file:/"].iter().any(|s| u.starts_with(s));
    let uri = record.uris.split_whitespace().find(usable)?;
    // apt writes file:/path, everybody else file:///path.
    let uri = match uri.strip_prefix("file:") {
        Some(path) => format!("file:///{}", path.trim_start_matches('/')),
        None => uri.to_owned(),
    };
    Some(uri.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_mirror_in_both_formats() {
        let deb822 = "Types: deb\nURIs: https://tools.example.org/apt\nSuites: nodistro\nComponents: main\n\n\
            Types: deb deb-src\n# a comment\nURIs: http://mirror.example.org/debian/\nSuites: trixie trixie-updates\nComponents: main\nSigned-By: /x\n\
            Types: deb\nURIs: http://mirror.example.org/debian-security\nSuites: trixie-security\nComponents: main\n";
        assert_eq!(mirror_from_apt(deb822).as_deref(), Some("http://mirror.example.org/debian"));
        assert_eq!(security_mirror_from_apt(deb822).as_deref(), Some("http://mirror.example.org/debian-security"));

        let list = "# deb http://old.example.org/debian bookworm main\ndeb cdrom:[Debian]/ trixie main\n\
            deb https://x.example.org/apt cloud-sdk-bookworm main\ndeb-src http://s.example.org/debian trixie main\n\
            deb [arch=amd64 signed-by=/k.gpg] http://m.example.org/debian trixie main contrib # note\n\
            deb http://sec.example.org/debian-security trixie-security main\n";
        assert_eq!(mirror_from_apt(list).as_deref(), Some("http://m.example.org/debian"));
        assert_eq!(security_mirror_from_apt(list).as_deref(), Some("http://sec.example.org/debian-security"));
    }

    #[test]
    fn the_security_archive_is_next_to_the_main_one() {
        assert_eq!(security_beside("http://m.example.org/debian/").as_deref(), Some("http://m.example.org/debian-security"));
        assert_eq!(security_beside("http://m.example.org/deb"), None);
        assert!(has_pockets("trixie") && has_pockets("bookworm") && !has_pockets("sid"));
    }

    #[test]
    fn finds_no_mirror_in_other_sources() {
        for text in [
            "",
            "deb",
            "deb [x",
            "deb http://m.example.org/debian trixie contrib",
            "deb http://m.example.org/x nodistro main",
            "Types: deb\nURIs: http://m.example.org/debian\nSuites: trixie\nComponents: main\nEnabled: no\n",
            "Types: deb-src\nURIs: http://m.example.org/debian\nSuites: trixie\nComponents: main\n",
        ] {
            assert_eq!(mirror_from_apt(text), None, "{text:?}");
        }
        assert_eq!(mirror_from_apt("deb file:/srv/m trixie main").as_deref(), Some("file:///srv/m"));
        let folded = "Types: deb\nURIs:\n http://m.example.org/debian\nSuites: trixie\nComponents: main\n";
        assert_eq!(mirror_from_apt(folded).as_deref(), Some("http://m.example.org/debian"));
    }
}
