//! Emulates a serial terminal of 80 by 24 and reads its screen.

use std::num::NonZero;

use anyhow::{Context, Result};

use crate::console::Console;

/// Bytes of a log that are shown to the terminal: the last ones, far more than one screen.
const MOST: u64 = 1 << 20;
const ROWS: NonZero<u16> = NonZero::new(24).unwrap();
const COLUMNS: NonZero<u16> = NonZero::new(80).unwrap();
/// Hex pairs of a sha256.
const PAIRS: usize = 32;

/// The screen as text, a line each; empty before the machine has said anything.
pub fn of(console: &Console) -> Result<String> {
    if !console.path().exists() {
        return Ok(String::new());
    }
    let log = crate::tool::end_of(console.path(), MOST).with_context(|| format!("reading {}", console.path().display()))?;
    let mut terminal = vt100::Parser::new(ROWS, COLUMNS, 0);
    terminal.process(&log);
    Ok(terminal.screen().contents())
}

/// The set-up code on the line that begins with `set-up code`; other lines talk about it.
pub fn setup_code(screen: &str) -> Option<String> {
    let after = screen.lines().find_map(|line| line.trim_start().strip_prefix("set-up code"))?;
    let word = after.trim_start_matches([' ', ':']).split_whitespace().next()?;
    (word.len() == 9 && word.as_bytes().get(4) == Some(&b'-')).then(|| word.to_owned())
}

/// The certificate's fingerprint, which takes several lines.
pub fn fingerprint(screen: &str) -> Option<String> {
    let (_, after) = screen.split_once("fingerprint")?;
    let pair = |p: &&str| p.len() == 2 && p.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
    let words = after.split_whitespace().filter(|w| w.contains(':') && w.split(':').filter(|p| !p.is_empty()).all(|p| pair(&p)));
    let pairs: Vec<&str> = words.flat_map(|w| w.split(':')).filter(pair).take(PAIRS).collect();
    (pairs.len() == PAIRS).then(|| pairs.join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_fingerprint_are_read_from_the_screen() {
        let third = "AB:".repeat(10);
        let screen = format!(
            " to do        Open the page and type the set-up code.\n set-up code  ABCD-EFGH       ##  ##\n pages        https://10.77.0.1\n fingerprint  {third}  ###\n              {third}\n              {third} ##\n              AB:CD   ##\n warnings     ! 12:30"
        );
        assert_eq!(setup_code(&screen).as_deref(), Some("ABCD-EFGH"));
        let print = fingerprint(&screen).unwrap();
        assert_eq!((print.len(), print.ends_with("AB:AB:CD")), (95, true), "{print}");
        assert_eq!(setup_code(" set-up code\n"), None);
        assert_eq!(fingerprint(" fingerprint  AB:CD"), None);
    }

    #[test]
    fn a_machine_that_was_just_switched_on_shows_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(of(&Console::follow(&dir.path().join("not-yet"))).unwrap(), "");
    }

    #[test]
    fn the_screen_shows_the_final_text() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("serial");
        std::fs::write(&file, b"kernel says\r\n\x1b[2J\x1b[3;5Hset-up code  AAAA-BBBB\x1b[3;18HCCCC").unwrap();
        let screen = of(&Console::follow(&file)).unwrap();
        assert!(!screen.contains("kernel") && screen.contains("CCCC-BBBB"), "{screen}");
    }
}
