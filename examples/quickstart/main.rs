//! Keeps the attendees of an event calendar in step with a directory, in ten acts.
//!
//! The directory is known from its LDIF exports (`examples/data`). The calendar is the host's own (`calendar.rs`), in tables of its
//! database; what runs remember is in tables of `usersync` in the same database (`host.rs`). Time is a clock that the acts move, so
//! that the output is the same every time. Each act checks what it shows, and the program fails if anything is not as it says.
//! `tests.rs` holds what the host implements to the conformance suites of `usersync-testkit`:
//!
//! ```sh
//! cargo run --example quickstart
//! cargo test --example quickstart
//! ```

mod acts;
mod calendar;
mod database;
mod exports;
mod folder;
mod host;
mod people;
mod show;
#[cfg(test)]
mod tests;
mod worker;

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use show::Screen;

const HELP: &str = "\
Keeps the attendees of an event calendar in step with a directory.

Usage: cargo run --example quickstart -- [OPTIONS]

Options:
      --out <FOLDER>  Where plan.html is written [default: target/quickstart]
  -q, --quiet         Check everything, and show nothing
  -h, --help          Show this

Exits with 0 if everything was as it says, with 1 if not, and with 2 on an option that is not known.
";

/// What acts answer.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

enum Command {
    Help,
    Play {
        folder: PathBuf,
        quiet: bool,
    },
    /// What the last act starts.
    Work {
        database: PathBuf,
        now: String,
    },
}

fn main() -> ExitCode {
    let (code, message) = match parse(env::args().skip(1)) {
        Err(message) => (2, message),
        Ok(Command::Help) => {
            Screen::new(false).say(HELP.trim_end());
            return ExitCode::SUCCESS;
        }
        Ok(Command::Play { folder, quiet }) => match acts::play(&folder, &Screen::new(quiet)) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => (1, error.to_string()),
        },
        Ok(Command::Work { database, now }) => match worker::run(&database, &now) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => (1, format!("the worker: {error}")),
        },
    };
    // Nobody is left to tell if this fails, too.
    let _ = writeln!(io::stderr(), "quickstart: {message}");
    ExitCode::from(code)
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut folder = PathBuf::from("target/quickstart");
    let mut quiet = false;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-h" | "--help" => return Ok(Command::Help),
            "-q" | "--quiet" => quiet = true,
            "--out" => folder = arguments.next().ok_or("--out needs a folder")?.into(),
            worker::WORKER => {
                let mut next = || arguments.next().ok_or("a worker needs a database and a time");
                return Ok(Command::Work {
                    database: next()?.into(),
                    now: next()?,
                });
            }
            other => return Err(format!("{other} is not an option; see --help")),
        }
    }
    Ok(Command::Play { folder, quiet })
}
