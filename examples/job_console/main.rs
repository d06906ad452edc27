//! The job list of an intranet on a terminal: each of its modules has a job of its own.
//!
//! `job_console --help` says how it is used. `intranet.rs` is the application with its jobs, `command.rs` what can be said,
//! `console.rs` what is done then, and `show.rs` how it looks. The calendar, its database and the directory's exports are those of
//! the quickstart.
//!
//! Without arguments, and without a terminal, it plays a short session (`script.rs`) on a temporary file, on a clock that it moves,
//! and checks what it shows.

#[path = "../quickstart/calendar.rs"]
#[allow(dead_code, reason = "the quickstart does more with its calendar")]
mod calendar;
mod command;
mod console;
#[path = "../quickstart/database.rs"]
#[allow(dead_code, reason = "the quickstart does more with its database")]
mod database;
#[path = "../quickstart/exports.rs"]
#[allow(dead_code, reason = "the quickstart does more with its exports")]
mod exports;
#[path = "../quickstart/folder.rs"]
mod folder;
mod intranet;
#[path = "../quickstart/people.rs"]
#[allow(dead_code, reason = "the quickstart does more with its people")]
mod people;
mod script;
mod show;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::{env, fs};

use lexopt::{Arg, ValueExt};
use usersync::tokio::SystemClock;

use command::Command;
use console::Console;
use intranet::Intranet;
use show::Screen;

/// What everything here answers.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const HELP: &str = "\
The job list of an intranet whose modules follow the groups of a directory.

Usage: job_console [--state FILE] [--ldif FILE] [COMMAND]

Options:
      --state FILE  The intranet's database, with what the jobs remember; made and filled with
                    sample containers if it is not there [default: target/job_console.sqlite]
      --ldif FILE   The directory's export [default: examples/data/org-2026-01.ldif]; try
                    org-2026-02.ldif on the same database after a run
  -h, --help        Show this
";

/// What the arguments ask for.
#[derive(Debug, PartialEq)]
enum Task {
    Help,
    /// A command for each line of the standard input.
    Converse(Files),
    Do(Files, Command),
    Play,
}

#[derive(Debug, Default, PartialEq)]
struct Files {
    state: Option<PathBuf>,
    ldif: Option<PathBuf>,
}

fn main() -> ExitCode {
    let fail = |code: u8, message: &str| {
        // Nobody is left to tell if this fails, too.
        let _ = writeln!(io::stderr(), "job_console: {}", show::lines(message));
        ExitCode::from(code)
    };
    let is_watched = io::stdin().is_terminal();
    let task = match parse(env::args_os().skip(1), is_watched) {
        Ok(task) => task,
        Err(error) => return fail(2, &format!("{error}; see --help")),
    };
    match perform(task, is_watched) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(1, &chain(error.as_ref())),
    }
}

fn parse(arguments: impl IntoIterator<Item = OsString>, is_watched: bool) -> Result<Task, lexopt::Error> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut files = Files::default();
    let mut words: Vec<String> = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(Task::Help),
            Arg::Long("ldif") => files.ldif = Some(parser.value()?.into()),
            Arg::Long("state") => files.state = Some(parser.value()?.into()),
            Arg::Value(word) => words.push(word.string()?),
            other => return Err(other.unexpected()),
        }
    }
    if !words.is_empty() {
        return Ok(Task::Do(files, Command::of(&words)?));
    }
    let nothing_is_said = files == Files::default() && !is_watched;
    Ok(if nothing_is_said {
        Task::Play
    } else {
        Task::Converse(files)
    })
}

/// Answers whether all went well.
fn perform(task: Task, is_watched: bool) -> Outcome<bool> {
    let screen = Screen::of_terminal();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match task {
            Task::Help => {
                screen.say(format_args!("{HELP}\n{}", command::HELP.trim_end()));
                Ok(true)
            }
            Task::Play => script::play(screen).await.map(|()| true),
            Task::Do(files, command) => open(&files, screen).await?.perform(&command).await,
            Task::Converse(files) => {
                let console = open(&files, screen).await?;
                if is_watched {
                    console.perform(&Command::List).await?;
                }
                converse(&console, is_watched).await
            }
        }
    })
}

async fn open(files: &Files, screen: Screen) -> Outcome<Console> {
    let default = Path::new("target/job_console.sqlite");
    let state = files.state.as_deref().unwrap_or(default);
    if let Some(folder) = state.parent() {
        fs::create_dir_all(folder)?;
    }
    let export = match &files.ldif {
        Some(file) => fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?,
        None => exports::JANUARY.to_vec(),
    };
    let intranet = Intranet::open(state, Arc::new(SystemClock::new()), &export)?;
    Console::open(intranet, screen).await
}

/// Reads commands until there are no more.
async fn converse(console: &Console, is_watched: bool) -> Outcome<bool> {
    let mut all_well = true;
    let mut line = String::new();
    loop {
        if is_watched {
            let _ = write!(io::stdout(), "\njobs> ");
            let _ = io::stdout().flush();
        }
        line.clear();
        if io::stdin().lock().read_line(&mut line)? == 0 {
            return Ok(all_well);
        }
        let words = command::words(&line);
        let done = match Command::of(&words) {
            _ if words.is_empty() => continue,
            Ok(Command::Quit) => return Ok(all_well),
            Ok(command) => console.perform(&command).await,
            Err(error) => Err(error.into()),
        };
        match done {
            Ok(well) => all_well &= well,
            Err(error) => {
                console.screen.complain(&chain(error.as_ref()));
                all_well = false;
            }
        }
    }
}

/// An error with what caused it.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}
