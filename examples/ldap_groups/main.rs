//! Lets an export of the HR system say who belongs into which groups of an LDAP server: previewed first, written with `--apply`.
//!
//! HR knows who works where, and knows people by numbers of its own. The server knows entries. Hosts that join the two go wrong in
//! the same ways: by names, of which there are two alike; by addresses, which are given to the next person; and by leaving out
//! whoever was not found, so that a number that somebody cleared in the directory takes that person out of every group. So here:
//!
//! - Members are principals of the LDAP directory, with its ids. Renames, moves and locked accounts are what the directory says, and
//!   the export decides nothing but who is in which department and role.
//! - The export is a second directory of the job (`hr.rs`). It shows departments and roles as groups, whose members are principals of the
//!   first. A row belongs to the one entry that has its number (`--key COLUMN=ATTRIBUTE`); nothing else is tried.
//! - A row without such an entry, or with two, makes its department and its role partial: whoever else is in them is added, and
//!   nobody is removed, until the number is right at one of the two sides. An export without rows, or cut off within one, removes
//!   nobody at all; whatever looks whole and lets many go at once waits for an approval.
//! - What was there before, or is added by hand, stays: a job removes only what it added itself.
//!
//! ```sh
//! cargo run --example ldap_groups                         # plays it on a throw-away OpenLDAP, if slapd is installed
//! cargo run --example ldap_groups -- --help
//! ```
//!
//! `rules.rs` reads which group follows what, `rows.rs` reads exports in CSV and LDIF, `app.rs` puts the engine together, `acts.rs`
//! plays.

mod acts;
mod app;
mod arguments;
mod hr;
mod rows;
mod rules;

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use arguments::Task;
use usersync::model::visible;
use usersync_examples::screen::{Outcome, Screen, chain};

fn main() -> ExitCode {
    match arguments::parse(env::args_os().skip(1)) {
        Err(error) => complain(&format!("{error}; see --help"), 2),
        Ok(arguments) => match run(arguments.task, &Screen::new(arguments.quiet)) {
            Ok(code) => ExitCode::from(code),
            Err(error) => complain(&chain(error.as_ref()), 1),
        },
    }
}

fn run(task: Task, screen: &Screen) -> Outcome<u8> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build()?;
    match task {
        Task::Help => {
            Screen::new(false).say(arguments::help());
            Ok(0)
        }
        Task::Play => runtime.block_on(acts::play(screen)).map(|()| 0),
        Task::Work(work) => runtime
            .block_on(async {
                let place = work.server.open()?;
                app::work(&place, &work.plan, &work.step, screen).await
            })
            .map(app::Status::code),
    }
}

fn complain(message: &str, code: u8) -> ExitCode {
    // Nobody is left to tell if this fails, too.
    let _ = writeln!(io::stderr(), "ldap_groups: {}", visible(message));
    ExitCode::from(code)
}
