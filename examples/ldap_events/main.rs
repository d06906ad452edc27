//! Keeps the attendees of events in step with groups of a live LDAP server, and says what that costs the server.
//!
//! The first run reads everything; from then on a run reads what changed, and one without a change reads no entry. After each run it
//! is shown what was planned and done, and the requests made, entries and bytes read. The calendar is in memory and the server is
//! only read, so that nothing is left behind.
//!
//! ```sh
//! cargo run --example ldap_events                         # plays it on a throw-away OpenLDAP, if slapd is installed
//! cargo run --example ldap_events -- --url ldaps://dc1.example.org --profile ad --base DC=example,DC=org \
//!   --bind sync@example.org --look                        # what the connector sees of one's own server
//! cargo run --example ldap_events -- --help
//! ```
//!
//! `app.rs` puts the engine between server and calendar, `acts.rs` plays, `choice.rs` finds the groups that the command line names.

mod acts;
mod app;
mod arguments;
mod choice;

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use arguments::{Arguments, Task};
use usersync::model::visible;
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
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build()?;
    match arguments.task {
        Task::Follow(follow) => runtime.block_on(app::follow(follow, &screen)),
        Task::Help => {
            Screen::new(false).say(arguments::help());
            Ok(())
        }
        Task::Play => runtime.block_on(acts::play(&screen)),
    }
}

fn complain(message: &str, code: u8) -> ExitCode {
    // Nobody is left to tell if this fails, too.
    let _ = writeln!(io::stderr(), "ldap_events: {}", visible(message));
    ExitCode::from(code)
}
