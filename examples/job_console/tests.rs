//! The console without its terminal.

use chrono::{DateTime, TimeDelta, Utc};

use crate::command::{Command, words};
use crate::show::{Cell, Screen, Tone, ago, until};
use crate::{Files, Task, parse, script};

fn task(arguments: &str, is_watched: bool) -> Result<Task, String> {
    parse(arguments.split_whitespace().map(Into::into), is_watched).map_err(|error| error.to_string())
}

#[test]
fn arguments_are_a_command_or_begin_a_conversation() {
    assert_eq!(task("", false), Ok(Task::Play));
    assert_eq!(task("", true), Ok(Task::Converse(Files::default())));
    let files = Files {
        state: Some("x.sqlite".into()),
        ldif: None,
    };
    assert_eq!(task("--state x.sqlite", false), Ok(Task::Converse(files)));
    assert_eq!(task("list", true), Ok(Task::Do(Files::default(), Command::List)));
    assert_eq!(task("list --help", true), Ok(Task::Help));
    for (wrong, want) in [
        ("--what", "invalid option '--what'"),
        ("frobnicate", "frobnicate is no command; help lists them"),
        ("approve groups", "write approve JOB DIGEST"),
        ("history groups many", "many is no number of runs"),
        ("plan groups x", "x is no number of a run; see history groups"),
    ] {
        assert_eq!(task(wrong, true), Err(want.to_owned()));
    }
}

#[test]
fn quotes_keep_words_together() {
    for (line, want) in [
        ("", &[][..]),
        ("  list ", &["list"]),
        ("save x \"a b\"", &["save", "x", "a b"]),
        ("a\"b c\"d \"\"", &["ab cd", ""]),
        ("\"open end", &["open end"]),
    ] {
        assert_eq!(words(line), want, "{line:?}");
    }
}

#[test]
fn times_are_told_as_people_do() {
    let now = DateTime::<Utc>::UNIX_EPOCH;
    for (seconds, want) in [
        (0, "just now"),
        (-5, "just now"),
        (59, "59 s ago"),
        (3599, "59 min ago"),
        (3600, "1 h ago"),
        (13_680, "3 h 48 min ago"),
        (86_400, "1 d ago"),
        (100_000, "1 d 3 h ago"),
    ] {
        assert_eq!(ago(now - TimeDelta::seconds(seconds), now), want);
    }
    assert_eq!(until(now + TimeDelta::seconds(61), now), "in 1 min");
    assert_eq!(until(now, now), "now");
}

#[test]
fn tables_are_aligned_and_show_what_would_be_hidden() {
    let screen = Screen::default().watched();
    let rows = [
        vec![Cell::plain("é\u{202e}"), Cell::new("x", Tone::Bad)],
        vec![Cell::plain("longer\u{1b}[31m"), Cell::plain("y")],
    ];
    screen.table(&["A", "B"], &rows);
    let want = "A                 B\né\\u{202e}         x\nlonger\\u{1b}[31m  y\n";
    assert_eq!(screen.take_seen(), want);
}

#[test]
fn the_session_goes_as_it_should() {
    futures::executor::block_on(script::play(Screen::default())).expect("it does");
}
