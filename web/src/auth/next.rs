//! Where a login leads.

/// Longest path that is followed, in characters.
const MAX_NEXT: usize = 128;

/// The page to show after a login: `asked` if it is the path of a page on this seed, otherwise the first page.
///
/// A path starts with one slash and consists of plain names. So it has no scheme, host, port, query or fragment, no
/// backslash that a browser reads as a slash, and nothing that is encoded.
pub(crate) fn next_page(asked: &str) -> &str {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let name = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(plain);
    let local = asked.strip_prefix('/').is_some_and(|rest| rest.split('/').all(name));
    if local && asked.len() <= MAX_NEXT { asked } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_this_seed_are_followed() {
        for page in ["/", "/machines/7", "/machines/7/power", "/unseal", "/clock", "/site", "/packages", "/images"] {
            assert_eq!(next_page(page), page);
        }
        let longest = format!("/{}", "a".repeat(MAX_NEXT - 1));
        assert_eq!(next_page(&longest), longest);
    }

    #[test]
    fn nothing_else_is() {
        let long = format!("/{}", "a".repeat(MAX_NEXT));
        for asked in [
            "",
            "machines/7",
            "//evil",
            "///evil",
            "/\\evil",
            "\\\\evil",
            "\\/evil",
            "/\t/evil",
            "\t//evil",
            " //evil",
            "/ /evil",
            "/%2fevil",
            "/%09/evil",
            "https://evil",
            "https:evil",
            "HTTPS://evil/machines/7",
            "//evil/machines/7",
            "/evil@host",
            "/:80",
            "@evil",
            "javascript:alert(1)",
            "data:text/html,x",
            "/machines/7?next=//evil",
            "/machines/7#x",
            "/machines/",
            "/machines//7",
            "/./evil",
            "/../evil",
            "/machines/7/../../x",
            "/.hidden",
            "/machines/7\r\nSet-Cookie: a=b",
            "/machines/7\0",
            "/m\u{e4}chines",
            "/\u{2044}evil",
            &long,
        ] {
            assert_eq!(next_page(asked), "/", "{asked:?}");
        }
    }
}
