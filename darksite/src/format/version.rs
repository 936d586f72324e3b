//! Debian package versions and their order (Debian policy 5.6.12).

use std::cmp::Ordering;

/// Compares two versions `[epoch:]upstream[-revision]` as dpkg does.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a_epoch, a_up, a_rev) = split(a);
    let (b_epoch, b_up, b_rev) = split(b);
    compare_digits(a_epoch, b_epoch).then_with(|| compare_part(a_up, b_up)).then_with(|| compare_part(a_rev, b_rev))
}

/// True if the text has the form of a version: only characters the policy allows, and a letter or digit first.
pub fn is_valid(version: &str) -> bool {
    let (epoch, rest) = match version.split_once(':') {
        Some((epoch, rest)) => (epoch, rest),
        None => ("0", version),
    };
    !epoch.is_empty()
        && epoch.bytes().all(|b| b.is_ascii_digit())
        && rest.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && rest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-' | b'~' | b':'))
}

fn split(version: &str) -> (&[u8], &[u8], &[u8]) {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
    (epoch.as_bytes(), upstream.as_bytes(), revision.as_bytes())
}

/// Compares numbers of any length: without leading zeros, the longer one is larger.
fn compare_digits(a: &[u8], b: &[u8]) -> Ordering {
    let a = strip_zeros(a);
    let b = strip_zeros(b);
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn strip_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|&&b| b == b'0').count();
    &digits[zeros..]
}

/// Weight of a character in the non-digit part: `~` before the end, the end before letters, letters before the rest.
fn order(byte: Option<&u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None => 0,
        Some(b) if b.is_ascii_digit() => 0,
        Some(b) if b.is_ascii_alphabetic() => i32::from(*b),
        Some(b) => i32::from(*b) + 256,
    }
}

fn compare_part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        loop {
            let a_text = a.first().is_some_and(|c| !c.is_ascii_digit());
            let b_text = b.first().is_some_and(|c| !c.is_ascii_digit());
            if !a_text && !b_text {
                break;
            }
            match order(a.first()).cmp(&order(b.first())) {
                Ordering::Equal => {}
                other => return other,
            }
            a = a.get(1..).unwrap_or_default();
            b = b.get(1..).unwrap_or_default();
        }
        let a_len = a.iter().take_while(|c| c.is_ascii_digit()).count();
        let b_len = b.iter().take_while(|c| c.is_ascii_digit()).count();
        match compare_digits(&a[..a_len], &b[..b_len]) {
            Ordering::Equal => {}
            other => return other,
        }
        a = &a[a_len..];
        b = &b[b_len..];
    }
    Ordering::Equal
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn orders_as_dpkg_does() {
        // Each line is in ascending order; the pairs come from dpkg's own test suite and the policy's text.
        for line in [
            "1.0~~ 1.0~~a 1.0~ 1.0 1.0a 1.0+ 1.0.1",
            "0 0:0.1 1 1.1 1.1.1 2 10 1:0 2:0",
            "1.0-1 1.0-2 1.0-10 1.0-10+deb13u1 1.0-10+deb13u2 1.1-1",
            "1.0-0.1 1.0-1~bpo12+1 1.0-1 1.0-1.1",
            "6.12.9-1 6.12.48-1 6.12.48-1+b1",
            "2.7.6 2.7.6a 2.7.6.1 2.7.20 3",
            "0.0.9 0.10 0.100",
            "99999999999999999999 100000000000000000000",
        ] {
            let all: Vec<_> = line.split(' ').collect();
            for (i, a) in all.iter().enumerate() {
                for (j, b) in all.iter().enumerate() {
                    assert_eq!(compare(a, b), i.cmp(&j), "{a} against {b}");
                }
            }
        }
        for (a, b) in [("0:1", "1"), ("1", "1-0"), ("1.00", "1.0"), ("1-00", "1-0"), ("1.0-", "1.0-0")] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} against {b}");
        }
    }

    #[test]
    fn knows_what_a_version_is() {
        for good in ["1", "1:2.3-4", "0~rc1+dfsg-1", "2024.01.01", "1:2:3"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", ":1", "a:1", "1 2", "1_2", "-1", "1:", "1\n"] {
            assert!(!is_valid(bad), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in "[0-9a-z.+~:-]{0,12}", b in "[0-9a-z.+~:-]{0,12}", c in "[0-9a-z.+~:-]{0,12}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            prop_assert_eq!(compare(&a, &a), Ordering::Equal);
            if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
                prop_assert!(compare(&a, &c).is_le());
            }
        }
    }
}
