//! The texts of the pages in every language, by Project Fluent: one catalogue a language, in `locales`.
//!
//! A text may have the tags of [`TAGS`], and is then fetched by [`Lang::html`], which escapes whatever is put into it. Texts of the
//! daemon, of machines and of the event log are not in the catalogues: pages mark them as what they are, English.

use std::borrow::Cow;
use std::sync::LazyLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};

type Bundle = FluentBundle<FluentResource>;

const ENGLISH: &str = include_str!("../../locales/en.ftl");
const GERMAN: &str = include_str!("../../locales/de.ftl");

static BUNDLES: LazyLock<[Bundle; 2]> = LazyLock::new(|| [bundle("en", ENGLISH), bundle("de", GERMAN)]);

/// Elements that texts of the catalogues may have; a test holds them to these.
#[cfg(test)]
pub(crate) const TAGS: [&str; 5] = ["a", "b", "code", "em", "strong"];

fn bundle(name: &str, text: &str) -> Bundle {
    // What a catalogue has wrong is left out here, and fails the tests.
    let resource = FluentResource::try_new(text.to_owned()).unwrap_or_else(|(resource, _)| resource);
    let mut bundle = FluentBundle::new_concurrent(name.parse().into_iter().collect());
    // The marks that isolate what is put in would be shown as characters by tools that copy.
    bundle.set_use_isolating(false);
    bundle.add_resource_overriding(resource);
    bundle
}

/// A language of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Lang {
    #[default]
    En,
    De,
}

/// What is put into a text: a number, which decides between singular and plural, or words.
pub(crate) enum Put<'a> {
    Number(u64),
    Words(&'a str),
}

impl From<u32> for Put<'_> {
    fn from(n: u32) -> Self {
        Put::Number(n.into())
    }
}

impl From<u64> for Put<'_> {
    fn from(n: u64) -> Self {
        Put::Number(n)
    }
}

impl From<usize> for Put<'_> {
    fn from(n: usize) -> Self {
        Put::Number(n as u64)
    }
}

impl<'a> From<&'a str> for Put<'a> {
    fn from(text: &'a str) -> Self {
        Put::Words(text)
    }
}

impl<'a> From<&'a String> for Put<'a> {
    fn from(text: &'a String) -> Self {
        Put::Words(text)
    }
}

impl From<&u32> for Put<'_> {
    fn from(n: &u32) -> Self {
        Put::from(*n)
    }
}

impl From<&u64> for Put<'_> {
    fn from(n: &u64) -> Self {
        Put::from(*n)
    }
}

impl From<&usize> for Put<'_> {
    fn from(n: &usize) -> Self {
        Put::from(*n)
    }
}

impl Lang {
    pub(crate) const ALL: [Lang; 2] = [Lang::En, Lang::De];

    /// Its code in BCP 47, for `lang` and `Accept-Language`.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Lang::En => "en",
            Lang::De => "de",
        }
    }

    /// Its name in itself.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Lang::En => "English",
            Lang::De => "Deutsch",
        }
    }

    /// By a language tag: `de`, `de-AT`. `None` if there is no catalogue.
    pub(crate) fn of(tag: &str) -> Option<Self> {
        let main = tag.trim().split('-').next().unwrap_or_default();
        Lang::ALL.into_iter().find(|l| main.eq_ignore_ascii_case(l.code()))
    }

    /// The first language with a catalogue that a browser asks for (`Accept-Language`, RFC 9110 section 12.5.4), by weight.
    pub(crate) fn asked(header: &str) -> Option<Self> {
        let mut best: Option<(f32, Lang)> = None;
        for part in header.split(',') {
            let (tag, parameters) = part.split_once(';').unwrap_or((part, ""));
            let weight = parameters.trim().strip_prefix("q=").map_or(1.0, |q| q.trim().parse().unwrap_or(0.0));
            let Some(lang) = Lang::of(tag).filter(|_| weight > 0.0) else { continue };
            // Of equal ones the first.
            if best.is_none_or(|(most, _)| weight > most) {
                best = Some((weight, lang));
            }
        }
        best.map(|(_, lang)| lang)
    }

    fn bundle(self) -> &'static Bundle {
        match self {
            Lang::En => &BUNDLES[0],
            Lang::De => &BUNDLES[1],
        }
    }

    fn written(self, key: &str, args: &FluentArgs<'_>) -> String {
        let bundle = self.bundle();
        let pattern = bundle.get_message(key).and_then(|m| m.value());
        // A key that is missing fails the tests; a page shows it rather than nothing.
        let Some(pattern) = pattern else { return key.to_owned() };
        let mut errors = Vec::new();
        bundle.format_pattern(pattern, Some(args), &mut errors).into_owned()
    }

    /// The text of a key that takes nothing.
    pub(crate) fn t(self, key: &str) -> String {
        self.written(key, &FluentArgs::new())
    }

    /// The text of a key, with what is put in by name.
    pub(crate) fn with(self, key: &str, puts: &[(&'static str, Put<'_>)]) -> String {
        self.written(key, &args(puts, Cow::Borrowed))
    }

    /// HTML: the tags of the catalogue, and what is put in as text.
    pub(crate) fn html(self, key: &str, puts: &[(&'static str, Put<'_>)]) -> String {
        self.written(key, &args(puts, |words| Cow::Owned(escaped(words))))
    }
}

fn args<'a>(puts: &'a [(&'static str, Put<'a>)], words: impl Fn(&'a str) -> Cow<'a, str>) -> FluentArgs<'a> {
    let mut args = FluentArgs::new();
    for (name, put) in puts {
        let value = match put {
            Put::Number(n) => FluentValue::from(*n),
            Put::Words(text) => FluentValue::String(words(text)),
        };
        args.set(*name, value);
    }
    args
}

/// As the templates escape.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '"' | '\'' => out.push_str(&format!("&#{};", c as u32)),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;
