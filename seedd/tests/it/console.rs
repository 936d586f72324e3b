//! The console on a terminal with nobody at its other end: a serial line into a file answers no question.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use host::tool::Tool;
use serde_json::json;

/// Views the daemon gives, each a minute after the one before: at every new minute all is painted anew.
const VIEWS: u64 = 3;
const LIMIT: Duration = Duration::from_secs(60);

/// Answers [`VIEWS`] requests, then ends.
fn daemon(listener: UnixListener) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for n in 1..=VIEWS {
            let (stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let view = json!({
                "phase": "setup", "setupCode": "ABCD-EFGH", "clock": 1_795_377_600 + 60 * n,
                "warnings": [format!("view number {n}")],
            });
            writeln!(&stream, "{}", json!({"done": view})).unwrap();
        }
    })
}

#[test]
fn a_terminal_that_never_answers_is_painted_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("seedd.sock");
    let served = daemon(UnixListener::bind(&socket).unwrap());
    let screen = dir.path().join("screen");
    let command = format!("stty rows 24 cols 80; exec {} console --socket {}", env!("CARGO_BIN_EXE_seedd"), socket.display());
    let program = Tool::new("script").args(["-qfec", &command, "/dev/null"]).env("TERM", "vt220");
    let mut program = program.spawn(File::create(&screen).unwrap()).unwrap();
    let began = Instant::now();
    let shown = loop {
        let shown = String::from_utf8_lossy(&fs::read(&screen).unwrap()).into_owned();
        if shown.contains(&format!("view number {VIEWS}")) || began.elapsed() > LIMIT {
            break shown;
        }
        assert!(program.ended().is_none(), "the console gave up: {shown}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(shown.contains("ABCD-EFGH") && shown.contains(&format!("view number {VIEWS}")), "{shown}");
    program.stop();
    served.join().unwrap();
}
