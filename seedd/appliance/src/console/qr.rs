//! An address as a QR code (ISO/IEC 18004) in characters.

use fast_qr::{ECL, QRBuilder};

/// Width of the quiet zone, in modules. The standard requires four; phones can read two, and a screen has few lines.
const QUIET: usize = 2;
/// Maximum length of the text, in bytes, so that the code fits on a screen.
const MAX_TEXT: usize = 128;

/// Rows of modules including the quiet zone; `true` is dark.
pub struct Qr(Vec<Vec<bool>>);

impl Qr {
    /// None if the text is too long.
    pub fn new(text: &str) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let code = QRBuilder::new(text).ecl(ECL::L).build().ok()?;
        let side = code.size + 2 * QUIET;
        let dark = |y: usize, x: usize| {
            let inside = (QUIET..QUIET + code.size).contains(&y) && (QUIET..QUIET + code.size).contains(&x);
            inside && code[y - QUIET][x - QUIET].value()
        };
        Some(Qr((0..side).map(|y| (0..side).map(|x| dark(y, x)).collect()).collect()))
    }

    /// Two rows of modules per line. Light modules are drawn, because terminals are dark.
    pub fn blocks(&self) -> Vec<String> {
        let line = |pair: &[Vec<bool>]| {
            let lower = |x: usize| pair.get(1).is_none_or(|row| row[x]);
            let cell = |(x, upper): (usize, &bool)| match (*upper, lower(x)) {
                (false, false) => '█',
                (false, true) => '▀',
                (true, false) => '▄',
                (true, true) => ' ',
            };
            pair[0].iter().enumerate().map(cell).collect()
        };
        self.0.chunks(2).map(line).collect()
    }

    /// Two characters per module, for terminals that support only ASCII.
    pub fn ascii(&self) -> Vec<String> {
        self.0.iter().map(|row| row.iter().map(|dark| if *dark { "  " } else { "##" }).collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_show_the_same_modules() {
        let qr = Qr::new("https://10.77.0.1/setup#ABCD-EFGH").unwrap();
        let (blocks, ascii) = (qr.blocks(), qr.ascii());
        assert_eq!((ascii.len(), blocks.len(), blocks[0].chars().count()), (33, 17, 33));
        for (y, row) in ascii.iter().enumerate() {
            for x in 0..33 {
                let light = row.as_bytes()[2 * x] == b'#';
                let cell = blocks[y / 2].chars().nth(x).unwrap();
                let light_there = if y % 2 == 0 { "█▀" } else { "█▄" }.contains(cell);
                assert_eq!(light, light_there, "{x} {y}");
            }
        }
        // The finder pattern in the corner, behind the quiet zone.
        assert_eq!(&ascii[2][..20], "####              ##");
        assert!(Qr::new(&"x".repeat(MAX_TEXT)).is_some() && Qr::new(&"x".repeat(MAX_TEXT + 1)).is_none());
    }
}
