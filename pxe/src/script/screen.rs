//! Text that a booting machine shows to a person.

use std::fmt;

/// The longest line shown to a person.
pub const MAX_SCREEN: usize = 72;

/// One line for the screen; characters that iPXE would interpret are replaced by `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScreenText(String);

impl ScreenText {
    pub fn new(text: &str) -> Self {
        let plain = |c: char| c.is_ascii_alphanumeric() || " .,:/@+=()!?_-".contains(c);
        let shown = text.chars().take(MAX_SCREEN).map(|c| if plain(c) { c } else { '?' }).collect::<String>();
        // A leading dash would be an option of echo.
        ScreenText(shown.trim().trim_start_matches('-').trim_start().to_owned())
    }
}

impl fmt::Display for ScreenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
