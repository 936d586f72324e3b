//! Patterns of rules: `*` for any text, `?` for one character, everything else for itself in any case.

/// Whether `text` fits `pattern` as a whole. Goes back to the last `*` only, so it takes at most the product of both lengths.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let lower = |t: &str| t.chars().map(|c| c.to_ascii_lowercase()).collect::<Vec<char>>();
    let (pattern, text) = (lower(pattern), lower(text));
    let (mut p, mut t) = (0, 0);
    // Where to go on after the last `*`, and how much text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == '?' || Some(c) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((after, taken)) = star else { return false };
                star = Some((after, taken + 1));
                p = after;
                t = taken + 1;
            }
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::fits;

    #[test]
    fn patterns_fit_the_whole_text_in_any_case() {
        for (pattern, text, good) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("dell*", "Dell Inc.", true),
            ("dell", "Dell Inc.", false),
            ("*R640", "PowerEdge R640", true),
            ("*r640*", "PowerEdge R640 XS", true),
            ("S?N", "sxn", true),
            ("S?N", "sn", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("*ab", "aab", true),
            ("[a]", "a", false),
        ] {
            assert_eq!(fits(pattern, text), good, "{pattern} {text}");
        }
    }

    /// By the definition, without any cleverness.
    fn slow(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|n| slow(rest, &text[n..])),
            ['?', rest @ ..] => !text.is_empty() && slow(rest, &text[1..]),
            [c, rest @ ..] => text.first() == Some(c) && slow(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn the_quick_way_is_the_slow_one(pattern in "[ab*?]{0,7}", text in "[ab]{0,9}") {
            let chars = |t: &str| t.chars().collect::<Vec<_>>();
            prop_assert_eq!(fits(&pattern, &text), slow(&chars(&pattern), &chars(&text)));
        }
    }
}
