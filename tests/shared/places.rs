//! Where a seed has pages and lists, found as a visitor finds them: by the links of its pages and by its description of the API.

use std::collections::BTreeSet;

use serde_json::Value;

/// The links of a page to other pages of the same seed, without what comes after `#`. Downloads and static files are left out.
pub fn links(html: &str) -> BTreeSet<String> {
    let targets = html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let own = targets.filter(|to| to.starts_with('/') && !to.starts_with("//"));
    let own = own.map(|to| to.split('#').next().unwrap_or(to).replace("&amp;", "&").replace("&#38;", "&"));
    const FILES: [&str; 6] = ["/static/", "/capsules/", "/outputs/", "/medium/", "/api/", "/audit/export"];
    own.filter(|to| !FILES.iter().any(|f| to.starts_with(f)) && !to.contains(".pcapng") && !to.contains(".pem")).collect()
}

/// What two pages have in common that differ only in what they show: numbers of the path, and values of the query.
pub fn shape(link: &str) -> String {
    let (path, query) = link.split_once('?').unwrap_or((link, ""));
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let path: Vec<&str> = path.split('/').map(|part| if number(part) { "{id}" } else { part }).collect();
    let names: BTreeSet<&str> = query.split('&').filter_map(|pair| pair.split('=').next()).filter(|n| !n.is_empty()).collect();
    format!("{}?{}", path.join("/"), names.into_iter().collect::<Vec<_>>().join("&"))
}

/// Every address of the API that is read without naming one thing.
pub fn lists(description: &Value) -> Vec<String> {
    let paths = description["paths"].as_object().into_iter().flatten();
    let read = paths.filter(|(path, methods)| !path.contains('{') && methods["get"].is_object());
    let json = read.filter(|(_, methods)| methods["get"]["responses"]["200"]["content"]["application/json"].is_object());
    json.map(|(path, _)| path.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_one_kind_have_one_shape() {
        let html = r##"<a href="/machines/7#x">a</a> <a href="/machines?page=2&amp;q=a">b</a> <a href="https://x/">c</a>
            <a href="/static/app.css"> <a href="#top"> <a href="/machines/7/packets.pcapng"> <a href="//other/">"##;
        let found = links(html);
        assert_eq!(found.iter().collect::<Vec<_>>(), ["/machines/7", "/machines?page=2&q=a"]);
        assert_eq!(shape("/machines/7"), shape("/machines/123"));
        assert_eq!(shape("/machines?q=a&page=2"), shape("/machines?page=9&q="));
        assert_ne!(shape("/machines?page=2"), shape("/machines"));
    }
}
