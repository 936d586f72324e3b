// Golden files of program output. Included with #[path] by the crates that have such a test.

/// Compares `text` with a file of the workspace; with KUBEDOS_BLESS=1 writes it instead.
pub fn check(file: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    if std::env::var_os("KUBEDOS_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let held = std::fs::read_to_string(&path).unwrap_or_default();
    if held == text {
        return;
    }
    let same = held.lines().zip(text.lines()).take_while(|(a, b)| a == b).count();
    let line = |text: &str| text.lines().nth(same).unwrap_or("(end)").to_owned();
    panic!(
        "{file} is stale at line {}\n  file: {}\n  now:  {}\nrun this test with KUBEDOS_BLESS=1 to rewrite it",
        same + 1,
        line(&held),
        line(text)
    );
}
