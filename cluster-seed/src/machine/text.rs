//! Untrusted text from hardware.

/// Longest text of a fact, in characters.
pub const MAX_TEXT: usize = 96;

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(super) fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// Sanitises untrusted text for logs and pages: control characters become `?`, the length is cut to [`MAX_TEXT`].
pub fn tame(text: &str) -> String {
    text.trim().chars().take(MAX_TEXT).map(|c| if c.is_control() || is_bidi(c) { '?' } else { c }).collect()
}

/// Characters that reorder the text around them.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
