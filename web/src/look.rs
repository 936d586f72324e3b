//! How a visitor wants the pages: the theme and the language, kept in two cookies that every page reads.

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT_LANGUAGE, COOKIE};

use crate::words::Lang;

/// The cookies hold a word and are no secret; no script has to read them.
pub(crate) const THEME_COOKIE: &str = "kubedos_theme";
pub(crate) const LANGUAGE_COOKIE: &str = "kubedos_language";
/// How long a choice is kept, in seconds: a year.
const KEPT: u32 = 31_536_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Theme {
    /// Light or dark, as the system has it.
    #[default]
    System,
    Light,
    Dark,
    /// High contrast, light or dark as the system has it.
    Contrast,
}

impl Theme {
    pub(crate) const ALL: [Theme; 4] = [Theme::System, Theme::Light, Theme::Dark, Theme::Contrast];

    /// The word in the cookie, in the form, and in `data-theme`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Theme::System => "system",
            Theme::Light => "light",
            Theme::Dark => "dark",
            Theme::Contrast => "contrast",
        }
    }

    /// The key of its name.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Theme::System => "theme-system",
            Theme::Light => "theme-light",
            Theme::Dark => "theme-dark",
            Theme::Contrast => "theme-contrast",
        }
    }

    /// What the browser is told before the style arrives.
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Theme::System | Theme::Contrast => "light dark",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    pub(crate) fn of(word: &str) -> Option<Self> {
        Theme::ALL.into_iter().find(|t| t.as_str() == word)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Look {
    pub(crate) theme: Theme,
    pub(crate) lang: Lang,
    /// The language was chosen here; otherwise it is the browser's.
    pub(crate) chosen: bool,
}

impl Look {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let value = |wanted: &str| cookies(headers).find(|(name, _)| *name == wanted).map(|(_, value)| value);
        let chosen = value(LANGUAGE_COOKIE).and_then(Lang::of);
        let asked = headers.get(ACCEPT_LANGUAGE).and_then(|v| v.to_str().ok()).and_then(Lang::asked);
        Look {
            theme: value(THEME_COOKIE).and_then(Theme::of).unwrap_or_default(),
            lang: chosen.or(asked).unwrap_or_default(),
            chosen: chosen.is_some(),
        }
    }
}

impl Look {
    /// The line with the id of a request that failed, as HTML.
    pub(crate) fn request(self, id: &str) -> String {
        self.lang.html("error-request", &[("x", id.into())])
    }
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|v| v.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

/// The `Set-Cookie` value that keeps a choice; an empty word forgets it.
pub(crate) fn keep(name: &str, word: &str) -> String {
    let age = if word.is_empty() { 0 } else { KEPT };
    format!("{name}={word}; HttpOnly; SameSite=Lax; Path=/; Max-Age={age}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(axum::http::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_choice_comes_before_the_browser_and_nonsense_counts_as_none() {
        for (cookie, accepts, theme, lang, chosen) in [
            ("", "", Theme::System, Lang::En, false),
            ("", "de-AT,de;q=0.9", Theme::System, Lang::De, false),
            ("kubedos_language=en", "de", Theme::System, Lang::En, true),
            ("a=b; kubedos_language=de; kubedos_theme=contrast", "en", Theme::Contrast, Lang::De, true),
            ("kubedos_theme=<script>; kubedos_language=xx", "fr, de;q=0.5", Theme::System, Lang::De, false),
            ("kubedos_theme=dark", "en", Theme::Dark, Lang::En, false),
        ] {
            let look = Look::of(&headers(&[(COOKIE, cookie), (ACCEPT_LANGUAGE, accepts)]));
            assert_eq!(look, Look { theme, lang, chosen }, "{cookie} {accepts}");
        }
    }

    #[test]
    fn words_of_themes_come_back() {
        for theme in Theme::ALL {
            assert_eq!(Theme::of(theme.as_str()), Some(theme));
        }
        assert_eq!(Theme::of("Light"), None);
        assert_eq!(keep("a", ""), "a=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0");
    }
}
