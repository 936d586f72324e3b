use std::os::unix::process::ExitStatusExt;

use super::*;

fn sh(script: &str) -> Tool<'static> {
    Tool::new("/bin/sh").args(["-c", script])
}

#[test]
fn keeps_stdout_stdin_environment_and_directory() {
    let out =
        sh("cat; printf %s \"$WORD\"; pwd; echo heard >&2").stdin("in ").env("WORD", "word ").dir("/".into()).run().unwrap();
    assert_eq!(out.text(), "in word /");
    assert_eq!(out.stderr, "heard\n");
    assert_eq!(Tool::new("/usr/bin/env").clean_env().env("A", "1").run().unwrap().text(), "A=1");
}

#[test]
fn a_failure_carries_the_last_words() {
    let error = sh("echo why >&2; exit 3").run().unwrap_err();
    assert!(
        matches!(&error, ToolError::Failed { status, stderr, .. } if status.code() == Some(3) && stderr == "why\n"),
        "{error}"
    );
    let (status, _) = sh("kill -9 $$").run_any().unwrap();
    assert_eq!(status.signal(), Some(9));
    assert!(matches!(Tool::new("/nonexistent/tool").run(), Err(ToolError::Start { .. })));
}

#[test]
fn a_program_that_reads_no_stdin_does_not_hang_us() {
    assert!(sh("exit 0").stdin(vec![b'x'; 1 << 20]).run().is_ok());
}

#[test]
fn time_limit_and_cancellation_stop_the_children_too() {
    let limited = sh("sleep 1000 & wait").timeout(Duration::from_millis(50)).run();
    assert!(matches!(limited, Err(ToolError::TimedOut { .. })));
    let asked = || true;
    assert!(matches!(sh("sleep 1000 & wait").cancel(&asked).run(), Err(ToolError::Cancelled { .. })));
}

#[test]
fn stderr_is_heard_line_by_line() {
    let heard = Mutex::new(Vec::new());
    sh("echo one >&2; echo two >&2; printf rest >&2").on_stderr_line(|l| heard.lock().unwrap().push(l.to_owned())).run().unwrap();
    let heard = heard.into_inner().unwrap();
    assert!(["one", "two"].starts_with(&heard.iter().map(String::as_str).collect::<Vec<_>>()), "{heard:?}");
}

#[test]
fn what_is_kept_has_limits() {
    let mut last = Kept::default();
    last.take(b"abcdef", &Keep::Last(4));
    assert_eq!((last.bytes.as_slice(), last.seen), (&b"cdef"[..], 6));
    let mut first = Kept::default();
    first.take(b"abcd", &Keep::First(4));
    assert!(!first.over);
    first.take(b"e", &Keep::First(4));
    assert!(first.over);
    assert_eq!(first.bytes, b"abcd");
}

#[test]
fn a_running_program_is_stopped_when_dropped() {
    let log = tempfile::tempfile().unwrap();
    let mut running = sh("sleep 1000").spawn(log).unwrap();
    assert!(running.ended().is_none());
    assert!(running.stop().is_some_and(|s| s.signal() == Some(15)));
}
