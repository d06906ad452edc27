//! Brings what was made directly on a hosting backend into the panel that sells it: mailboxes, distribution lists and contacts of
//! three organisations, facet by facet. Nothing is ever removed, and a report says which subscription resources must be adjusted.
//!
//! ```sh
//! cargo run --example import_backend                      # plays it on the shipped sample, in a temporary folder
//! cargo run --example import_backend -- --folder target/panel --preview
//! cargo run --example import_backend -- --help
//! ```
//!
//! `backend.rs` reads the backend's export, `bookings.rs` is the panel's table of subscriptions, `app.rs` puts the engine together,
//! `show.rs` shows what comes in, and `acts.rs` plays. The panel's records are in `examples/src/records/`.

mod acts;
mod app;
mod arguments;
mod backend;
mod bookings;
mod show;
#[cfg(test)]
mod tests;

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use arguments::{Arguments, Task};
use usersync_examples::screen::{Outcome, Screen};

fn main() -> ExitCode {
    let arguments = match arguments::parse(env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => return complain(&format!("{error}; see --help"), 2),
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&usersync_examples::screen::chain(error.as_ref()), 1),
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
        Task::Work(work) => app::work(&work, &screen),
    }
}

fn complain(message: &str, code: u8) -> ExitCode {
    // Nobody is left to tell if this fails, too.
    let _ = writeln!(io::stderr(), "import_backend: {message}");
    ExitCode::from(code)
}
