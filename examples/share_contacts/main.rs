//! Shares one user's contact group: everybody picked by user, group, organisational unit or domain gets read-only copies in the address
//! book of their own, kept up to date daily and right after saving. Renames break nothing.
//!
//! ```sh
//! cargo run --example share_contacts                      # plays it with the shipped organisation, in a temporary folder
//! cargo run --example share_contacts -- --folder target/share --to 'ou=Finance' --preview
//! cargo run --example share_contacts -- --help
//! ```
//!
//! `staff.rs` is the directory with its mail domains as groups, `app.rs` puts the engine together, `acts.rs` plays. The address books
//! are tables of `examples/src/records/`.

mod acts;
mod app;
mod arguments;
mod staff;
#[cfg(test)]
mod tests;

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use arguments::{Arguments, Task};
use usersync_examples::screen::{Outcome, Screen, chain};

fn main() -> ExitCode {
    match arguments::parse(env::args_os().skip(1)) {
        Err(error) => complain(&format!("{error}; see --help"), 2),
        Ok(arguments) => match run(arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&chain(error.as_ref()), 1),
        },
    }
}

fn run(arguments: Arguments) -> Outcome {
    let screen = Screen::new(arguments.quiet);
    match arguments.task {
        Task::Help => {
            Screen::new(false).say(arguments::HELP);
            Ok(())
        }
        Task::Play => acts::play(&screen),
        Task::Share(share) => app::share(&share, &screen),
    }
}

fn complain(message: &str, code: u8) -> ExitCode {
    // Nobody is left to tell if this fails, too.
    let _ = writeln!(io::stderr(), "share_contacts: {message}");
    ExitCode::from(code)
}
