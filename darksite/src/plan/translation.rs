//! Long descriptions (`Translation-en`) of the snapshot's packages.

use std::collections::{BTreeSet, HashSet};

use crate::error::Error;
use crate::format::deb822;
use crate::format::texts::IndexText;
use crate::plan::draft::Draft;
use crate::upstream::suite::{Reader, Suite};

/// Adds `COMPONENT/i18n/Translation-en` for every component; empty if its descriptions are in its index.
pub(crate) fn add(draft: &mut Draft, reader: &Reader<'_>, suites: &[Suite]) -> Result<(), Error> {
    let wanted = std::mem::take(&mut draft.descriptions);
    for component in draft.plan.lock.components.clone() {
        let digests: HashSet<&str> = wanted.iter().filter(|(c, _)| *c == component).map(|(_, md5)| md5.as_str()).collect();
        let path = format!("{component}/i18n/Translation-en");
        let mut chosen = String::new();
        if !digests.is_empty() {
            chosen = choose(&digests, &path, reader, suites)?;
        }
        let stanzas = draft.plan.texts.add_paragraphs(chosen);
        draft.plan.indexes.push(IndexText { path, stanzas });
    }
    Ok(())
}

/// The paragraphs with these digests, sorted by package, without duplicates.
fn choose(digests: &HashSet<&str>, path: &str, reader: &Reader<'_>, suites: &[Suite]) -> Result<String, Error> {
    let mut texts = Vec::new();
    for suite in suites {
        texts.extend(reader.text(suite, path)?);
    }
    let mut found = BTreeSet::new();
    for text in &texts {
        for paragraph in deb822::paragraphs(text) {
            let (mut package, mut md5) = ("", "");
            for field in paragraph.fields().map_while(Result::ok) {
                match field.name {
                    "Package" => package = field.value,
                    "Description-md5" => md5 = field.value,
                    _ => {}
                }
                if !package.is_empty() && !md5.is_empty() {
                    break;
                }
            }
            if digests.contains(md5) {
                found.insert((package, md5, paragraph.raw()));
            }
        }
    }
    let mut out = String::new();
    let mut last = ("", "");
    for (package, md5, raw) in found {
        if (package, md5) != last {
            out.push_str(raw);
            out.push_str(if raw.ends_with('\n') { "\n" } else { "\n\n" });
        }
        last = (package, md5);
    }
    Ok(out)
}
