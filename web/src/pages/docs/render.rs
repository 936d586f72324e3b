//! A document of `docs/` as HTML: CommonMark with tables, links between chapters as addresses of pages, headings with anchors.

use std::collections::BTreeMap;

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

/// The first heading.
pub(super) fn title(text: &str) -> String {
    let heading = text.lines().find_map(|l| l.strip_prefix("# ")).unwrap_or("Chapter");
    heading.replace(['`', '*'], "").trim().to_owned()
}

/// The HTML of a chapter, and its sections as anchor and heading. `exists` says which chapters there are.
///
/// HTML in a document is shown as text, images by their description only, and links to files that are no chapters lose their
/// target.
pub(super) fn render(chapter: &str, text: &str, exists: &dyn Fn(&str) -> bool) -> (String, Vec<(String, String)>) {
    let events: Vec<Event<'_>> = Parser::new_ext(text, Options::ENABLE_TABLES).collect();
    let (mut shown, mut sections) = (Vec::with_capacity(events.len()), Vec::new());
    let (mut anchors, mut links) = (Anchors::default(), Vec::new());
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                let heading = plain(&events[at + 1..]);
                let anchor = anchors.of(&heading);
                if *level == HeadingLevel::H2 {
                    sections.push((anchor.clone(), heading));
                }
                let id = Some(CowStr::from(anchor));
                shown.push(Event::Start(Tag::Heading { level: *level, id, classes: Vec::new(), attrs: Vec::new() }));
            }
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let target = target(chapter, dest_url, exists);
                links.push(target.is_some());
                if let Some(target) = target {
                    let (title, id) = (title.clone(), id.clone());
                    shown.push(Event::Start(Tag::Link { link_type: *link_type, dest_url: target.into(), title, id }));
                }
            }
            Event::End(TagEnd::Link) => {
                if links.pop() == Some(true) {
                    shown.push(event.clone());
                }
            }
            Event::Start(Tag::Image { .. } | Tag::HtmlBlock) | Event::End(TagEnd::Image | TagEnd::HtmlBlock) => {}
            Event::Html(html) | Event::InlineHtml(html) => shown.push(Event::Text(html.clone())),
            other => shown.push(other.clone()),
        }
    }
    let mut out = String::with_capacity(text.len() * 2);
    html::push_html(&mut out, shown.into_iter());
    (out, sections)
}

/// The text up to the end of a heading.
fn plain(events: &[Event<'_>]) -> String {
    let inside = events.iter().take_while(|e| !matches!(e, Event::End(TagEnd::Heading(_))));
    inside
        .filter_map(|e| match e {
            Event::Text(text) | Event::Code(text) => Some(text.as_ref()),
            Event::SoftBreak => Some(" "),
            _ => None,
        })
        .collect()
}

/// Anchors as GitHub makes them, so that the links in the documents lead to them.
#[derive(Default)]
struct Anchors {
    used: BTreeMap<String, u32>,
}

impl Anchors {
    fn of(&mut self, heading: &str) -> String {
        let letters =
            heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).collect::<String>();
        let plain = letters.trim().replace(' ', "-");
        let times = self.used.entry(plain.clone()).or_default();
        *times += 1;
        if *times == 1 { plain } else { format!("{plain}-{}", *times - 1) }
    }
}

/// Where a link of `chapter` leads: an address elsewhere, a place in the same chapter, or another chapter.
fn target(chapter: &str, link: &str, exists: &dyn Fn(&str) -> bool) -> Option<String> {
    if link.contains("://") || link.starts_with('#') {
        return Some(link.to_owned());
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let mut parts: Vec<&str> = chapter.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    let name = joined.strip_suffix(".md").filter(|n| exists(n))?;
    Some(anchor.map_or_else(|| format!("/docs/{name}"), |a| format!("/docs/{name}#{a}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(text: &str) -> String {
        render("platform/etcd", text, &|name| ["netboot", "platform/logs"].contains(&name)).0
    }

    #[test]
    fn links_lead_to_pages_or_nowhere() {
        for (link, shown) in [
            ("../netboot.md", "<a href=\"/docs/netboot\">x</a>"),
            ("../netboot.md#dhcp-modes", "<a href=\"/docs/netboot#dhcp-modes\">x</a>"),
            ("logs.md", "<a href=\"/docs/platform/logs\">x</a>"),
            ("#here", "<a href=\"#here\">x</a>"),
            ("https://example.org/a", "<a href=\"https://example.org/a\">x</a>"),
            ("../../CONTRIBUTING.md", "<p>x</p>"),
            ("../../../etc/passwd", "<p>x</p>"),
            ("none.md", "<p>x</p>"),
        ] {
            let html = html(&format!("[x]({link})"));
            assert!(html.contains(shown), "{link}: {html}");
        }
    }

    #[test]
    fn headings_have_the_anchors_of_github_each_once() {
        let (html, sections) = render("a", "# Set `up`: now\n\n## Twice\n\n## Twice\n\n### Deeper_1\n", &|_| false);
        for id in ["set-up-now", "twice", "twice-1", "deeper_1"] {
            assert!(html.contains(&format!("id=\"{id}\"")), "{id}: {html}");
        }
        assert_eq!(sections, [("twice".to_owned(), "Twice".to_owned()), ("twice-1".to_owned(), "Twice".to_owned())]);
        assert_eq!(title("text\n# Set `up`\n"), "Set up");
    }

    #[test]
    fn html_is_text_and_an_image_its_description() {
        let html = html("a <script>alert(1)</script> b\n\n<img src=x>\n\n![a picture](img/p.png)\n");
        assert!(!html.contains("<script") && !html.contains("<img"), "{html}");
        assert!(html.contains("&lt;script&gt;") && html.contains("a picture"), "{html}");
    }

    #[test]
    fn tables_are_tables() {
        assert!(html("| a | b |\n|---|---|\n| 1 | 2 |\n").contains("<table><thead><tr><th>a</th>"));
    }
}
