//! An address as a QR code (ISO/IEC 18004) in SVG.

use fast_qr::{ECL, QRBuilder};

/// Width of the quiet zone, in modules, as the standard requires.
const QUIET: usize = 4;
/// Longest text, in bytes, so that a phone reads the code from 3 cm of paper.
const MAX_TEXT: usize = 160;

/// A code to draw.
pub(super) struct Qr {
    /// Modules on a side, the quiet zone included.
    pub(super) side: usize,
    /// The dark modules as the `d` of a path, a rectangle for each run in a row.
    pub(super) path: String,
}

impl Qr {
    /// `None` if the text is too long.
    pub(super) fn new(text: &str) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let code = QRBuilder::new(text).ecl(ECL::M).build().ok()?;
        let mut path = String::new();
        for y in 0..code.size {
            let mut x = 0;
            while x < code.size {
                let run = (x..code.size).take_while(|at| code[y][*at].value()).count();
                if run > 0 {
                    path.push_str(&format!("M{} {}h{run}v1h-{run}z", x + QUIET, y + QUIET));
                }
                x += run.max(1);
            }
        }
        Some(Qr { side: code.size + 2 * QUIET, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The modules that a path covers.
    fn dark(qr: &Qr) -> Vec<(usize, usize)> {
        let mut all = Vec::new();
        for run in qr.path.split('M').filter(|r| !r.is_empty()) {
            let (at, rest) = run.split_once('h').unwrap();
            let (x, y) = at.split_once(' ').unwrap();
            let n: usize = rest.split('v').next().unwrap().parse().unwrap();
            let x: usize = x.parse().unwrap();
            all.extend((x..x + n).map(|x| (x, y.parse().unwrap())));
        }
        all
    }

    #[test]
    fn the_path_has_every_dark_module_once_and_keeps_the_quiet_zone() {
        let text = "https://10.44.0.1:8443/machines/by/525400ab0002";
        let (qr, code) = (Qr::new(text).unwrap(), QRBuilder::new(text).ecl(ECL::M).build().unwrap());
        let mut drawn = dark(&qr);
        let count = drawn.len();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), count, "no module is drawn twice");
        for y in 0..qr.side {
            for x in 0..qr.side {
                let inside = (QUIET..QUIET + code.size).contains(&x) && (QUIET..QUIET + code.size).contains(&y);
                let is_dark = inside && code[y - QUIET][x - QUIET].value();
                assert_eq!(drawn.binary_search(&(x, y)).is_ok(), is_dark, "{x} {y}");
            }
        }
    }

    #[test]
    fn a_text_that_is_too_long_has_none() {
        assert!(Qr::new(&"x".repeat(MAX_TEXT)).is_some() && Qr::new(&"x".repeat(MAX_TEXT + 1)).is_none());
    }
}
