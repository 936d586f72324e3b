//! Replays the fuzzers' corpus (fuzz/corpus) as an ordinary test.

#[path = "../../fuzz/targets.rs"]
mod targets;

use std::path::Path;

#[test]
fn no_input_of_the_corpus_panics() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, body) in targets::TARGETS {
        let mut count = 0;
        for entry in std::fs::read_dir(corpus.join(name)).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            body(&bytes);
            // Also cut short and with one bit changed, everywhere.
            for at in 0..bytes.len().min(2_000) {
                body(&bytes[..at]);
                let mut changed = bytes.clone();
                changed[at] ^= 1 << (at % 8);
                body(&changed);
            }
            count += 1;
        }
        assert!(count > 0, "no input for {name}");
    }
}
